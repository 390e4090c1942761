"""How a source format is added: a class, and its entry in the union `RawFormat` (CONTRIBUTING.md)."""

import csv
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
from pydantic import Field

from ingest.inputs import RawFormat, ReadSettings, records, units
from ingest.raw_input import Pace, RawInput
from ingest.records import Records, Rejected
from lake.decision import Drop, Reason
from lake.document import new_document


class CsvInput(RawInput):
    """Rows of `name,text`."""

    format: Literal["csv"]

    @property
    def pace(self) -> Pace:
        return Pace(50, 0.9)

    def read(self, path: Path, name: str) -> Records:
        with path.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                if len(row) == 2:
                    yield new_document(self.source, row[0], row[1])
                else:
                    native = f"{name}:{number}"
                    yield Rejected(native, Drop(Reason.MISSING_FIELD, f"{native}: {len(row)} fields of two"))


class WithCsv(ReadSettings):
    inputs: tuple[Annotated[RawFormat | CsvInput, Field(discriminator="format")], ...]


def test_a_format_is_a_class_and_an_entry_in_the_union(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one,First text.\nbroken\ntwo,Second text.\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("three,Third text.\n", encoding="utf-8")
    entry = {"format": "csv", "source": "papers", "paths": ["*.csv"]}
    settings = WithCsv.model_validate({"inputs": [entry, entry | {"limit": 2}]})
    cut = units(settings, str(tmp_path))
    assert [len(unit.files) for unit in cut] == [1, 1, 2]
    rows = [list(records(unit, settings, str(tmp_path))) for unit in cut]
    texts = [["rejected" if isinstance(row, Rejected) else row["text"] for row in unit] for unit in rows]
    assert texts == [["First text.", "rejected", "Second text."], ["Third text."], ["First text.", "rejected"]]


def test_a_format_that_does_not_say_how_fast_it_is_read_is_none() -> None:
    class Silent(RawInput):
        format: Literal["silent"]

    with pytest.raises(TypeError, match="pace"):
        Silent(format="silent", source="papers", paths=("*",))  # type: ignore[abstract]


def test_every_format_says_how_it_is_read() -> None:
    formats = get_args(get_args(RawFormat)[0])
    assert len(formats) >= 7
    for format_ in formats:
        assert "read" in vars(format_) or "read_unit" in vars(format_)
