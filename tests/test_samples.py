"""The sample corpus: reproducible, every planted case where it says, and nothing planted by accident."""

import json
import re
import subprocess
import sys
import zlib
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.clean import CleanSettings, clean_document
from ingest.inputs import ReadSettings, units
from ingest.inputs import records as read_records
from ingest.records import Record, Rejected, Unsampled
from ingest.site import load_site
from ingest.sources.jats import JatsInput, parse_paper
from ingest.web.health import Look, Yield, health
from lake.decision import Reason
from lake.document import Document, document_id
from samples.bank import blocks
from samples.guidelines import PAGES, guideline
from samples.pubmed import PACKED, RETRACTED, Studies
from samples.s2orc import corpusid
from samples.studies import Study
from tests.reasons import BY_ITSELF, READ

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
MADE = ("crawl", "guidelines", "papers", "s2", "abstracts", "replay", "instructions", "benchmarks")
HEALTH = "health.parquet"
"""Left by `gap check configs/demo.yaml`."""

SITES = sorted(path.stem for path in (SAMPLES / "sites").iterdir())
NO_CORPUS = {"instructions", "sample-qa"}
OF_OTHER_TEMPLATES = {Reason.CHANGED_BY_TEMPLATE, Reason.REFUSED_BY_TEMPLATE}
"""The demo's own chat template takes every talk, and changes none."""

COPIES = {"exact_duplicate", "near_duplicate", "superseded", "deleted_citation"}
EDITED = {  # a planted near-duplicate and the page it was made from
    "https://example-society.example.org/guidance/hf-reprint": "https://example-clinic.example.org/guidance/hf",
    "https://example-clinic.example.org/guidance/malaria-scan": "https://example-society.example.org/guidance/malaria",
    "gl-malaria-scan-short": "https://example-society.example.org/guidance/malaria",
    "gl-anaemia-us": "https://example-clinic.example.org/guidance/anaemia",
    "gl-asthma-leaflet": "https://example-clinic.example.org/guidance/asthma",
}
GOUT = ("https://example-society.example.org/guidance/gout", "https://example-clinic.example.org/guidance/gout-revised")


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, str]]:
    return json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def everything(demo: dict[str, Any]) -> list[Record]:
    """What the readers of the demo's config yield."""
    for one in demo["read"]["inputs"]:
        if one["format"] == "warc":
            one["site"] = str(ROOT / one["site"])
    settings = ReadSettings.model_validate(demo["read"])
    every = units(settings, str(SAMPLES))
    return [record for unit in every for record in read_records(unit, settings, str(SAMPLES))]


@pytest.fixture(scope="module")
def documents(everything: list[Record]) -> list[Document]:
    return [record for record in everything if isinstance(record, dict)]


@pytest.fixture(scope="module")
def planted(expected: dict[str, dict[str, str]]) -> dict[str, str]:
    """Reason by document id."""
    return {
        document_id(source, native): reason
        for source, natives in expected.items()
        for native, reason in natives.items()
        if source not in NO_CORPUS
    }


@pytest.fixture(scope="module")
def studies() -> Studies:
    return Studies(
        [Study(number, one) for number, one in enumerate(blocks("studies-1.txt") + blocks("studies-2.txt"), 1)]
    )


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + size]) for start in range(max(len(found) - size + 1, 1))}


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


def lines(text: str) -> list[str]:
    """Without blank ones and without the marks of headings and lists."""
    return [bare for line in text.splitlines() if (bare := line.lstrip("#- ").strip())]


# The files ------------------------------------------------------------------------------------------------------------


def written(data: bytes, name: str) -> bytes:
    """What a file says: of gzip the headers and the content, for builds of zlib pack the same bytes differently."""
    if name.endswith(("example-society/fetches.jsonl", "example-institute/fetches.jsonl")):
        rows = [json.loads(row) for row in data.splitlines()]  # places in a packed file
        return json.dumps([row | {"offset": 0, "length": 0} for row in rows]).encode()
    if not name.endswith(".gz"):
        return data
    found = b""
    while data:
        member = zlib.decompressobj(31)
        found += data[:10] + member.decompress(data)
        data = member.unused_data
    return found


def test_make_writes_the_committed_files(tmp_path: Path) -> None:
    for folder in ("once", "twice"):
        subprocess.run([sys.executable, "-m", "samples.make", str(tmp_path / folder)], cwd=ROOT, check=True)
    names = {str(path.relative_to(tmp_path / "once")) for path in (tmp_path / "once").rglob("*.*")}
    every = (path for folder in MADE for path in (SAMPLES / folder).rglob("*.*") if path.name != HEALTH)
    assert names == {str(path.relative_to(SAMPLES)) for path in every} | {"expected.json"}
    for name in names:
        once = (tmp_path / "once" / name).read_bytes()
        assert once == (tmp_path / "twice" / name).read_bytes()
        assert written(once, name) == written((SAMPLES / name).read_bytes(), name), name


