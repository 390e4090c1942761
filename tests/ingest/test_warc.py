"""WARC files of sites to documents: our own, other people's, torn, mutated and hostile ones."""

import asyncio
import gzip
import io
import random
import resource
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.inputs import ReadSettings, records, rule_files, units
from ingest.pages.page import Page
from ingest.pages.pdf import _notes
from ingest.records import Note, Rejected
from ingest.sources.warc import WarcInput, read_warc
from ingest.web.answer import Answer
from ingest.web.archive import Archive, Group
from ingest.web.crawl import CrawlSettings
from ingest.web.fetchlog import superseded_file
from ingest.web.warc import Broken, read_records
from lake.decision import Reason
from lake.document import DOCUMENT, Document
from lake.error import UserError

WHEN = datetime(2026, 11, 24, 12, 0, 1, 250_000, tzinfo=UTC)
PROSE = "Give fluids often, in small sips, and look again after one hour of rest."

SITE = {
    "name": "A site",
    "audience": "doctor",
    "license": "CC-BY-4.0",
    "redistributable": True,
    "mode": "html",
    "seeds": ["https://example.org/"],
    "content": "main",
    "clean": {"stop_at": ["References"]},
    "expect": {"documents": 1, "words": 1},
    "checked": "a test",
}


@pytest.fixture
def site(tmp_path: Path) -> str:
    path = tmp_path / "mysite.yaml"
    path.write_text(yaml.safe_dump(SITE), encoding="utf-8")
    return str(path)


def warc_input(site: str, **changes: Any) -> WarcInput:
    return WarcInput.model_validate({"format": "warc", "source": "guidelines", "paths": ["*"], "site": site} | changes)


def read(path: Path, site: str, **changes: Any) -> list[Document | Rejected]:
    records = read_warc(path, path.name, warc_input(site, **changes))
    return [record for record in records if isinstance(record, dict | Rejected)]


def notes(path: Path, site: str) -> list[Note]:
    return [record for record in read_warc(path, path.name, warc_input(site)) if isinstance(record, Note)]


def changed(site: str, **changes: Any) -> str:
    Path(site).write_text(yaml.safe_dump(SITE | changes), encoding="utf-8")
    return site


def page(title: str, text: str = PROSE, after: str = "") -> bytes:
    body = f"<h1>{title}</h1><p>{text}</p>{after}"
    return f"<html><title>{title}</title><nav>Menu</nav><main>{body}</main></html>".encode()


def store(folder: Path, *pages: tuple[str, str, str, bytes, str]) -> Path:
    """A WARC as the crawl writes it, of pages with kind, document, URL, body and media type."""

    async def work() -> Path:
        with Archive(folder, 2**24) as archive:
            volume = archive.volume("lane00", 2**30)
            for kind, document, url, body, media in pages:
                answer = Answer(url, WHEN, 200, (("Content-Type", media),), body)
                await Group(archive, volume, document).store(answer, url, kind)  # type: ignore[arg-type]
            volume.close()
            return volume.path

    return asyncio.run(work())


def html(
    url: str, body: bytes, kind: str = "document", document: str | None = None
) -> tuple[str, str, str, bytes, str]:
    return kind, document or url, url, body, "text/html; charset=utf-8"


def only(results: list[Document | Rejected]) -> Document:
    (result,) = results
    assert not isinstance(result, Rejected), result.drop
    return result


def reasons(results: list[Document | Rejected]) -> list[str]:
    return [result.drop.reason.value if isinstance(result, Rejected) else "kept" for result in results]


def record(url: str, body: bytes, head: str = "HTTP/1.1 200 OK\r\nContent-Type: text/html", **headers: str) -> bytes:
    """A record as any crawler may write it."""
    block = head.encode() + b"\r\n\r\n" + body
    warc_headers = {"WARC-Type": "response", "WARC-Target-URI": url, "Content-Length": str(len(block))}
    warc_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in warc_headers.items())
    return f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n"


# Documents -----------------------------------------------------------------------------------------------------------


