"""The sample corpus: reproducible, every planted case where it says, and nothing planted by accident."""

import json
import re
import subprocess
import sys
import zlib
from itertools import combinations
from pathlib import Path

import pytest

from ingest.records import Rejected
from ingest.sources.jats import JatsInput, read_jats
from ingest.sources.jsonl import JsonlInput, read_jsonl
from lake.decision import Reason
from lake.document import Document, document_id

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
MAX_BYTES = 200_000
FIELDS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "guidelines": {"id": "id", "title": "title", "text": "text"},
    "abstracts": {"id": "pmid", "pmid": "pmid", "doi": "doi", "title": "title", "text": "abstract"},
    "replay": {"text": "text"},
}
ORDER = list(Reason)
READ = set(ORDER[: ORDER.index(Reason.NO_BODY) + 1])
LATER = set(ORDER[ORDER.index(Reason.REPEATED_ID) : ORDER.index(Reason.CONTAMINATED) + 1])
DUPLICATES = {"exact_duplicate", "id_duplicate", "near_duplicate"}
EDITED = {  # a planted near-duplicate and the document it was made from
    "gl-hf-reprint": "gl-hf",
    "gl-malaria-scan": "gl-malaria",
    "gl-malaria-scan-short": "gl-malaria",
    "gl-anaemia-us": "gl-anaemia",
    "gl-asthma-leaflet": "gl-asthma",
}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, str]]:
    return json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def records() -> list[Document | Rejected]:
    found: list[Document | Rejected] = []
    for source, fields in FIELDS.items():
        settings = JsonlInput(format="jsonl", source=source, paths=("*",), fields=fields, max_bytes=MAX_BYTES)
        for path in sorted((SAMPLES / source).iterdir()):
            found += read_jsonl(path, f"{source}/{path.name}", settings)
    papers = JatsInput(format="jats", source="papers", paths=("*",), max_bytes=MAX_BYTES)
    for path in sorted((SAMPLES / "papers").iterdir()):
        found += read_jats(path, f"papers/{path.name}", papers)
    return found


@pytest.fixture(scope="module")
def documents(records: list[Document | Rejected]) -> list[Document]:
    return [record for record in records if not isinstance(record, Rejected)]


@pytest.fixture(scope="module")
def planted(expected: dict[str, dict[str, str]]) -> dict[str, str]:
    """Reason by document id."""
    return {
        document_id(source, native): reason
        for source, natives in expected.items()
        for native, reason in natives.items()
    }


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + size]) for start in range(max(len(found) - size + 1, 1))}


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


def written(data: bytes, name: str) -> bytes:
    """What a file says: of gzip the header and the content, for builds of zlib pack the same bytes differently."""
    return data[:10] + zlib.decompressobj(31).decompress(data) if name.endswith(".gz") else data


def test_make_writes_the_committed_files(tmp_path: Path) -> None:
    for folder in ("once", "twice"):
        subprocess.run([sys.executable, "-m", "samples.make", str(tmp_path / folder)], cwd=ROOT, check=True)
    names = {str(path.relative_to(tmp_path / "once")) for path in (tmp_path / "once").rglob("*.*")}
    kept = {
        str(path.relative_to(SAMPLES))
        for folder in ("guidelines", "papers", "abstracts", "replay", "benchmarks")
        for path in (SAMPLES / folder).iterdir()
    }
    assert names == kept | {"expected.json"}
    for name in names:
        once = (tmp_path / "once" / name).read_bytes()
        assert once == (tmp_path / "twice" / name).read_bytes()
        assert written(once, name) == written((SAMPLES / name).read_bytes(), name), name


def test_gzip_files_carry_no_time_and_no_name() -> None:
    files = list(SAMPLES.rglob("*.gz"))
    assert len(files) == 3
    for path in files:
        flags, time = path.read_bytes()[3], path.read_bytes()[4:8]
        assert (flags, time) == (0, bytes(4))


def test_every_reason_occurs(expected: dict[str, dict[str, str]]) -> None:
    occurring = {reason for natives in expected.values() for reason in natives.values()}
    # over_budget comes of the budget of the mixture, not of the corpus.
    assert occurring == set(Reason) - {Reason.OVER_BUDGET}


def test_size() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.suffix != ".pyc") < 1_500_000


def test_records_that_are_no_documents(records: list[Document | Rejected], expected: dict[str, dict[str, str]]) -> None:
    rejected = {record.native: record.drop.reason for record in records if isinstance(record, Rejected)}
    promised = {native: reason for natives in expected.values() for native, reason in natives.items() if reason in READ}
    assert rejected == promised
    assert 200 <= len(records) <= 230


