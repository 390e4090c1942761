"""Mutates records of each source kind and reads them: nothing crashes, all records count, all documents are whole.

    python -m benchmarks.fuzz [--records N] [--seed S] [--kind KIND …]

Prints a line for each kind: how many records were read, and what became of them by reason.
"""

import copy
import gzip
import io
import json
import random
import re
import tarfile
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from benchmarks.fuzzed import ANNOTATIONS, JATS, JSONL, MAPPED, MEDLINE, PAPER, REPLAY, S2ORC
from ingest.metadata import METADATA
from ingest.records import Metadata, Records, Rejected
from ingest.sources.hub import HubInput
from ingest.sources.jats import JatsInput
from ingest.sources.jsonl import JsonlInput
from ingest.sources.medline import MedlineInput
from ingest.sources.redpajama import RedpajamaInput
from ingest.sources.s2orc import S2Input
from ingest.sources.warc import WarcInput
from ingest.sources.xml_guard import SAFE
from lake.decision import Drop, Reason
from lake.document import DOCUMENT
from lake.error import UserError

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
FETCHED = "2026-01-01T00:00:00Z"
MAX_BYTES = 100_000
BATCH = 50
"""Records of a file with a record a line. Of some files the packed bytes are mutated, too."""

PIECES = re.compile(rb"<[^>]*>|\"[^\"]*\"|[^<\"]+|.", re.DOTALL)
ODD = [b"", b"\0", b"\xff", b"null", b"[]", b"{}", b"-1", b"1e999", b'"', b"<", b"&x;", b"]]>", b"\\ud800", b"9" * 30]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A few changes to bytes or to pieces, which are elements, strings and the text between them."""
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.4:
            place = chance.randrange(len(data) + 1)
            data = data[:place] + chance.choice([chance.randbytes(3), *ODD]) + data[place + chance.randrange(20) :]
            continue
        pieces = PIECES.findall(data) or [b""]
        place, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
        match chance.randrange(4):
            case 0:
                del pieces[place]
            case 1:
                pieces.insert(place, pieces[other] * chance.choice([1, 2, 300]))
            case 2:
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case _:
                pieces[place] = chance.choice(ODD)
        data = b"".join(pieces)
    return data


def _value(value: Any, chance: random.Random) -> Any:
    """A JSON value with a part of it replaced by an odd one."""
    odd: list[Any] = [None, "", [], {}, True, -1, 10**30, 0.5, "\ud800", "x" * 50, [[]], {"a": 1}]
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        return {**value, key: _value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], _value(value[place], chance), *value[place + 1 :], *value[: chance.randrange(2)]]
    if isinstance(value, int) and chance.random() < 0.7:
        return value + chance.randint(-60, 60)
    return chance.choice(odd)


def _line(record: dict[str, Any], chance: random.Random) -> bytes:
    if chance.random() < 0.6:
        return json.dumps(_value(record, chance)).encode()
    return mutate(json.dumps(record).encode(), chance).replace(b"\n", b" ") or b"{"


def _full_text(chance: random.Random) -> bytes:
    spans = dict(ANNOTATIONS)
    for _ in range(chance.randint(1, 4)):
        spans = _value(spans, chance)
        if not isinstance(spans, dict):
            break
    packed = {kind: json.dumps(of_kind) for kind, of_kind in spans.items()} if isinstance(spans, dict) else spans
    record = {**S2ORC, "content": {**S2ORC["content"], "annotations": packed}}  # type: ignore[dict-item]
    return json.dumps(record).encode() if chance.random() < 0.6 else _line(record, chance)


def _lines(make: Callable[[random.Random], bytes]) -> Callable[[random.Random], bytes]:
    def file(chance: random.Random) -> bytes:
        return _packed(b"\n".join(make(chance) for _ in range(BATCH)), chance)

    return file


def _packed(data: bytes, chance: random.Random) -> bytes:
    packed = gzip.compress(data, 1, mtime=0)
    return mutate(packed, chance) if chance.random() < 0.1 else packed


def _xml(data: bytes, chance: random.Random) -> bytes:
    """Well-formed XML with elements renamed, moved, doubled, emptied or removed, or XML with any bytes changed."""
    if chance.random() < 0.3:
        return mutate(data, chance)
    tree = etree.fromstring(data, etree.XMLParser(**SAFE))
    for _ in range(chance.randint(1, 5)):
        nodes = [node for node in tree.iter() if isinstance(node.tag, str)]
        node, other = chance.choice(nodes), chance.choice(nodes)
        match chance.randrange(6):
            case 0:
                node.tag = other.tag
            case 1 if node.getparent() is not None:
                node.getparent().remove(node)
            case 2:
                node.append(copy.deepcopy(other))
            case 3:
                node.text = chance.choice(["", "[1, 2]", " ( ", "9" * 30, "é\u2028\ue000", "\\begin{document}"])
            case 4:
                node.attrib.update(other.attrib)
            case _:
                node.attrib.clear()
    mutated: bytes = etree.tostring(tree.getroottree())
    return mutated


def _column(values: list[bytes], chance: random.Random) -> pa.Array:
    """A column of a Parquet file, of any type; strings may hold bytes that are no UTF-8."""
    match chance.randrange(12):
        case 0:
            odd = [[], {"a": None}, b"\xff", -1, 0.5, float("nan"), True, None, Decimal("1e9"), ["a"]]
            return pa.array([chance.choice(odd)] * len(values))
        case 1:
            moments = [chance.choice([0, -1, 2**62, -(2**62), 10**15]) for _ in values]
            return pa.array(moments, pa.int64()).cast(pa.timestamp(chance.choice(["us", "ns"])))
        case 2:
            return pa.DictionaryArray.from_arrays([0] * len(values), ["a"])
    return pa.array([mutate(value, chance) if chance.random() < 0.1 else value for value in values]).view(pa.string())


def _parquet(chance: random.Random) -> bytes:
    row = {"text": "Words of text.", "source": "c4", "url": "https://example.org/a", "timestamp": "2019-04-25"}
    columns = {name: _column([value.encode()] * BATCH, chance) for name, value in row.items() if chance.random() < 0.98}
    if chance.random() < 0.5:
        names = [name for name in columns if name != "text"]
        columns = {"meta": pa.StructArray.from_arrays([columns.pop(name) for name in names], names), **columns}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, row_group_size=chance.choice([7, BATCH]))
    return mutate(stream.getvalue(), chance) if chance.random() < 0.1 else stream.getvalue()


def _json(chance: random.Random) -> bytes:
    """Few lines are mutated, for the first line that is no JSON or has other types ends the file."""
    odd: list[dict[str, Any]] = [{}, {"text": None}, {"text": "\ud83d\ude00" * 30}, {"meta": {"timestamp": "x" * 50}}]
    records = (REPLAY | (chance.choice(odd) if chance.random() < 0.3 else {}) for _ in range(BATCH))
    return b"\n".join(_line(row, chance) if chance.random() < 0.01 else json.dumps(row).encode() for row in records)


def _citations(chance: random.Random) -> bytes:
    # Bytes that break the XML end the file, so a file has few records.
    records = b"".join(_xml(MEDLINE, chance) for _ in range(chance.randint(1, 4)))
    return _packed(b"<PubmedArticleSet>" + records + b"</PubmedArticleSet>", chance)


def _archive(chance: random.Random) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for number in range(4):
            data = _xml(JATS, chance)
            info = tarfile.TarInfo(f"{'d' * chance.choice([1, 200])}/{number}.xml")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    return _packed(mutate(data, chance) if chance.random() < 0.5 else data, chance)


@cache
def _payloads(site: str) -> list[tuple[str, str, bytes]]:
    """URL, content type and body of every response in the WARC files of a sample site."""
    payloads = []
    for path in sorted((SAMPLES / "crawl" / site).glob("*.warc*")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response" and record.http_headers is not None:
                    kind = record.http_headers.get_header("Content-Type")
                    payloads.append(
                        (record.rec_headers.get_header("WARC-Target-URI"), kind, record.content_stream().read())
                    )
    return payloads


def _warc(site: str, *more: tuple[str, str, bytes]) -> Callable[[random.Random], bytes]:
    """WARC files of pages of a sample site, and `more`, with mutated bodies. Some files are mutated as a whole."""

    def file(chance: random.Random) -> bytes:
        stream = io.BytesIO()
        writer = WARCWriter(stream, gzip=True)
        for url, kind, body in chance.choices([*_payloads(site), *more], k=4):
            headers = StatusAndHeaders("200 OK", [("Content-Type", kind)], protocol="HTTP/1.1")
            changed = io.BytesIO(mutate(body, chance))
            # By default warcio takes time and a random id, so that a seed would not repeat a file.
            fixed = {"WARC-Record-ID": f"<urn:uuid:{uuid.UUID(int=chance.getrandbits(128))}>", "WARC-Date": FETCHED}
            record = writer.create_warc_record(
                url, "response", payload=changed, http_headers=headers, warc_headers_dict=fixed
            )
            writer.write_record(record)
        data = stream.getvalue()
        return mutate(data, chance) if chance.random() < 0.2 else data

    return file


def _reads_warc(site: str) -> Callable[[Path, str], Records]:
    yaml = str(SAMPLES / "sites" / f"{site}.yaml")
    return WarcInput.model_validate(_settings(format="warc", site=yaml, max_bytes=2**20)).read


def _reads_hub(dataset: str) -> Callable[[Path, str], Records]:
    fields = {"text": "text", "url": "meta.url", "site": "meta.source", "fetched_at": "meta.timestamp"}
    settings = HubInput.model_validate(_settings(format="hub", dataset=dataset, fields=fields))

    def read(path: Path, name: str) -> Records:
        try:
            yield from settings.read_unit((path,), 0, str(path.parent))
        except UserError as error:
            # A truncated file fails its unit with one line that names it.
            if name not in str(error) or "\n" in str(error):
                raise
            yield Rejected(name, Drop(Reason.TRUNCATED_FILE, str(error)))

    return read


@dataclass(frozen=True)
class Kind:
    """A source kind: how to make a file of it, its name, how to read it, and the least number of records in it."""

    make: Callable[[random.Random], bytes]
    name: str
    read: Callable[[Path, str], Records]
    records: int = 1


def _settings(**given: Any) -> dict[str, Any]:
    return {"source": "papers", "paths": ["*"], "max_bytes": MAX_BYTES} | given


FIELDS = {
    "text": "text",
    "id": "id",
    "title": "title",
    "pmid": "meta.pmid",
    "published": "meta.published",
    "mesh": "mesh",
}
_jsonl = JsonlInput.model_validate(_settings(format="jsonl", fields=FIELDS))
_jats = JatsInput.model_validate(_settings(format="jats"))
_medline = MedlineInput.model_validate(_settings(format="medline"))
_s2orc, _papers = (S2Input.model_validate(_settings(format="s2orc", dataset=one)) for one in ("s2orc", "papers"))

_replay = RedpajamaInput.model_validate(_settings(format="redpajama", keep=1))

KINDS = {
    "jsonl": Kind(_lines(lambda chance: _line(JSONL, chance)), "a.jsonl.gz", _jsonl.read),
    "jats": Kind(lambda chance: _xml(JATS, chance), "a.xml", _jats.read),
    "tar": Kind(_archive, "a.tar.gz", _jats.read, 0),
    "s2orc": Kind(_lines(_full_text), "a.gz", _s2orc.read),
    # A paper out of PubMed is passed over.
    "papers": Kind(_lines(lambda chance: _line(PAPER, chance)), "b.gz", _papers.read, 0),
    "redpajama": Kind(_lines(lambda chance: _line(REPLAY, chance)), "c.jsonl.gz", _replay.read),
    "hub": Kind(_parquet, "d.parquet", _reads_hub("parquet")),
    "hub_json": Kind(_json, "d.jsonl", _reads_hub("json")),
    "page": Kind(_warc("example-clinic"), "a.warc.gz", _reads_warc("example-clinic"), 0),
    "pdf": Kind(
        _warc("example-agency", ("https://example-agency.example.net/guidance/mapped.pdf", "application/pdf", MAPPED)),
        "b.warc.gz",
        _reads_warc("example-agency"),
        0,
    ),
    "medline": Kind(_citations, "a.xml.gz", _medline.read),
}


def fuzz(kind: str, count: int, seed: int, folder: Path) -> Counter[str]:
    """What became of at least `count` records, by reason.

    Raises:
        Exception: a reader raised it, or a record is not whole (AssertionError). A note names the file, which stays in
            `folder`.
    """
    source, outcomes, number, read = KINDS[kind], Counter[str](), 0, 0
    while read < count:
        path = folder / source.name
        path.write_bytes(source.make(random.Random(f"{kind} {seed} {number}")))
        number += 1
        try:
            records = list(_outcomes(source.read(path, source.name)))
            assert len(records) >= source.records, "a file without a record"
        except Exception as error:  # raised again, with the file that shows it
            error.add_note(f"{kind}, seed {seed}, file {number - 1}: {path}")
            raise
        outcomes.update(records)
        # A mutation may repeat a record some hundred times, which is little to learn from.
        read += min(len(records), BATCH)
    return outcomes


def _outcomes(records: Records) -> Iterator[str]:
    for record in records:
        if isinstance(record, Rejected):
            assert record.native
            assert record.drop.evidence
            yield record.drop.reason.value
        elif isinstance(record, Metadata):
            assert pa.Table.from_pylist([record.row], METADATA).num_rows == 1
            yield "metadata"
        elif isinstance(record, dict):
            assert pa.Table.from_pylist([record], DOCUMENT).num_rows == 1
            yield "document"


@click.command()
@click.option("--records", default=10_000, show_default=True, help="Records a source kind, at least.")
@click.option("--seed", default=1, show_default=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these kinds.")
def main(records: int, seed: int, kinds: tuple[str, ...]) -> None:
    """Mutate records of each source kind and read them."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds or KINDS:
            outcomes = fuzz(kind, records, seed, Path(folder))
            click.echo(
                f"{kind}: {outcomes.total():,} records: "
                + ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
            )


if __name__ == "__main__":
    main()
