"""A dropped duplicate is shown beside what stayed, or the corpus is named where that lies; a lake made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.steps import stand_in
from dedup.settings import DedupSettings
from dedup.sign import SIGNATURES, SIGNED
from gap.trace import Life, follow, pair, story
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT, Document, new_document
from lake.step import Account, Kind, Outcome, Step

STAYS = new_document("papers", "1", "Gout is treated with colchicine.", title="Gout", url="https://a.example.org/1")
GOES = new_document(
    "papers", "2", "Gout is treated with allopurinol.", title="Gout\x1b[2J", url="https://b.example.org/2"
)
FAR = new_document("web", "3", "Knee pain has many causes.", url="https://c.example.org/knee/pain/")
EARLIER = "e" * 32


Lake = dict[str, Step[Any]]


@pytest.fixture
def steps(tmp_path: Path) -> Lake:
    """Steps up to dedup, which dropped GOES for STAYS and FAR for a document of the second of two earlier corpora."""
    earlier = [stand_in("dedup", tmp_path / name).output for name in ("first", "second")]
    for output, identity in zip(earlier, ("d" * 32, EARLIER), strict=True):
        signed = pa.table({**{name: pa.nulls(1, SIGNED.field(name).type) for name in SIGNED.names}, "id": [identity]})
        output.write_part(SIGNATURES, 0, signed)
    lake = tmp_path / "lake"
    read = stand_in("read", lake)
    clean = stand_in("clean", lake, {"documents": read}, kind=Kind.CLEANER)
    settings = DedupSettings(earlier=tuple(output.root for output in earlier))
    dedup = stand_in("dedup", lake, {"documents": clean}, settings, Kind.DEDUPLICATION)
    documents = [STAYS, GOES, FAR]
    for step in (read, clean):
        write(step, documents, {})
    near = Reason.NEAR_DUPLICATE
    drops = {
        GOES["id"]: Drop(near, "nearly the same words", 0.9, rule="near", survivor=STAYS["id"]),
        FAR["id"]: Drop(near, "nearly the same words", 0.95, rule="near", survivor=EARLIER),
    }
    write(dedup, documents, drops)
    return {step.name: step for step in (read, clean, dedup, stand_in("mix", lake, {"kept": dedup}))}


def write(step: Step[Any], documents: list[Document], drops: dict[str, Drop]) -> None:
    rows = [
        decision(step.name, document["id"], document["source"], drops.get(document["id"])) for document in documents
    ]
    step.output.write_part("decisions", 0, pa.Table.from_pylist(rows, schema=DECISION))
    for source in sorted({document["source"] for document in documents}) if step.name != "dedup" else ():
        part = [document for document in documents if document["source"] == source]
        step.output.write_part("documents", 0, pa.Table.from_pylist(part, schema=DOCUMENT), source)
    step.complete(lambda: Outcome({"all": Account.of(len(documents))}))


def shown(life: Life, width: int = 100) -> list[str]:
    assert life.survivor is not None
    return pair(life.document, life.survivor, width)


def test_a_duplicate_and_its_survivor_stand_side_by_side(steps: Lake) -> None:
    rows = [[cell.strip() for cell in line.split(" │ ")] for line in shown(follow(steps, GOES["url"]))]
    assert rows[0] == ["this", "kept"]
    assert [f"id: {GOES['id']}", f"id: {STAYS['id']}"] in rows
    assert ["source: papers", "source: papers"] in rows
    assert ["title: Gout\ufffd[2J", "title: Gout"] in rows
    assert ["url: https://b.example.org/2", "url: https://a.example.org/1"] in rows
    assert rows[-1] == ["Gout is treated with [-allopurinol.-]", "Gout is treated with {+colchicine.+}"]


def test_of_an_earlier_survivor_the_corpus_is_named(steps: Lake) -> None:
    folder = steps["dedup"].settings.earlier[1]
    assert shown(follow(steps, FAR["id"])) == [f"kept: in the earlier corpus {folder}"]


def test_a_survivor_that_nobody_knows_is_told(steps: Lake) -> None:
    dedup = steps["dedup"]
    lost = dedup.settings.model_copy(update={"earlier": dedup.settings.earlier[:1]})
    for part in dedup.output.local().rglob("*.json"):
        part.unlink()
    other = replace(dedup, settings=lost)
    dedup.output.local().rename(other.output.local())
    other.complete(Outcome)
    assert shown(follow({**steps, "dedup": other}, FAR["id"])) == ["kept: not in this lake"]


def test_what_stayed_has_no_survivor(steps: Lake) -> None:
    assert follow(steps, STAYS["id"]).survivor is None
    assert ("next", "mix has not run yet") in story(follow(steps, STAYS["id"]), steps)


def test_a_url_as_long_as_an_id_is_no_id(steps: Lake) -> None:
    assert len(FAR["url"]) == len(FAR["id"])
    assert follow(steps, FAR["url"]).id == FAR["id"]
