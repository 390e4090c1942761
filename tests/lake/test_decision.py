"""Decisions: a row for every document, and a reason that is added in one place."""

from enum import StrEnum
from typing import Any, cast

import pyarrow as pa

from lake.decision import DECISION, EVIDENCE_CHARS, Drop, Reason, decision


def test_a_row_has_the_columns_of_the_schema_and_valid_evidence() -> None:
    drop = Drop(Reason.EMPTY, "\ud800" + "x" * EVIDENCE_CHARS, 0.5, rule="r", native="a\udcff:1", survivor="s")
    row = decision("read", "id", "papers", drop)
    assert list(row) == DECISION.names
    assert row["evidence"] == "\\ud800" + "x" * (EVIDENCE_CHARS - 1)
    assert row["native"] == "a\\udcff:1"
    kept = decision("read", "id", "papers", None)
    assert {name for name, value in kept.items() if value is not None} == {"id", "source", "step", "keep"}
    assert pa.Table.from_pylist([row, kept], DECISION).num_rows == 2


def test_a_reason_is_a_line_of_the_enum_whatever_its_place() -> None:
    assert all(reason.name == reason.value.upper() for reason in Reason)
    extended = StrEnum("extended", {"HANDWRITTEN": "handwritten"} | {reason.name: reason.value for reason in Reason})
    row = decision("read", "id", "papers", Drop(cast("Any", extended)("handwritten"), "a scan of a letter"))
    assert (row["keep"], row["reason"]) == (False, "handwritten")