def test_gzip_files_carry_no_time_and_no_name() -> None:
    files = list(SAMPLES.rglob("*.gz"))
    assert len(files) == 10
    for path in files:
        flags, time = path.read_bytes()[3], path.read_bytes()[4:8]
        assert (flags, time) == (0, bytes(4))


def test_size() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.suffix != ".pyc") < 1_500_000


# What must leave ------------------------------------------------------------------------------------------------------


def test_every_reason_occurs(expected: dict[str, dict[str, str]]) -> None:
    occurring = {reason for natives in expected.values() for reason in natives.values()}
    # over_budget comes of the budget of the mixture, not of the corpus.
    assert occurring == set(Reason) - {Reason.OVER_BUDGET} - OF_OTHER_TEMPLATES


def test_records_that_are_no_documents(
    everything: list[Record],
    documents: list[Document],
    expected: dict[str, dict[str, str]],
) -> None:
    rejected = {record.native: record.drop.reason for record in everything if isinstance(record, Rejected)}
    ids = {document["id"] for document in documents}
    promised = {
        native: reason
        for source, natives in expected.items()
        for native, reason in natives.items()
        if source not in NO_CORPUS and document_id(source, native) not in ids
    }
    assert rejected == promised
    # Of the two papers without a PubMed id the metadata of one comes only with the join.
    assert set(rejected.values()) == READ
    assert 200 <= len(documents) + len(rejected) <= 260


def test_ids_are_unique_but_for_the_planted_ones(documents: list[Document], planted: dict[str, str]) -> None:
    ids = [document["id"] for document in documents]
    repeated = {one for one in ids if ids.count(one) > 1}
    assert repeated == {one for one, reason in planted.items() if reason in ("repeated_id", "superseded")}


def test_cleaning_drops_exactly_the_planted_ones(
    documents: list[Document], planted: dict[str, str], demo: dict[str, Any]
) -> None:
    settings = CleanSettings.model_validate(demo["clean"])
    for one in documents:
        drop = clean_document(one["text"], one["title"], one["source"], settings).drop
        reason = planted.get(one["id"])
        assert (drop.reason if drop else None) == (reason if reason in BY_ITSELF else None), (one["url"], drop)


def test_personal_data_is_masked(documents: list[Document], demo: dict[str, Any]) -> None:
    settings = CleanSettings.model_validate(demo["clean"])
    masked: dict[str, int] = {}
    for one in documents:
        cleaned = clean_document(one["text"], one["title"], one["source"], settings)
        if one["source"] == "replay" and cleaned.drop is None:
            assert "@" not in cleaned.text or "decorator" in cleaned.text
            assert "555" not in cleaned.text
        for (_, kind), count in cleaned.changes.items():
            masked[kind] = masked.get(kind, 0) + count
    assert masked == {"email": 2, "phone": 2, "record": 2}


def test_only_replay_is_sampled(everything: list[Record]) -> None:
    """Beside two of the papers that Semantic Scholar tells of, which are outside PubMed."""
    assert 1 + 2 <= sum(record.count for record in everything if isinstance(record, Unsampled)) <= 10 + 2


def test_similar_pairs_are_the_planted_ones(documents: list[Document], planted: dict[str, str]) -> None:
    shingles = [grams(document["text"], 5) for document in documents]
    revised = {document_id("guidelines", native) for native in GOUT}
    similar = set()
    for one, other in combinations(range(len(documents)), 2):
        score = jaccard(shingles[one], shingles[other])
        pair = (documents[one], documents[other])
        ids = {document["id"] for document in pair}
        if ids == revised:
            assert 0.5 < score < 0.65
        elif score > 0.5:
            assert score > 0.8
            assert pair[0]["source"] == pair[1]["source"]
            dropped = [document for document in pair if planted.get(document["id"]) in COPIES]
            assert dropped, ids
            similar |= {document["id"] for document in dropped}
            if len(dropped) == 1:
                (survivor,) = (document for document in pair if document is not dropped[0])
                check_survivor(survivor, dropped[0], planted[dropped[0]["id"]], score)
        else:
            assert score < 0.35, ids
    assert similar == {one for one, reason in planted.items() if reason in COPIES}


def check_survivor(survivor: Document, dropped: Document, reason: str, score: float) -> None:
    """The survivor is the longer text and, of equal texts, the smaller id."""
    if reason == "exact_duplicate":
        assert survivor["text"] == dropped["text"]
        assert survivor["id"] < dropped["id"]
    elif reason == "near_duplicate":
        assert score < 1
        assert len(survivor["text"]) > len(dropped["text"])


def test_edited_documents_name_their_original(documents: list[Document]) -> None:
    texts = {document["id"]: document["text"] for document in documents}
    for edited, original in EDITED.items():
        pair = (grams(texts[document_id("guidelines", native)], 5) for native in (edited, original))
        assert jaccard(*pair) > 0.8