def test_a_page_becomes_a_document_with_all_that_is_known_of_it(tmp_path: Path, site: str) -> None:
    body = page("Fever", after="<h2>References</h2><p>One study, which said so at length some years ago.</p>")
    document = only(read(store(tmp_path / "c", html("https://example.org/fever", body)), site))
    assert document["title"] == "Fever"
    assert PROSE in document["text"]
    assert "Menu" not in document["text"]
    assert "One study" not in document["text"]
    assert document["url"] == "https://example.org/fever"
    assert document["meta"]["site"] == "mysite"
    assert (document["source"], document["license"], document["redistributable"]) == ("guidelines", "CC-BY-4.0", True)
    assert document["fetched_at"] == WHEN
    pa.Table.from_pylist([document], DOCUMENT)


def test_chapters_are_one_document_in_order_under_their_headings(tmp_path: Path, site: str) -> None:
    url = "https://example.org/ng1"
    chapters = [
        html(f"{url}/c{n}", page(f"Chapter {n}", f"Words of {n}: {PROSE}"), "chapter", url) for n in range(1, 4)
    ]
    path = store(tmp_path / "c", html(url, page("Guideline")), *chapters, html("https://example.org/x", page("Other")))
    first, other = read(path, site)
    assert not isinstance(first, Rejected)
    text = first["text"]
    places = [text.index(word) for word in ("Chapter 1", "Words of 1", "Chapter 2", "Words of 2", "Chapter 3")]
    assert places == sorted(places)
    assert first["title"] == "Guideline"
    assert not isinstance(other, Rejected)
    assert other["title"] == "Other"


def test_each_lost_chapter_of_a_document_that_is_kept_is_told(tmp_path: Path, site: str) -> None:
    url = "https://example.org/ng1"
    renamed = page("Lost").replace(b"main>", b"article>")
    chapters = [html(f"{url}/c{n}", renamed if n > 1 else page("Kept"), "chapter", url) for n in range(1, 4)]
    path = store(tmp_path / "c", html(url, page("Guideline")), *chapters, html("https://example.org/x", page("Other")))
    results = read(path, site)
    assert reasons(results) == ["no_content", "no_content", "kept", "kept"]
    assert [result.drop.evidence for result in results if isinstance(result, Rejected)] == [
        f"{url}/c2: of {url}: content: main matches nothing",
        f"{url}/c3: of {url}: content: main matches nothing",
    ]
    assert len({result.native for result in results if isinstance(result, Rejected)}) == 2
    assert "# Kept" in results[2]["text"]  # type: ignore[index]


def test_every_page_of_a_document_that_gives_nothing_is_told_once(tmp_path: Path, site: str) -> None:
    url = "https://example.org/ng1"
    pages = [html(url, b"<html></html>"), html(f"{url}/c1", b"<html></html>", "chapter", url)]
    results = read(store(tmp_path / "c", *pages), site)
    assert reasons(results) == ["no_content", "no_content"]
    assert results[0].drop.evidence.startswith(f"{url}: content: ")  # type: ignore[union-attr]
    # What rules leave nothing of is one document that is dropped.
    stopped = html(url, page("Fever")), html(f"{url}/c1", page("Care"), "chapter", url)
    results = read(store(tmp_path / "d", *stopped), changed(site, clean={"drop": ["Fever", "Care", "Give"]}))
    assert [result.drop.evidence for result in results if isinstance(result, Rejected)] == [
        f"{url}: the site's rules left nothing"
    ]


def test_a_closing_heading_of_a_chapter_costs_no_other(tmp_path: Path, site: str) -> None:
    url = "https://example.org/ng1"
    first = page("Causes", f"{PROSE}</p><p>{PROSE}", "<h2>References</h2><p>One study.</p>")
    path = store(tmp_path / "c", html(url, first), html(f"{url}/t", page("Treatment"), "chapter", url))
    assert only(read(path, site))["text"] == f"# Causes\n\n{PROSE}\n\n{PROSE}\n\n# Treatment\n\n{PROSE}"


