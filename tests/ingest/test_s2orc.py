"""Records of Semantic Scholar's datasets: what becomes a document, what metadata, and what is told of the rest."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingest.metadata import METADATA
from ingest.records import Metadata, Note, Records, Rejected, Unsampled
from ingest.sources.s2orc import S2Input, parse_s2
from lake.decision import Reason
from lake.document import DOCUMENT, Document, document_id
from tests.ingest.marked import content, record
from tests.ingest.outcomes import outcomes

BODY = "<title>Salt</title><sectionheader>A</sectionheader><paragraph>Words.</paragraph>"
PAPER: dict[str, Any] = {
    "corpusid": 7,
    "externalids": {"PubMed": "123", "PubMedCentral": "456", "DOI": "10.1/x", "MAG": 9, "ACL": None},
    "title": "Salt\nand thirst",
    "journal": {"name": "Thirst", "volume": "3"},
    "venue": "J Thirst",
    "year": 2012,
    "publicationdate": "2012-07-19",
    "publicationtypes": ["JournalArticle", "MetaAnalysis", "Study"],
    "citationcount": 40,
    "openaccessinfo": {"license": "CCBYNC", "status": "GOLD"},
}


def settings(dataset: str, **more: Any) -> S2Input:
    return S2Input.model_validate({"format": "s2orc", "dataset": dataset, "source": "papers", "paths": ["*"]} | more)


def parse(dataset: str, given: dict[str, Any] | bytes, **more: Any) -> Any:
    line = given if isinstance(given, bytes) else json.dumps(given).encode()
    return parse_s2(line, "p.gz:3", settings(dataset, **more))


def document(dataset: str, given: dict[str, Any] | bytes, **more: Any) -> Document:
    found = parse(dataset, given, **more)
    assert isinstance(found, dict), found
    assert pa.Table.from_pylist([found], DOCUMENT).num_rows == 1
    return found


def rejected(dataset: str, given: dict[str, Any] | bytes) -> Rejected:
    found = parse(dataset, given)
    assert isinstance(found, Rejected), found
    assert found.drop.evidence.startswith("p.gz:3: ")
    return found


def test_a_full_text_has_its_ids_title_and_url() -> None:
    found = document("s2orc", record(BODY))
    assert found["id"] == document_id("papers", "7")
    assert found["text"] == "Salt\n\n# A\n\nWords."
    assert found["title"] == "Salt"
    assert found["url"] == "https://pmc.ncbi.nlm.nih.gov/articles/PMC456/"
    meta = {key: value for key, value in found["meta"].items() if value is not None}
    assert meta == {"pmid": "123", "pmcid": "PMC456", "doi": "10.1/x", "corpusid": 7}


@pytest.mark.parametrize(
    ("stated", "name", "free"),
    [
        ("CCBY", "CC-BY", True),
        ("cc-by-sa", "CC-BY-SA", True),
        ("CCBYNCND", "CC-BY-NC-ND", False),
        ("CC0", "CC0-1.0", True),
        ("pd", "public-domain", True),
        ("publisher-specific-oa", "publisher-specific-oa", False),
        (None, "house", True),
        (3, "house", True),
    ],
)
def test_the_open_access_licence_says_whether_a_text_may_leave(stated: Any, name: str, free: bool) -> None:
    source = {"oainfo": {"license": stated} if stated else None}
    given = record(BODY, content=content(BODY) | {"source": source})
    found = document("s2orc", given, license="house", redistributable=True)
    assert (found["license"], found["redistributable"]) == (name, free)


def test_a_full_text_out_of_pubmed_goes_and_one_without_ids_waits_for_the_join() -> None:
    gone = rejected("s2orc", record(BODY, externalids={"pubmed": None, "doi": "10.1/x"}))
    assert gone.drop.reason is Reason.NO_PUBMED_ID
    assert gone.native == "7"
    assert document("s2orc", record(BODY, externalids=None))["meta"]["pmid"] is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"content": None}, Reason.NO_BODY),
        ({"content": {"text": None, "annotations": None}}, Reason.NO_BODY),
        ({"content": {"text": " \n", "annotations": {}}}, Reason.NO_BODY),
        ({"content": content("<title>T</title><abstract>Short.</abstract>")}, Reason.NO_BODY),
        ({"content": {"text": 3}}, Reason.WRONG_TYPE),
        (
            {"content": {"text": "Salt", "annotations": {"title": '[{"start": 0, "end"'}}},
            Reason.MALFORMED_ANNOTATION,
        ),
    ],
)
def test_a_full_text_that_cannot_be_read_is_told(given: dict[str, Any], reason: Reason) -> None:
    found = rejected("s2orc", record(BODY, **given))
    assert (found.drop.reason, found.native) == (reason, "7")
    assert "corpusid 7: " in found.drop.evidence


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", Reason.MALFORMED_JSON),
        (b"[]", Reason.WRONG_TYPE),
        (b"\xff", Reason.UNDECODABLE),
        (b"{}", Reason.MISSING_FIELD),
        (b'{"corpusid": "x"}', Reason.WRONG_TYPE),
        (b'{"corpusid": 9223372036854775808}', Reason.WRONG_TYPE),
    ],
)
@pytest.mark.parametrize("dataset", ["papers", "s2orc", "abstracts"])
def test_a_line_that_is_no_record_is_told(dataset: str, line: bytes, reason: Reason) -> None:
    found = rejected(dataset, line)
    assert (found.drop.reason, found.native) == (reason, "p.gz:3")


def test_an_abstract_waits_for_its_title_and_ids() -> None:
    access = {"externalids": {"PubMedCentral": 456}, "license": "CCBY"}
    found = document("abstracts", {"corpusid": 7, "openaccessinfo": access, "abstract": " Thirst.\n"})
    assert (found["text"], found["title"], found["license"]) == ("Thirst.", None, "CC-BY")
    assert found["meta"]["pmcid"] == "PMC456"
    bare = document("abstracts", {"corpusid": 7, "openaccessinfo": None, "abstract": "Thirst."})
    assert bare["url"] == "https://api.semanticscholar.org/CorpusID:7"
    assert rejected("abstracts", {"corpusid": 7, "abstract": None}).drop.reason is Reason.NO_ABSTRACT
    assert rejected("abstracts", {"corpusid": 7, "abstract": ["a"]}).drop.reason is Reason.WRONG_TYPE


def told(given: dict[str, Any]) -> dict[str, Any]:
    found = parse("papers", PAPER | given)
    assert isinstance(found, Metadata)
    (row,) = pa.Table.from_pylist([found.row], METADATA).to_pylist()
    return dict(row)


def test_a_paper_gives_metadata() -> None:
    row = told({})
    assert {key: value for key, value in row.items() if value is not None} == {
        "origin": "s2",
        "pmid": "123",
        "pmcid": "PMC456",
        "doi": "10.1/x",
        "corpusid": 7,
        "title": "Salt and thirst",
        "journal": "Thirst",
        "published": "2012-07-19",
        "publication_types": ["Journal Article", "Meta-Analysis", "Study"],
        "citations": 40,
        "license": "CC-BY-NC",
        "redistributable": False,
        "deleted": False,
    }
    poor = told({"journal": None, "publicationdate": None, "publicationtypes": None, "openaccessinfo": None})
    assert (poor["journal"], poor["published"], poor["publication_types"]) == ("J Thirst", "2012", None)
    assert (poor["license"], poor["redistributable"]) == (None, None)


@pytest.mark.parametrize(
    ("wrong", "lost", "instead"),
    [
        ({"year": 0, "publicationdate": None}, "published", None),
        ({"publicationdate": "soon"}, "published", "2012"),
        ({"journal": {"name": ["Thirst"]}}, "journal", "J Thirst"),
        ({"journal": {"name": 3.5}, "venue": {}}, "journal", None),
        ({"title": ["Salt"]}, "title", None),
        ({"publicationtypes": 7}, "publication_types", None),
        ({"citationcount": "many"}, "citations", None),
    ],
)
def test_a_wrong_detail_of_a_paper_is_left_out_and_costs_nothing_else(
    wrong: dict[str, Any], lost: str, instead: Any
) -> None:
    found, whole = parse("papers", PAPER | wrong), parse("papers", PAPER)
    assert found == Metadata(whole.row | {lost: instead})


def test_a_paper_out_of_pubmed_is_passed_over_and_one_without_readable_ids_told() -> None:
    assert parse("papers", PAPER | {"externalids": {"DOI": "10.1/x", "PubMed": "n/a"}}) is None
    assert parse("papers", PAPER | {"externalids": None}) is None
    assert rejected("papers", PAPER | {"externalids": ["123"]}).drop.reason is Reason.WRONG_TYPE
    assert rejected("papers", PAPER | {"corpusid": "x"}).drop.reason is Reason.WRONG_TYPE


def test_papers_out_of_pubmed_are_counted(tmp_path: Path) -> None:
    outside = PAPER | {"externalids": {"DOI": "10.1/x"}}
    path = tmp_path / "part.gz"
    path.write_bytes(gzip.compress(b"\n".join(json.dumps(one).encode() for one in (outside, outside, PAPER, outside))))
    found = outcomes(settings("papers").read(path, path.name))
    assert [one.count if isinstance(one, Unsampled) else type(one) for one in found] == [2, Metadata, 1]


def read(path: Path, **more: Any) -> Records:
    return iter(outcomes(settings("s2orc", **more).read(path, path.name)))


def test_a_part_is_streamed_and_its_broken_end_told(tmp_path: Path) -> None:
    path = tmp_path / "part.gz"
    lines = b"\n".join([record(BODY, 1), b"", b"x" * 3000, record(BODY, 2)])
    path.write_bytes(gzip.compress(lines))
    kinds = [one.drop.reason if isinstance(one, Rejected) else 1 for one in read(path, max_bytes=2000)]
    assert kinds == [1, Reason.TOO_LARGE, 1]
    path.write_bytes(gzip.compress(lines)[:-9])
    assert [one.drop.reason for one in read(path) if isinstance(one, Rejected)][-1] is Reason.TRUNCATED_FILE


def test_a_long_text_takes_time_in_proportion(is_linear: Callable[..., bool]) -> None:
    def work(count: int) -> None:
        given = record("<sectionheader>A</sectionheader>" + "<paragraph>a [<bibref>1</bibref>] b</paragraph>\n" * count)
        document("s2orc", given)

    assert is_linear(work)


def test_annotations_beyond_the_text_are_told_before_the_document(tmp_path: Path) -> None:
    given = content(BODY)
    end = len(given["text"]) + 1
    given["annotations"]["paragraph"] = json.dumps([{"start": 5, "end": end}, {"start": end, "end": end + 3}])
    path = tmp_path / "part.gz"
    path.write_bytes(gzip.compress(record(BODY, content=given)))
    cut, passed, found = outcomes(settings("s2orc").read(path, "part.gz"))
    assert isinstance(found, dict)
    assert found["text"] == "Salt\n\n# A\n\nWords."
    url = "https://pmc.ncbi.nlm.nih.gov/articles/PMC456/"
    assert cut == Note(url, "annotations cut", f"1: paragraph: from 5 to {end} in a text of {end - 1} characters")
    assert isinstance(passed, Note)
    assert (passed.document, passed.what) == (url, "annotations passed over")