def test_papers_share_ids_with_exactly_the_expected_abstracts(
    documents: list[Document], planted: dict[str, str]
) -> None:
    papers = [document for document in documents if document["source"] == "papers"]
    known = {(kind, document["meta"][kind]) for document in papers for kind in ("pmid", "doi", "corpusid")}
    known -= {(kind, None) for kind in ("pmid", "doi", "corpusid")}
    shared = {
        document["id"]
        for document in documents
        if document["source"] == "abstracts"
        if {(kind, document["meta"][kind]) for kind in ("pmid", "doi", "corpusid")} & known
    }
    assert shared == {one for one, reason in planted.items() if reason == "id_duplicate"}


def test_only_planted_documents_quote_questions(documents: list[Document], planted: dict[str, str]) -> None:
    asked = (SAMPLES / "benchmarks" / "sample-qa.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in asked]
    thirteen = {gram for question in questions if len(words(question)) >= 13 for gram in grams(question, 13)}
    eight = {gram for question in questions if len(words(question)) >= 8 for gram in grams(question, 8)}
    quoting = {document["id"] for document in documents if grams(document["text"], 13) & thirteen}
    assert quoting == {one for one, reason in planted.items() if reason == "contaminated"}
    assert quoting == {document["id"] for document in documents if grams(document["text"], 8) & eight}


def test_questions() -> None:
    asked = (SAMPLES / "benchmarks" / "sample-qa.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in asked]
    assert len(questions) == 42
    broken = [one["id"] for one in questions if list(one["options"]) != list("ABCD") or one["answer"] not in "ABCD"]
    assert broken == ["qa-041"]
    assert [one["id"] for one in questions if len(words(one["question"])) > 3_000] == ["qa-042"]


# What stays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("site", "count"), zip(SITES, (2, 14, 8, 17), strict=True))
def test_a_page_gives_back_the_text_it_was_made_of(documents: list[Document], site: str, count: int) -> None:
    """No line of the navigation, the banner, the footer or the running head, and none of the text is lost."""
    found = 0
    for document in documents:
        if document["meta"]["site"] == site:
            slug = document["url"].rpartition("/")[2].removesuffix(".pdf")
            try:
                guide = PAGES.get(slug) or guideline(slug)
            except KeyError:
                continue
            assert document["title"] == guide.title
            assert lines(document["text"]) == [guide.title, *lines(guide.text)]
            found += 1
    assert found == count


@pytest.mark.parametrize("site", SITES)
def test_a_site_yields_what_its_file_expects(documents: list[Document], site: str) -> None:
    settings = load_site(str(SAMPLES / "sites" / f"{site}.yaml"))
    looks = [
        Look(document["url"], len(document["text"].split()))
        for document in documents
        if document["meta"]["site"] == site
    ]
    found = Yield.of(site, looks)
    assert health(settings, found) == []
    assert found.documents == settings.expect.documents
    assert found.words == pytest.approx(settings.expect.words, rel=0.05)


def test_a_paper_reads_the_same_from_s2orc_and_from_jats(documents: list[Document], studies: Studies) -> None:
    texts = {document["id"]: document["text"] for document in documents}
    jats = JatsInput(format="jats", source="papers", paths=("*",))
    formula = re.compile(r"\[formula\].*?\[/formula\]")
    for study in studies.full[PACKED:]:
        told = parse_paper(studies.xml(study).encode(), "paper.xml", jats)
        assert isinstance(told, dict)
        text = texts[document_id("papers", str(corpusid(study)))]
        assert [formula.sub("", line) for line in lines(text)] == [
            formula.sub("", line) for line in lines(told["text"])
        ]
        assert text.count("[formula]") == told["text"].count("[formula]") == 2


def test_the_update_retracts_an_abstract_and_a_paper(everything: list[Record], studies: Studies) -> None:
    told = [one["meta"] for one in everything if isinstance(one, dict)]
    told += [one.about.row for one in everything if isinstance(one, Rejected) and one.about is not None]
    retracted = {one["pmid"] for one in told if RETRACTED in (one["publication_types"] or [])}
    assert retracted == {studies.by_medline[-1].pmid, studies.full[-1].pmid}


def test_lengths(documents: list[Document], planted: dict[str, str]) -> None:
    bounds = {"guidelines": (140, 500), "papers": (400, 900), "abstracts": (110, 260), "replay": (75, 300)}
    for document in documents:
        if document["id"] not in planted:
            low, high = bounds[document["source"]]
            assert low <= len(document["text"].split()) <= high, document["url"]


def test_readme_names_every_planted_record(expected: dict[str, dict[str, str]], documents: list[Document]) -> None:
    rows = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    urls = {document["id"]: document["url"] for document in documents if document["source"] == "replay"}
    for source, natives in expected.items():
        for native, reason in natives.items():
            name = urls.get(document_id(source, native), native).removeprefix("https://")
            assert any(row.startswith(f"| `{reason}` |") and f"`{name}`" in row for row in rows), name