def test_what_a_page_of_a_kept_document_lacks_is_noted_once(tmp_path: Path, site: str) -> None:
    url = "https://example.org/ng1"
    missing = page("Care").replace(b"h1>", b"h2>")
    path = store(
        tmp_path / "c",
        html(url, page("Guideline")),
        html(f"{url}/c1", missing, "chapter", url),
        html("https://example.org/a", missing),
        html("https://example.org/b", missing),
        html("https://example.org/b/c", missing, "chapter", "https://example.org/b"),
        html("https://example.org/lost", b"<html></html>"),
    )
    assert notes(path, changed(site, title="main h1")) == [
        Note(f"https://example.org/{name}", "title", "main h1 matches nothing") for name in "ab"
    ]
    assert notes(path, changed(site)) == []


def test_scanned_and_broken_pages_of_a_kept_pdf_are_notes(
    tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = Page("Fever", PROSE, _notes(9, [2, 5], [7]))
    monkeypatch.setattr("ingest.sources.warc.pdf_text", lambda *_, **__: lacking)
    url = "https://example.org/a.pdf"
    assert notes(store(tmp_path / "c", ("document", url, url, b"%PDF-1.4", "application/pdf")), site) == [
        Note(url, "scanned pages", "2 of 9, without text: 2, 5"),
        Note(url, "broken pages", "1 of 9, without text: 7"),
    ]


def test_index_pages_robots_other_responses_and_replaced_records_are_no_documents(tmp_path: Path, site: str) -> None:
    path = store(
        tmp_path / "c",
        html("https://example.org/list", page("List"), "index"),
        ("robots", "x", "https://example.org/robots.txt", b"User-agent: *", "text/plain"),
        html("https://example.org/a", page("Old")),
        html("https://example.org/a", page("New")),
    )
    moved = Answer("https://example.org/b", WHEN, 302, (("Content-Type", "text/html"),), page("Moved"))
    with Archive(path.parent, 2**24) as archive:
        asyncio.run(archive.store_other(archive.volume("lane00", 2**30), moved))
        archive.write_superseded(archive.volume("index", 2**30))
    assert only(read(path, site))["title"] == "New"


def test_a_page_without_content_is_a_counted_drop(tmp_path: Path, site: str) -> None:
    path = store(
        tmp_path / "c",
        html("https://example.org/a", b"<html><body><div>no main here</div></body></html>"),
        html("https://example.org/b", b"<html><main>  </main></html>"),
        html("https://example.org/c", b""),
    )
    results = read(path, site)
    assert reasons(results) == ["no_content"] * 3
    assert all("https://example.org/" in result.drop.evidence for result in results if isinstance(result, Rejected))


def test_pdfs_are_read_and_other_types_are_no_pages(tmp_path: Path, site: str) -> None:
    path = store(
        tmp_path / "c",
        ("document", "https://example.org/a.pdf", "https://example.org/a.pdf", pdf(PROSE), "application/octet-stream"),
        ("document", "https://example.org/b.pdf", "https://example.org/b.pdf", b"%PDF-1.4 no", "application/pdf"),
        ("document", "https://example.org/c.png", "https://example.org/c.png", b"\x89PNG", "image/png"),
    )
    results = read(path, site)
    assert reasons(results) == ["kept", "malformed_pdf", "not_a_page"]
    assert PROSE in results[0]["text"]  # type: ignore[index]


def pdf(text: str) -> bytes:
    """A page of large print; the reader rebuilds the table of objects that it lacks."""
    stream = f"BT /F 12 Tf 40 700 Td ({text}) Tj ET"
    parts = (
        "%PDF-1.4",
        "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj",
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj",
        f"4 0 obj<</Length {len(stream)}>>stream\n{stream}\nendstream endobj",
        "5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj",
        "trailer<</Root 1 0 R>>",
        "%%EOF",
    )
    return "\n".join(parts).encode()


def test_a_site_is_added_by_one_file_that_the_crawl_and_the_step_read_take(tmp_path: Path, site: str) -> None:
    """`site` is the file that a developer writes; the archive is what `gap crawl` makes of it."""
    data = tmp_path / "data"
    crawl = CrawlSettings(sites=(site,))
    assert [known.name for known in crawl.chosen(["mysite"]).values()] == ["A site"]
    path = store(data / crawl.folder / "mysite", html("https://example.org/a", page("Fever")))
    superseded_file(path).write_text("[]", encoding="utf-8")
    settings = ReadSettings.model_validate({"inputs": [{"format": "warc", "source": "guidelines", "site": site}]})
    assert settings.inputs[0].paths == ("crawl/mysite/*.warc.gz",)
    assert rule_files(settings) == [Path(site)]
    (unit,) = units(settings, str(data))
    assert unit.files == (path,)
    assert [row["title"] for row in records(unit, settings, str(data))] == ["Fever"]  # type: ignore[index]


def test_paths_that_are_set_are_kept(site: str) -> None:
    assert warc_input(site, paths=["own/*.warc"]).paths == ("own/*.warc",)
    with pytest.raises(ValidationError, match="site"):
        WarcInput.model_validate({"format": "warc", "source": "guidelines"})


def test_an_unknown_site_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"")
    with pytest.raises(UserError, match="no such site"):
        read(tmp_path / "a.warc", "nowhere")


