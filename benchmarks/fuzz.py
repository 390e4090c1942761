"""Mutates records of every source kind and reads them: no crash, every record counted, every document whole.

    python -m benchmarks.fuzz [--records N] [--seed S] [--kind KIND …]

Prints a line a kind: how many records were read, and what became of them by reason.
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
"""Lines of one file of a source that has a record a line; half of the files are mutated as packed bytes, too."""

PIECES = re.compile(rb"<[^>]*>|\"[^\"]*\"|[^<\"]+|.", re.DOTALL)
ODD = [b"", b"\0", b"\xff", b"null", b"[]", b"{}", b"-1", b"1e999", b'"', b"<", b"&x;", b"]]>", b"\\ud800", b"9" * 30]

ANNOTATIONS = {
    "title": [{"start": 0, "end": 4}],
    "abstract": [{"start": 6, "end": 20}],
    "sectionheader": [{"start": 22, "end": 27, "attributes": {"n": "1.2"}}],
    "paragraph": [{"start": 29, "end": 60}],
    "bibref": [{"start": 40, "end": 43, "attributes": {"ref_id": "b0"}}],
    "figureref": [{"start": 45, "end": 50, "attributes": {"ref_id": "fig_0"}}],
    "formula": [{"start": 52, "end": 55}],
    "figure": [{"start": 61, "end": 90, "attributes": {"id": "fig_0"}}],
    "figurecaption": [{"start": 70, "end": 90}],
    "table": [{"start": 84, "end": 88}],
    "bibentry": [{"start": 92, "end": 120, "attributes": {"id": "b0"}}],
    "bibtitle": [{"start": 92, "end": 100}],
    "bibauthorlastname": [{"start": 102, "end": 107}],
    "venue": None,
}
TEXT = (
    "Salt\n\nThirst is here.\n\nIntro\n\nWords of text [1] Fig 1 a=b are cited here.\nFigure 1. A caption of it.\n\n"
    "Sodium it, Birch, 1999 and some more words that nothing claims."
)
S2ORC = {
    "corpusid": 7,
    "externalids": {"pubmed": "1", "pubmedcentral": None, "doi": "10.1/x"},
    "content": {"source": {"oainfo": {"license": "CCBY"}}, "text": TEXT},
}
PAPER = {
    "corpusid": 7,
    "externalids": {"PubMed": "1", "DOI": "10.1/x"},
    "title": "Salt",
    "journal": {"name": "Thirst"},
    "year": 2012,
    "publicationdate": "2012-07-19",
    "publicationtypes": ["Review"],
    "citationcount": 3,
}
JSONL = {
    "id": "a",
    "text": "Words of text.",
    "title": "Salt",
    "meta": {"pmid": 3, "published": "2012-07-19"},
    "mesh": ["A"],
}
REPLAY = {"text": "Words of text.", "meta": {"source": "c4", "url": "https://example.org/a", "timestamp": "2019-04-25"}}
JATS = b"""<?xml version="1.0"?><!DOCTYPE article SYSTEM "JATS.dtd"><article xml:lang="en"><front><article-meta>
<article-id pub-id-type="pmid">1</article-id><title-group><article-title>Salt</article-title></title-group>
<abstract><p>Short.</p></abstract></article-meta></front><body><sec><title>Intro</title>
<p>Known [<xref ref-type="bibr" rid="r1">1</xref>], see <xref ref-type="fig" rid="f1">Fig 1</xref>&nbsp;and
<inline-formula><tex-math>x</tex-math></inline-formula>.</p><fig id="f1"><label>Fig. 1</label><caption><p>Flow.</p>
</caption></fig></sec></body><back><ref-list><ref id="r1"><citation><article-title>Cups</article-title></citation></ref>
</ref-list></back></article>"""
MEDLINE = b"""<PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article><Journal><JournalIssue><PubDate>
<Year>2012</Year><Month>Jul</Month></PubDate></JournalIssue><Title>Thirst</Title></Journal>
<ArticleTitle>[Salt].</ArticleTitle><Abstract><AbstractText Label="AIM">Short<sup>2</sup> &amp; more.</AbstractText>
</Abstract><Language>eng</Language></Article><MeshHeadingList><MeshHeading><DescriptorName>Thirst</DescriptorName>
</MeshHeading></MeshHeadingList></MedlineCitation><PubmedData><ArticleIdList><ArticleId IdType="doi">10.1/x</ArticleId>
</ArticleIdList></PubmedData></PubmedArticle>
"""

MAPPED = b"""%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>
endobj
4 0 obj << >> stream
BT /F 20 Tf 72 700 Td (AB of the clinic) Tj /F 10 Tf 0 -30 Td (Give A to those with more than 10) Tj
4 Ts /F 6 Tf (-9) Tj 0 Ts /F 10 Tf ( B a day.) Tj ET
endstream endobj
5 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >> endobj
6 0 obj << >> stream
2 beginbfchar <41> <D835DEFD> <42> <D835> endbfchar
endstream endobj
7 0 obj << /Title <FEFFD83500200061002000620020006300200064> >> endobj
trailer << /Root 1 0 R /Info 7 0 R >>
"""
"""A font that maps letters beyond U+FFFF and to half of such a one, and a title that is no UTF-16."""


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A few changes to bytes or to pieces: elements, strings, what stands between them."""
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
    """A JSON value with one of its parts changed for something odd."""
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
    packed = {kind: json.dumps(one) for kind, one in spans.items()} if isinstance(spans, dict) else spans
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
    """Elements renamed, moved, doubled, emptied or taken away, so that the XML stays well-formed; else any bytes."""
    if chance.random() < 0.3:
        return mutate(data, chance)
    tree = etree.fromstring(data, etree.XMLParser(**SAFE))
    for _ in range(chance.randint(1, 5)):
        every = [node for node in tree.iter() if isinstance(node.tag, str)]
        one, other = chance.choice(every), chance.choice(every)
        match chance.randrange(6):
            case 0:
                one.tag = other.tag
            case 1 if one.getparent() is not None:
                one.getparent().remove(one)
            case 2:
                one.append(copy.deepcopy(other))
            case 3:
                one.text = chance.choice(["", "[1, 2]", " ( ", "9" * 30, "é\u2028\ue000", "\\begin{document}"])
            case 4:
                one.attrib.update(other.attrib)
            case _:
                one.attrib.clear()
    found: bytes = etree.tostring(tree.getroottree())
    return found


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
    return pa.array([mutate(one, chance) if chance.random() < 0.1 else one for one in values]).view(pa.string())


