"""Mutated records of every source kind: `python -m benchmarks.fuzz` with fewer of them."""

from pathlib import Path

import pytest

from benchmarks.fuzz import KINDS, fuzz


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_records_crash_nothing_and_are_all_counted(kind: str, tmp_path: Path) -> None:
    if kind.startswith("hub"):
        pytest.importorskip("datasets")
    found = fuzz(kind, 600, 7, tmp_path)
    assert found.total() >= 600
    # Mutations both break records and leave some whole, or nothing would be shown.
    assert found["document"] + found["metadata"] > 20
    assert found.total() - found["document"] - found["metadata"] > 20