# Other people's files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["plain", "each", "whole"])
def test_other_crawlers_files_are_read_however_they_are_packed(tmp_path: Path, site: str, packing: str) -> None:
    parts = [
        b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 3\r\n\r\na\r\n\r\n\r\n",
        record("https://example.org/a", page("First"), WARC_Date="2020-01-02T03:04:05Z"),
        record("<https://example.org/b>", page("Second")),
        record("https://example.org/c", page("Third"), "HTTP/1.1 404 Not Found\r\nContent-Type: text/html"),
        record("https://example.org/d", b"", WARC_Type="request"),
        record("https://example.org/a", page("Fourth")),
    ]
    data = {
        "plain": b"".join,
        "each": lambda records: b"".join(map(gzip.compress, records)),
        "whole": lambda records: gzip.compress(b"".join(records)),
    }
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data[packing](parts))
    results = read(path, site)
    assert reasons(results) == ["kept", "kept", "not_a_page", "kept"]
    first, second, _, fourth = results
    assert first["fetched_at"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)  # type: ignore[index]
    assert second["url"] == "https://example.org/b"  # type: ignore[index]
    assert fourth["title"] == "Fourth"  # type: ignore[index]


def test_chunked_and_packed_payloads_are_unpacked(tmp_path: Path, site: str) -> None:
    body = page("Fever")
    ok = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(body[n : n + 50]), body[n : n + 50]) for n in range(0, len(body), 50))
    bodies = [
        record("https://a.org/1", chunks + b"0\r\n\r\n", f"{ok}Transfer-Encoding: chunked"),
        record("https://a.org/2", body, f"{ok}Transfer-Encoding: chunked"),
        record("https://a.org/3", gzip.compress(body), f"{ok}Content-Encoding: gzip"),
        record("https://a.org/4", zlib.compress(body)[2:-4], f"{ok}Content-Encoding: deflate"),
        record("https://a.org/5", body, f"{ok}Content-Encoding: gzip"),
        record("https://a.org/6", chunks[:-30], f"{ok}Transfer-Encoding: chunked"),
        record("https://a.org/7", gzip.compress(body)[:-9], f"{ok}Content-Encoding: gzip"),
        record("https://a.org/8", gzip.compress(bytes(2**22)), f"{ok}Content-Encoding: gzip"),
        record("https://a.org/9", gzip.compress(body), f"{ok}Content-Encoding: zz"),
        record("https://a.org/10", body, "nonsense"),
    ]
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(bodies))
    assert reasons(read(path, site, max_bytes=2**20)) == ["kept"] * 5 + ["malformed_warc"] * 5


# Damage --------------------------------------------------------------------------------------------------------------


def test_a_torn_last_record_is_told_and_costs_no_other(tmp_path: Path, site: str) -> None:
    path = store(tmp_path / "c", *(html(f"https://example.org/{n}", page(f"Page {n}")) for n in range(3)))
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    results = read(path, site)
    assert sorted(reasons(results)) == ["kept", "kept", "truncated_file"]


