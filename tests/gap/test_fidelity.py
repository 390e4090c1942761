"""A document beside its raw record: found again by its part, with losses marked."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.steps import stand_in
from gap.fidelity import Reread, reread, shown
from ingest.clean import CleanSettings
from ingest.fidelity.audit import audit
from ingest.fidelity.ledger import Ledger
from ingest.inputs import ReadSettings, records, units
from lake.document import DOCUMENT
from lake.error import UserError
from lake.step import Account, Kind, Outcome, Step

TEXTS = ["Give 5 mg.", "Give 10–20 mg, not more; write to ann@example.org.", "Give 7 mg."]
"""The second one is in the second file."""


@pytest.fixture
def settings(tmp_path: Path) -> ReadSettings:
    for name, texts in (("a.jsonl", TEXTS[:1]), ("b.jsonl", TEXTS[1:])):
        lines = (json.dumps({"id": text, "text": text}) for text in texts)
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    fields = {"id": "id", "text": "text"}
    jsonl = {"format": "jsonl", "source": "guidelines", "paths": ["*.jsonl"], "fields": fields}
    return ReadSettings.model_validate({"inputs": [jsonl]})


@pytest.fixture
def steps(settings: ReadSettings, tmp_path: Path) -> dict[str, Step]:
    reader = stand_in("read", tmp_path / "lake", settings=settings)
    for unit in units(settings, str(tmp_path)):
        documents = [record for record in records(unit, settings, str(tmp_path)) if isinstance(record, dict)]
        reader.output.write_part("documents", unit.part, pa.Table.from_pylist(documents, DOCUMENT), "guidelines")
    reader.complete(lambda: Outcome({"guidelines": Account.of(3)}))
    cleaning = CleanSettings(mask={"guidelines": ("email",)})
    return {"read": reader, "clean": stand_in("clean", tmp_path, {"documents": reader}, cleaning, Kind.CLEANER)}


def identity(steps: dict[str, Step], text: str) -> str:
    rows = steps["read"].output.scan("documents").to_table(columns=["id", "text"]).to_pylist()
    return next(row["id"] for row in rows if row["text"] == text)


def test_a_raw_record_is_found_again_and_audited(
    settings: ReadSettings, steps: dict[str, Step], tmp_path: Path
) -> None:
    document = reread(settings, str(tmp_path), steps, identity(steps, TEXTS[1]))
    assert document.source == TEXTS[1]
    assert document.clean == "Give 10–20 mg, not more; write to <email>."
    assert (document.audit.lost, document.audit.invented) == (0, 0)
    assert "5 critical tokens, 5 kept" in shown(document, 100)


def test_a_document_that_was_not_read_is_a_user_error(
    settings: ReadSettings, steps: dict[str, Step], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no raw record"):
        reread(settings, str(tmp_path), steps, "f" * 32)


def test_losses_are_marked_on_the_left_and_inventions_on_the_right() -> None:
    ledger = Ledger()
    ledger.leave_out("references", "[12]")
    source, clean = "Give 10–20 mg of it [12].", "Give 1020 mg of it."
    lines = shown(Reread(source, clean, audit(source, clean, ledger)), 100)
    assert "1 left out by references" in lines
    assert "3 lost, 1 invented" in lines
    assert lines[-1].startswith("Give [-»10«»–«»20«-] mg")
    assert "{+»1020«+}" in lines[-1]
