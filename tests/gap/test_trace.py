"""A dropped duplicate is shown beside what stayed, or the corpus is named where that lies; a lake made by hand."""

from pathlib import Path

import pyarrow as pa
import pytest

from dedup.cluster import EVIDENCE
from dedup.sign import SIGNATURES, SIGNED
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT, Document, new_document
from lake.step import Account, Outcome, Step
from ray_jobs.trace import Life, pair, survivor, trace

STAYS = new_document("papers", "1", "Gout is treated with colchicine.", title="Gout", url="https://a.example.org/1")
GOES = new_document(
    "papers", "2", "Gout is treated with allopurinol.", title="Gout\x1b[2J", url="https://b.example.org/2"
)
FAR = new_document("web", "3", "Knee pain has many causes.", url="https://c.example.org/knee/pain/")
EARLIER = "e" * 32


@pytest.fixture
def steps(tmp_path: Path) -> dict[str, Step]:
    """Steps up to dedup, which dropped GOES for STAYS and FAR for a document of the second of two earlier corpora."""
    folders = [str(tmp_path / name) for name in ("first", "second")]
    for folder, identity in zip(folders, ("d" * 32, EARLIER), strict=True):
        signed = pa.table({**{name: pa.nulls(1, SIGNED.field(name).type) for name in SIGNED.names}, "id": [identity]})
        Step("dedup", "spark", 1, {}, folder).output.write_part(SIGNATURES, 0, signed)
    earlier = [Step("dedup", "spark", 1, {}, folder).output.root for folder in folders]
    lake = str(tmp_path / "lake")
    read = Step("read", "ray", 1, {}, lake)
    clean = Step("clean", "spark", 1, {}, lake, (read,))
    dedup = Step("dedup", "spark", 1, {"earlier": earlier}, lake, (clean,))
    rest = {name: Step(name, "spark", 1, {}, lake, (dedup,)) for name in ("decontaminate", "mix", "shard")}
    documents = [STAYS, GOES, FAR]
    for step in (read, clean):
        write(step, documents, {})
    near = Reason.NEAR_DUPLICATE
    drops = {
        GOES["id"]: Drop(near, EVIDENCE % (STAYS["id"], "near"), 0.9),
        FAR["id"]: Drop(near, EVIDENCE % (EARLIER, "near"), 0.95),
    }
    write(dedup, documents, drops)
    return {"read": read, "clean": clean, "dedup": dedup, **rest}


def write(step: Step, documents: list[Document], drops: dict[str, Drop]) -> None:
    rows = [decision(step.name, one["id"], one["source"], drops.get(one["id"])) for one in documents]
    step.output.write_part("decisions", 0, pa.Table.from_pylist(rows, schema=DECISION))
    for source in sorted({one["source"] for one in documents}) if step.name != "dedup" else ():
        mine = [one for one in documents if one["source"] == source]
        step.output.write_part("documents", 0, pa.Table.from_pylist(mine, schema=DOCUMENT), source)
    step.complete(lambda: Outcome({"all": Account.of(len(documents))}))


def shown(steps: dict[str, Step], life: Life, width: int = 100) -> list[str]:
    kept = survivor(steps, life)
    assert kept is not None
    return pair(life, kept, width)


def test_a_duplicate_and_its_survivor_stand_side_by_side(steps: dict[str, Step]) -> None:
    rows = [[cell.strip() for cell in line.split(" │ ")] for line in shown(steps, trace(steps, GOES["url"]))]
    assert rows[0] == ["this", "kept"]
    assert [f"id: {GOES['id']}", f"id: {STAYS['id']}"] in rows
    assert ["source: papers", "source: papers"] in rows
    assert ["title: Gout\ufffd[2J", "title: Gout"] in rows
    assert ["url: https://b.example.org/2", "url: https://a.example.org/1"] in rows
    assert rows[-1] == ["Gout is treated with [-allopurinol.-]", "Gout is treated with {+colchicine.+}"]


def test_of_an_earlier_survivor_the_corpus_is_named(steps: dict[str, Step]) -> None:
    folder = steps["dedup"].config["earlier"][1]
    assert shown(steps, trace(steps, FAR["id"])) == [f"kept: in the earlier corpus {folder}"]


def test_a_survivor_that_nobody_knows_is_told(steps: dict[str, Step]) -> None:
    lost = Step("dedup", "spark", 1, {"earlier": steps["dedup"].config["earlier"][:1]}, steps["dedup"].lake)
    life = trace(steps, FAR["id"])
    assert shown({**steps, "dedup": lost}, life) == ["kept: not in this lake"]


def test_what_stayed_has_no_survivor(steps: dict[str, Step]) -> None:
    assert survivor(steps, trace(steps, STAYS["id"])) is None


def test_a_url_as_long_as_an_id_is_no_id(steps: dict[str, Step]) -> None:
    assert len(FAR["url"]) == len(FAR["id"])
    assert trace(steps, FAR["url"]).id == FAR["id"]
