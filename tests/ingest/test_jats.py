"""Papers in JATS: ids, dates and licence; and the files that hold no paper."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingest.records import Rejected
from ingest.sources.jats import JatsInput, parse_paper
from lake.decision import Reason
from lake.document import DOCUMENT, Document, document_id
from tests.ingest.outcomes import outcomes

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",))
NAMESPACES = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'


def article(
    body: str = "<p>Words.</p>", *, meta: str = "", journal: str = "", back: str = "", attributes: str = ""
) -> str:
    return (
        f"<article {NAMESPACES} {attributes}><front><journal-meta>{journal}</journal-meta>"
        f"<article-meta>{meta}</article-meta></front><body>{body}</body><back>{back}</back></article>"
    )


def parse(xml: str | bytes, **more: Any) -> Document:
    data = xml.encode() if isinstance(xml, str) else xml
    found = parse_paper(data, "folder/a.xml", SETTINGS.model_copy(update=more))
    assert not isinstance(found, Rejected), found.drop
    return found


def rejected(data: str | bytes, **more: Any) -> tuple[Reason, str]:
    data = data.encode() if isinstance(data, str) else data
    found = parse_paper(data, "folder/a.xml", SETTINGS.model_copy(update=more))
    assert isinstance(found, Rejected)
    assert found.native == "folder/a.xml"
    assert found.drop.evidence.startswith("folder/a.xml: ")
    return found.drop.reason, found.drop.evidence.removeprefix("folder/a.xml: ")


# Metadata ------------------------------------------------------------------------------------------------------------


def test_ids_url_journal_type_and_language() -> None:
    ids = (
        '<article-id pub-id-type="pmid"> 123 </article-id><article-id pub-id-type="pmc">456</article-id>'
        '<article-id pub-id-type="doi">10.5555/a</article-id><article-id pub-id-type="publisher-id">x</article-id>'
    )
    made = parse(
        article(
            meta=ids,
            journal="<journal-title-group><journal-title>Annals of <italic>Salt</italic></journal-title>"
            "</journal-title-group>",
            attributes='article-type="review-article" xml:lang="EN-us"',
        ),
        site="pmc",
    )
    assert made["id"] == document_id("papers", "PMC456")
    assert made["url"] == "https://pmc.ncbi.nlm.nih.gov/articles/PMC456/"
    assert made["lang"] == "en"
    meta = {name: value for name, value in made["meta"].items() if value is not None}
    assert meta == {
        "pmid": "123",
        "pmcid": "PMC456",
        "doi": "10.5555/a",
        "journal": "Annals of Salt",
        "publication_types": ["Review"],
        "site": "pmc",
    }
    assert pa.Table.from_pylist([made], DOCUMENT).to_pylist() == [made]


@pytest.mark.parametrize(
    ("ids", "native", "url"),
    [
        ({"pmcid": "PMC7", "doi": "10.5/a"}, "PMC7", "https://pmc.ncbi.nlm.nih.gov/articles/PMC7/"),
        ({"doi": "10.5/a", "pmid": "8"}, "10.5/a", "https://doi.org/10.5/a"),
        ({"pmid": "8"}, "8", "https://pubmed.ncbi.nlm.nih.gov/8/"),
        ({"pmc": "none", "pmid": "x", "doi": ""}, "folder/a.xml", None),
        ({}, "folder/a.xml", None),
    ],
)
def test_a_paper_is_known_by_its_best_id(ids: dict[str, str], native: str, url: str | None) -> None:
    made = parse(
        article(meta="".join(f'<article-id pub-id-type="{kind}">{one}</article-id>' for kind, one in ids.items()))
    )
    assert (made["id"], made["url"]) == (document_id("papers", native), url)


def test_an_abbreviated_journal_stands_in_and_an_unknown_type_stays() -> None:
    made = parse(article(journal='<journal-id journal-id-type="nlm-ta">Ann Salt</journal-id>'))
    assert (made["meta"]["journal"], made["meta"]["publication_types"]) == ("Ann Salt", None)
    odd = parse(article(attributes='article-type="other"'))
    assert odd["meta"]["publication_types"] == ["other"]


def test_title_and_subtitle() -> None:
    group = "<title-group><article-title>Salt{}</article-title><subtitle>a trial</subtitle></title-group>"
    for colon in ("", ":"):
        assert parse(article(meta=group.format(colon)))["title"] == "Salt: a trial"
    assert parse(article())["title"] is None


def dated(*dates: str) -> str | None:
    return parse(article(meta="".join(dates)))["meta"]["published"]


def pub_date(kind: str, year: str = "", month: str = "", day: str = "") -> str:
    parts = {"day": day, "month": month, "year": year}
    return f"<pub-date {kind}>{''.join(f'<{name}>{one}</{name}>' for name, one in parts.items() if one)}</pub-date>"


@pytest.mark.parametrize(
    ("dates", "published"),
    [
        ([pub_date('pub-type="epub"', "2012", "7", "9")], "2012-07-09"),
        ([pub_date('date-type="pub"', "2012", "Jul")], "2012-07"),
        ([pub_date('pub-type="ppub"', "2012")], "2012"),
        ([pub_date('pub-type="ppub"', "2012"), pub_date('pub-type="epub"', "2012", "11", "2")], "2012-11-02"),
        ([pub_date('pub-type="ppub"', "2012"), pub_date('pub-type="epub"', "2013", "1", "2")], "2012"),
        ([pub_date('pub-type="ppub"', "2013", "2", "30")], "2013-02"),
        ([pub_date('pub-type="ppub"', "2013", "Spring")], "2013"),
        ([pub_date('pub-type="pmc-release"', "2011"), pub_date('pub-type="epub"', "2012")], "2012"),
        ([pub_date('pub-type="epub"', "in press")], None),
        ([], None),
    ],
)
def test_the_first_publication_dates_a_paper(dates: list[str], published: str | None) -> None:
    assert dated(*dates) == published


def test_a_stated_licence_goes_before_the_config() -> None:
    told = {"license": "CC-BY-4.0", "redistributable": True}
    assert (parse(article(), **told)["license"], parse(article(), **told)["redistributable"]) == ("CC-BY-4.0", True)
    stated = "<permissions><license><p>All rights reserved.</p></license></permissions>"
    own = parse(article(meta=stated), **told)
    assert (own["license"], own["redistributable"]) == ("All rights reserved.", False)


# Files that are no paper ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "xml",
    [
        article(""),
        article("<sec><title>Nothing</title></sec>"),
        article("<p><graphic/></p>", meta="<abstract><p>An abstract alone.</p></abstract>"),
        article("", back="<app-group><app><p>An appendix alone.</p></app></app-group>"),
        article().replace("<body><p>Words.</p></body>", ""),
        article().replace("<body>", "<sub-article><body>").replace("</body>", "</body></sub-article>"),
    ],
)
def test_a_paper_without_a_body_is_dropped(xml: str) -> None:
    assert rejected(xml) == (Reason.NO_BODY, "no text in <body>")


def test_an_article_in_an_envelope_is_read_and_a_set_of_them_refused() -> None:
    one = article()
    assert parse(f"<set>{one}</set>")["text"] == "Words."
    assert rejected(f"<set>{one}{one}</set>") == (
        Reason.WRONG_TYPE,
        "<set> with 2 articles; a file must be one <article>",
    )
    page = "<html><body><p>Words.</p></body></html>"
    assert rejected(page) == (Reason.WRONG_TYPE, "<html> with 0 articles; a file must be one <article>")


def test_the_namespace_of_an_article_does_not_matter() -> None:
    assert parse('<article xmlns="http://jats.nlm.nih.gov"><body><p>Words.</p></body></article>')["text"] == "Words."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"no xml",
        b'{"json": true}',
        b"\x00\x01\x02",
        article().encode()[:-30],
        article("<p>unclosed").encode(),
        article("<p a='1' a='2'/>").encode(),
        article("<p>&undeclared;</p>").encode(),
        article("<sec>" * 300 + "<p>deep</p>" + "</sec>" * 300).encode(),
    ],
)
def test_xml_that_does_not_parse_is_malformed(data: bytes) -> None:
    reason, evidence = rejected(data)
    assert reason == Reason.MALFORMED_XML
    assert "line" in evidence


@pytest.mark.parametrize("nest", ["<sec>{}</sec>", "<boxed-text>{}</boxed-text>", "<italic>{}</italic>",
                                  "<list><list-item>{}</list-item></list>", "<inline-formula>{}</inline-formula>",
                                  "<fig><caption>{}</caption></fig>", "<disp-quote>{}</disp-quote>"])  # fmt: skip
def test_nesting_as_deep_as_the_parser_allows_is_read(nest: str) -> None:
    depth = 240 // nest.count("</")
    opening, closing = nest.split("{}")
    assert "deep" in parse(article(f"<p>a</p>{opening * depth}<p>deep</p>{closing * depth}"))["text"]


@pytest.mark.parametrize(
    ("encoding", "declared"), [("latin-1", "ISO-8859-1"), ("utf-16", "UTF-16"), ("cp1252", "windows-1252")]
)
def test_encodings_that_are_declared_are_read(encoding: str, declared: str) -> None:
    data = f'<?xml version="1.0" encoding="{declared}"?>{article("<p>é</p>")}'.encode(encoding)
    assert parse(data)["text"] == "é"


@pytest.mark.parametrize(
    "data",
    [
        article("<p>é</p>").encode("latin-1"),
        f'<?xml version="1.0" encoding="UTF-8"?>{article("<p>é</p>")}'.encode("latin-1"),
        f'<?xml version="1.0" encoding="klingon"?>{article()}'.encode(),
    ],
)
def test_bytes_in_another_encoding_than_declared_are_undecodable(data: bytes) -> None:
    assert rejected(data)[0] == Reason.UNDECODABLE


def test_a_paper_over_the_limit_is_counted() -> None:
    xml = article()
    assert parse(xml, max_bytes=len(xml))["text"] == "Words."
    reason, evidence = rejected(xml, max_bytes=len(xml) - 1)
    assert reason == Reason.TOO_LARGE
    assert evidence == f"over {len(xml) - 1:,} bytes, the value of max_bytes"


# Files ---------------------------------------------------------------------------------------------------------------


def test_plain_and_gzip_files_hold_one_record(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(article())
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(article().encode()))
    for name in ("a.xml", "a.xml.gz"):
        (made,) = outcomes(SETTINGS.read(tmp_path / name, name))
        assert not isinstance(made, Rejected)
        assert (made["text"], made["id"]) == ("Words.", document_id("papers", name))


@pytest.mark.parametrize("content", [gzip.compress(article().encode())[:-5], b"plain"])
def test_a_truncated_gzip_is_counted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml.gz").write_bytes(content)
    (found,) = SETTINGS.read(tmp_path / "a.xml.gz", "a.xml.gz")
    assert isinstance(found, Rejected)
    assert (found.native, found.drop.reason) == ("a.xml.gz", Reason.TRUNCATED_FILE)


def test_a_gzip_bomb_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(b"<a>" + b" " * 50_000_000))
    tracemalloc.start()
    (found,) = SETTINGS.model_copy(update={"max_bytes": 1_000}).read(tmp_path / "a.xml.gz", "a.xml.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert isinstance(found, Rejected)
    assert found.drop.reason == Reason.TOO_LARGE