def test_expected_documents_exist_and_other_ids_are_unique(documents: list[Document], planted: dict[str, str]) -> None:
    ids = [document["id"] for document in documents]
    later = {native for native, reason in planted.items() if reason in LATER}
    assert later <= set(ids)
    repeated = {one for one in ids if ids.count(one) > 1}
    assert repeated == {one for one, reason in planted.items() if reason == "repeated_id"}


def test_similar_pairs_are_the_planted_ones(documents: list[Document], planted: dict[str, str]) -> None:
    shingles = [grams(document["text"], 5) for document in documents]
    revised = {document_id("guidelines", "gl-gout"), document_id("guidelines", "gl-gout-revised")}
    similar = set()
    for one, other in combinations(range(len(documents)), 2):
        score = jaccard(shingles[one], shingles[other])
        pair = (documents[one], documents[other])
        ids = {document["id"] for document in pair}
        if ids == revised:
            assert 0.55 < score < 0.65
        elif score > 0.5:
            assert score > 0.85
            assert pair[0]["source"] == pair[1]["source"]
            dropped = [document for document in pair if planted.get(document["id"]) in DUPLICATES]
            assert dropped
            similar |= {document["id"] for document in dropped}
            if len(dropped) == 1:
                (survivor,) = (document for document in pair if document is not dropped[0])
                check_survivor(survivor, dropped[0], planted[dropped[0]["id"]], score)
        else:
            assert score < 0.35
    by_text = {one for one, reason in planted.items() if reason in ("exact_duplicate", "near_duplicate")}
    assert similar == by_text


def check_survivor(survivor: Document, dropped: Document, reason: str, score: float) -> None:
    """The survivor is the longer text and, of equal texts, the smaller id."""
    if reason == "exact_duplicate":
        assert survivor["text"] == dropped["text"]
        assert survivor["id"] < dropped["id"]
    else:
        assert reason == "near_duplicate"
        assert score < 1
        assert len(survivor["text"]) > len(dropped["text"])


def test_edited_documents_name_their_original(documents: list[Document]) -> None:
    texts = {document["id"]: document["text"] for document in documents}
    for edited, original in EDITED.items():
        pair = (grams(texts[document_id("guidelines", native)], 5) for native in (edited, original))
        assert jaccard(*pair) > 0.85


def test_papers_share_ids_with_exactly_the_expected_abstracts(
    documents: list[Document], planted: dict[str, str]
) -> None:
    papers = [document for document in documents if document["source"] == "papers"]
    known = {(kind, document["meta"][kind]) for document in papers for kind in ("pmid", "doi")}
    shared = {
        document["id"]
        for document in documents
        if document["source"] == "abstracts"
        if {("pmid", document["meta"]["pmid"]), ("doi", document["meta"]["doi"])} & known
    }
    assert shared == {one for one, reason in planted.items() if reason == "id_duplicate"}


def test_only_planted_documents_quote_questions(documents: list[Document], planted: dict[str, str]) -> None:
    lines = (SAMPLES / "benchmarks" / "sample-qa.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    thirteen = {gram for question in questions if len(words(question)) >= 13 for gram in grams(question, 13)}
    eight = {gram for question in questions if len(words(question)) >= 8 for gram in grams(question, 8)}
    quoting = {document["id"] for document in documents if grams(document["text"], 13) & thirteen}
    assert quoting == {one for one, reason in planted.items() if reason == "contaminated"}
    assert quoting == {document["id"] for document in documents if grams(document["text"], 8) & eight}


def test_questions() -> None:
    lines = (SAMPLES / "benchmarks" / "sample-qa.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len(questions) == 42
    broken = [one["id"] for one in questions if list(one["options"]) != list("ABCD") or one["answer"] not in "ABCD"]
    assert broken == ["qa-041"]
    assert [one["id"] for one in questions if len(words(one["question"])) > 3_000] == ["qa-042"]


def test_lengths(documents: list[Document], planted: dict[str, str]) -> None:
    bounds = {"guidelines": (200, 500), "papers": (400, 900), "abstracts": (120, 260), "replay": (90, 300)}
    for document in documents:
        if document["id"] not in planted:
            low, high = bounds[document["source"]]
            assert low <= len(document["text"].split()) <= high, document["title"]


def test_readme_names_every_planted_record(expected: dict[str, dict[str, str]]) -> None:
    rows = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    for natives in expected.values():
        for native, reason in natives.items():
            assert any(row.startswith(f"| `{reason}` |") and f"`{native}`" in row for row in rows), native