def _parquet(chance: random.Random) -> bytes:
    row = {"text": "Words of text.", "source": "c4", "url": "https://example.org/a", "timestamp": "2019-04-25"}
    columns = {name: _column([one.encode()] * BATCH, chance) for name, one in row.items() if chance.random() < 0.98}
    if chance.random() < 0.5:
        names = [name for name in columns if name != "text"]
        columns = {"meta": pa.StructArray.from_arrays([columns.pop(name) for name in names], names), **columns}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, row_group_size=chance.choice([7, BATCH]))
    return mutate(stream.getvalue(), chance) if chance.random() < 0.1 else stream.getvalue()


def _json(chance: random.Random) -> bytes:
    """Few lines are mutated: the first that is no JSON, or of another type than the others, ends the file."""
    odd: list[dict[str, Any]] = [{}, {"text": None}, {"text": "\ud83d\ude00" * 30}, {"meta": {"timestamp": "x" * 50}}]
    records = (REPLAY | (chance.choice(odd) if chance.random() < 0.3 else {}) for _ in range(BATCH))
    return b"\n".join(_line(one, chance) if chance.random() < 0.01 else json.dumps(one).encode() for one in records)


def _citations(chance: random.Random) -> bytes:
    # Bytes that break the XML end the file, so it comes in many.
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
    found = []
    for path in sorted((SAMPLES / "crawl" / site).glob("*.warc*")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response" and record.http_headers is not None:
                    kind = record.http_headers.get_header("Content-Type")
                    found.append(
                        (record.rec_headers.get_header("WARC-Target-URI"), kind, record.content_stream().read())
                    )
    return found


def _warc(site: str, *more: tuple[str, str, bytes]) -> Callable[[random.Random], bytes]:
    """Pages of a sample site, and more of it, with their bodies mutated, and sometimes the file."""

    def file(chance: random.Random) -> bytes:
        stream = io.BytesIO()
        writer = WARCWriter(stream, gzip=True)
        for url, kind, body in chance.choices([*_payloads(site), *more], k=4):
            headers = StatusAndHeaders("200 OK", [("Content-Type", kind)], protocol="HTTP/1.1")
            changed = io.BytesIO(mutate(body, chance))
            # warcio would take the clock and a random number, and no seed would tell what a mutation of the file hits.
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
            # A file that breaks off fails its unit, in one line that names it.
            if name not in str(error) or "\n" in str(error):
                raise
            yield Rejected(name, Drop(Reason.TRUNCATED_FILE, str(error)))

    return read


@dataclass(frozen=True)
class Kind:
    """A source kind: how a file of it is made, its name, how it is read, and how many records a file has at least."""

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
        Exception: whatever a reader raised, or an AssertionError where a record is not whole; the message names the
            file, which is left in `folder`.
    """
    one, found, number, read = KINDS[kind], Counter[str](), 0, 0
    while read < count:
        path = folder / one.name
        path.write_bytes(one.make(random.Random(f"{kind} {seed} {number}")))
        number += 1
        try:
            told = list(_told(one.read(path, one.name)))
            assert len(told) >= one.records, "a file without a record"
        except Exception as error:  # whatever it is, it is raised again with the file that shows it
            error.add_note(f"{kind}, seed {seed}, file {number - 1}: {path}")
            raise
        found.update(told)
        # A mutation that repeats a record some hundred times is one all the same.
        read += min(len(told), BATCH)
    return found


def _told(records: Records) -> Iterator[str]:
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
    """Mutate records of every source kind and read them."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds or KINDS:
            found = fuzz(kind, records, seed, Path(folder))
            click.echo(
                f"{kind}: {found.total():,} records: " + ", ".join(f"{n:,} {name}" for name, n in found.most_common())
            )


if __name__ == "__main__":
    main()