def test_a_damaged_record_in_the_middle_costs_no_other(tmp_path: Path, site: str) -> None:
    path = store(tmp_path / "c", *(html(f"https://example.org/{n}", page(f"Page {n}")) for n in range(5)))
    with path.open("rb") as stream:
        offset = [record.offset for record in read_records(stream, 2**20)][2]
    data = bytearray(path.read_bytes())
    data[offset + 60 : offset + 90] = bytes(30)
    path.write_bytes(data)
    assert sorted(reasons(read(path, site))) == ["kept"] * 4 + ["truncated_file"]


@pytest.mark.parametrize("length", ["99999999", "-1", "ten", "", "1" * 5000, "7"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_content_length_costs_one_record(tmp_path: Path, site: str, length: str, packed: bool) -> None:
    parts = [record(f"https://a.org/{n}", page(f"Page {n}")) for n in range(3)]
    parts[1] = record("https://a.org/1", page("Page 1"), Content_Length=length)
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(map(gzip.compress, parts)) if packed else b"".join(parts))
    outcomes = reasons(read(path, site, max_bytes=10**9))
    assert outcomes.count("kept") == 2
    assert len(outcomes) > 2


def test_a_record_over_the_limit_is_told_without_being_held(tmp_path: Path, site: str) -> None:
    path = tmp_path / "a.warc.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {300 * 2**20}\r\n\r\n".encode())
        for _ in range(300):
            stream.write(bytes(2**20))
    with path.open("ab") as stream:
        stream.write(gzip.compress(record("https://a.org/1", page("Fever"))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = read(path, site, max_bytes=2**20)
    assert reasons(results) == ["too_large", "kept"]
    assert isinstance(results[0], Rejected)
    assert results[0].drop.score == 300 * 2**20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * 2**20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n\n",
        b"WARC/1.0",
        b"WARC/1.0\r\n",
        b"\x1f\x8b",
        b"\x1f\x8b\x08" * 5000,
        gzip.compress(b""),
        gzip.compress(b"WARC/1.0\r\n" + b"a: b\r\n" * 10_000),
        gzip.compress(b"x" * 10**7),
        b"WARC/1.0\r\n" + b"x" * 10**6,
        b"WARC/1.0\r\nContent-Length: 0\r\n\r\n" * 3,
        gzip.compress(b"WARC/1.0\r\n\r\n") * 3000,
        gzip.compress(record("https://a.org/1", b"x")) + bytes(1000),
        random.Random(1).randbytes(100_000),
    ],
    ids=range(14),
)
def test_hostile_files_raise_nothing(tmp_path: Path, site: str, data: bytes) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data)
    assert all(isinstance(result, Rejected) and result.drop.evidence for result in read(path, site))


def test_a_file_is_given_up_after_a_thousand_damages_not_searched_forever(tmp_path: Path) -> None:
    torn = gzip.compress(random.Random(1).randbytes(200_000))[:-9]
    data = io.BytesIO(torn * 3 + b"\x1f\x8b\x08" * 3000)
    assert [type(result) for result in read_records(data, 2**20)] == [Broken]


WHOLE = [record(f"https://a.org/{n}", page(f"Page {n}"), WARC_Date="2020-01-02T03:04:05Z") for n in range(4)]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packed=st.booleans(),
    inner=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=12), st.integers(0, 40)), max_size=4),
    outer=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 9)), max_size=3),
)
def test_mutated_files_raise_nothing_and_every_result_has_its_form(
    tmp_path: Path, site: str, packed: bool, inner: list[tuple[int, bytes, int]], outer: list[tuple[int, bytes, int]]
) -> None:
    parts = list(WHOLE)
    for place, new, length in inner:
        index = place % len(parts)
        parts[index] = mutated(parts[index], place // 4, new, length)
    data = b"".join(map(gzip.compress, parts)) if packed else b"".join(parts)
    for place, new, length in outer:
        data = mutated(data, place, new, length)
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data)
    results = read(path, site)
    documents = [result for result in results if not isinstance(result, Rejected)]
    pa.Table.from_pylist(documents, DOCUMENT)
    for result in results:
        if isinstance(result, Rejected):
            assert result.drop.reason in Reason
            assert result.native.startswith("a.warc.gz:")


def mutated(data: bytes, place: int, new: bytes, length: int) -> bytes:
    place %= len(data) + 1
    return data[:place] + new + data[place + length :]
