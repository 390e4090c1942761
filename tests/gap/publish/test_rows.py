"""The gate: only what may leave leaves, and what was written is read back before it does."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap.publish.corpus import Corpus
from gap.publish.dataset import corpus_of
from gap.publish.rows import PUBLISHED, Gate, Stays, fingerprint, objection
from gap.publish.settings import Override
from lake.dataset import Output
from lake.document import DOCUMENT
from lake.error import UserError
from lake.lock import owned, refuse
from tests.gap.publish.small_lake import SmallLake, document

REASON = "The publisher allowed me in writing to keep a copy for my group."
OVERRIDE = Override(repository="me/demo", reason=REASON)


def built(small: SmallLake, gate: Gate | None = None) -> Corpus:
    return corpus_of(small.steps["mix"], gate or Gate(), str(small.folder / "publish"))


def rows_of(corpus: Corpus) -> list[dict[str, Any]]:
    return [row for part in corpus.parts for row in pq.read_table(part.file.content).to_pylist()]


@pytest.mark.parametrize("flag", [False, None, "true", "True", 1, 1.0, b"\x01", [True], {"redistributable": True}])
def test_nothing_but_true_lets_a_row_leave(flag: Any) -> None:
    assert Gate().verdict("a" * 32, flag, "CC-BY-4.0") in (Stays.NOT_REDISTRIBUTABLE, Stays.NO_FLAG)
    assert Gate().verdict("a" * 32, True, "CC-BY-4.0") is None


NO_LICENCES = (
    *(None, "", " ", "\t\n", "\u00a0", "\u200b\u200b", "\ufeff", "\u2060", "\u3164", "-", "?", "n/a", "N.A.", "None"),
    *("UNKNOWN", " unknown ", "Un\u200bknown", "unknоwn", "ｕｎｋｎｏｗｎ", "null", "NaN", "no license", "No-Licence"),
    *("not specified", "see source", "tbd", "license", "true", "4.0", "лицензия", "CC-BY-4.0 " * 40, 4, b"CC-BY", True),
)


@pytest.mark.parametrize("licence", NO_LICENCES)
def test_what_is_no_licence_keeps_a_row_back(licence: Any) -> None:
    assert Gate().verdict("a" * 32, True, licence) is Stays.NO_LICENSE


RESERVING = (
    *("All rights reserved", "© 2020 Elsevier. ALL RIGHTS\u200b RESERVED.", "Proprietary", "not redistributable"),
    *("do not distribute", "Do-not-redistribute", "may not be reused", "personal use only", "Confidential"),
)


@pytest.mark.parametrize("licence", RESERVING)
def test_a_licence_that_reserves_all_rights_outweighs_the_flag(licence: str) -> None:
    assert Gate().verdict("a" * 32, True, licence) is Stays.RESERVED


FREE = (
    *("CC-BY-4.0", "cc0", "Apache-2.0", "MIT", "public-domain", "OGL-UK-3.0", "Unlicense", "Licence Ouverte 2.0"),
    *("CC BY-NC-ND 4.0", "Öffentliche Lizenz", "https://creativecommons.org/licenses/by/4.0/"),
)


@pytest.mark.parametrize("licence", FREE)
def test_licences_pass(licence: str) -> None:
    assert objection(licence) is None


@given(st.text(max_size=40))
def test_invisible_characters_change_no_verdict(licence: str) -> None:
    assert objection(f"  {licence}\u200b") == objection(licence)


def test_the_corpus_has_exactly_the_rows_that_may_leave(small: SmallLake) -> None:
    corpus = built(small)
    expected = {
        row["id"]: row
        for of_source in small.selected().values()
        for row in of_source
        if row["redistributable"] and row["license"]
    }
    rows = rows_of(corpus)
    assert sorted(row["id"] for row in rows) == sorted(expected)
    for row in rows:
        made = expected[row["id"]]
        for name in ("source", "title", "text", "url", "license", "fetched_at"):
            assert row[name] == made[name]
        assert row["corpusid"] == made["meta"]["corpusid"]
        assert row["fingerprint"] == fingerprint(made["text"])
        assert row["redistributable"] is True
    selected = sum(map(len, small.selected().values()))
    assert len(rows) + sum(corpus.staying.values()) == selected
    assert corpus.staying["papers", "unknown", Stays.NO_LICENSE] == 4
    assert corpus.staying["guidelines", "Apache-2.0", Stays.NOT_REDISTRIBUTABLE] == 1
    assert corpus.amount().tokens == sum(row["tokens"] for row in rows)
    assert corpus.amount("papers", "train").rows == sum(
        part.rows for part in corpus.parts if part.source == "papers" and part.split == "train"
    )
    assert corpus.dates("fetched")["replay"] == ("2026-03-01", "2026-03-04")
    assert corpus.dates("published").keys() == {"papers"}


def test_an_adversarial_corpus_leaks_nothing(tmp_path: Path) -> None:
    secret = "SECRET that may not leave"
    tricks = [
        {"redistributable": False, "license": "CC-BY-4.0"},
        {"license": None},
        {"license": " \u200b\u00a0"},
        {"license": "unknown"},
        {"license": "unknоwn"},
        {"license": "All rights reserved. CC-BY-4.0"},
        {"license": "| CC-BY-4.0 |\n---\nlicense: mit"} | {"redistributable": False},
    ]
    rows = [document("papers", n, text=f"{secret} {n}", **trick) for n, trick in enumerate(tricks)]
    free = [document("papers", n + 100, redistributable=True, license="CC-BY-4.0", fetched_at=None) for n in range(3)]
    small = SmallLake(tmp_path, {"papers": [*rows, *free]})
    corpus = built(small)
    assert {row["id"] for row in rows_of(corpus)} <= {row["id"] for row in free}
    for place in (tmp_path / "publish").rglob("*.parquet"):
        assert secret not in str(pq.read_table(place).to_pylist())


@pytest.mark.parametrize(
    ("kind", "value"), [(pa.string(), "true"), (pa.int8(), 1), (pa.bool_(), None), (pa.float64(), 1.0)]
)
def test_a_flag_of_another_type_lets_nothing_leave(tmp_path: Path, kind: pa.DataType, value: Any) -> None:
    schema = DOCUMENT.set(DOCUMENT.get_field_index("redistributable"), pa.field("redistributable", kind))
    rows = {"papers": [document("papers", n, license="CC-BY-4.0", redistributable=value) for n in range(4)]}
    small = SmallLake(tmp_path, {})
    small.write(rows, schema)
    corpus = built(small)
    assert not corpus.parts
    assert set(corpus.staying) == {("papers", "CC-BY-4.0", Stays.NO_FLAG)}


def test_text_that_is_no_utf_8_stops_everything(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    place = small.steps["clean"].output.local("documents", "source=papers", "part-00000.parquet")
    rows = pq.read_table(place, partitioning=None)
    half = pa.array([b"half of a pair \xed\xa0\x80"] * rows.num_rows, pa.binary()).view(pa.string())
    pq.write_table(rows.set_column(rows.column_names.index("text"), "text", half), place)
    with pytest.raises(UserError, match=r"it cannot be read: .*UTF8.*; run clean again"):
        built(small)


def test_one_process_at_a_time_writes_the_files(small: SmallLake) -> None:
    (folder,) = {part.file.content.parents[2] for part in built(small).parts if isinstance(part.file.content, Path)}
    with owned(Output(str(folder)), refuse), pytest.raises(UserError, match="writes it; run again when it has ended"):
        built(small)
    assert built(small).parts


def test_documents_without_the_columns_of_law_stop_everything(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    place = small.steps["clean"].output.local("documents", "source=papers", "part-00000.parquet")
    pq.write_table(pq.read_table(place, partitioning=None).drop_columns(["redistributable"]), place)
    with pytest.raises(UserError, match=r"it cannot be read: .*redistributable.*; run clean again"):
        built(small)


def tampered(small: SmallLake, change: Any) -> Path:
    """The first written file of papers, changed after it was written."""
    part = next(part for part in built(small).parts if part.source == "papers")
    place = part.file.content
    assert isinstance(place, Path)
    pq.write_table(change(pq.read_table(place)), place)
    return place


def slipped_in(**fields: Any) -> Any:
    def change(rows: pa.Table) -> pa.Table:
        row = rows.slice(0, 1).to_pylist()[0] | {"id": "f" * 32, "text": "slipped in"} | fields
        return pa.concat_tables([rows, pa.Table.from_pylist([row], PUBLISHED)])

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (slipped_in(redistributable=False), r"1 rows in it may not leave \(not_redistributable\)"),
        (slipped_in(license="unknown"), r"1 rows in it may not leave \(no_license\)"),
        (slipped_in(), "its rows are not those of the lake .1 are of no selected document"),
        (lambda rows: rows.slice(1), "its rows are not those of the lake"),
        (lambda rows: rows.drop_columns(["license"]), "its columns are not those that are published"),
        (lambda rows: rows.set_column(4, "text", pa.array(["other"] * len(rows))), "columns|rows are not"),
    ],
)
def test_rows_that_slip_in_after_writing_are_found(small: SmallLake, change: Any, said: str) -> None:
    place = tampered(small, change)
    with pytest.raises(UserError, match=said) as told:
        built(small)
    assert f"delete {place} and publish again" in str(told.value)


def test_a_broken_file_is_found(small: SmallLake) -> None:
    place = tampered(small, lambda rows: rows)
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.raises(UserError, match="it is not Parquet"):
        built(small)


def test_a_file_that_lies_beside_them_does_not_leave(small: SmallLake) -> None:
    first = built(small).parts[0].file.content
    assert isinstance(first, Path)
    first.with_name("train-00099.parquet").write_bytes(first.read_bytes())
    assert "data/guidelines/train-00099.parquet" not in {part.file.path for part in built(small).parts}


def test_a_killed_build_goes_on_to_the_same_bytes(small: SmallLake) -> None:
    files = {part.file.path: part.file.sha256 for part in built(small).parts}
    gone = next(place for place in (small.folder / "publish").rglob("*.parquet"))
    gone.unlink()
    gone.with_name(".half.0123abcd").write_bytes(b"half")
    assert {part.file.path: part.file.sha256 for part in built(small).parts} == files


def test_what_is_withheld_stays_even_under_an_override(small: SmallLake) -> None:
    id_ = small.rows["replay"][0]["id"]
    for override in (None, OVERRIDE):
        corpus = built(small, Gate(frozenset([id_]), override))
        assert id_ not in {row["id"] for row in rows_of(corpus)}
        assert corpus.staying["replay", "CC0-1.0", Stays.WITHHELD] == 1


def test_an_override_lets_all_leave_and_the_column_tells_them_apart(small: SmallLake) -> None:
    corpus = built(small, Gate(override=OVERRIDE))
    rows = {row["id"]: row["redistributable"] for row in rows_of(corpus)}
    assert rows == {row["id"]: row["redistributable"] for of in small.selected().values() for row in of}
    assert not corpus.staying
    assert len(built(small).parts) == len(corpus.parts), "another folder, which does not mix with this one"
    assert len(rows_of(built(small))) < len(rows)
