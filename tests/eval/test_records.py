"""Records from files of every format, and every way in which a file or a line of it can be broken."""

import gzip
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.records import MalformedError, Record, read_records
from lake.error import UserError
from tests.eval.workbook import packed


def records(folder: Path, name: str, data: bytes, *columns: str) -> list[Record]:
    (folder / name).write_bytes(data)
    return list(read_records(folder / name, name.removesuffix(".gz"), columns))


def values(read: list[Record]) -> list[Any]:
    """What the records hold; of a broken one, the message."""
    return [str(record.value) if isinstance(record.value, MalformedError) else record.value for record in read]


ONE, TWO = {"q": "One?"}, {"q": "Two?"}


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        ("a.jsonl", '{"q": "One?"}\n\n{"q": "Two?"}\n', ["a.jsonl:1", "a.jsonl:3"]),
        ("a.json", '{"q": "One?"}\r\n{"q": "Two?"}', ["a.json:1", "a.json:2"]),
        ("a.json", '[{"q": "One?"},\n {"q": "Two?"}]', ["a.json:1", "a.json:2"]),
        ("a.json", '{"x": {"q": "One?"},\n "y": {"q": "Two?"}}', ["x", "y"]),
        ("a.json", '{"x": {"1": {"q": "One?"}}, "y": {"1": {"q": "Two?"}}}', ["x/1", "y/1"]),
        ("a.csv", "q\nOne?\n\nTwo?\n", ["a.csv:2", "a.csv:4"]),
        ("a.tsv", "q\nOne?\nTwo?", ["a.tsv:2", "a.tsv:3"]),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("packed", [False, True])
def test_formats_say_the_same(
    name: str, text: str, places: list[str], mark: bytes, packed: bool, tmp_path: Path
) -> None:
    data = mark + text.encode()
    read = records(tmp_path, f"{name}.gz", gzip.compress(data)) if packed else records(tmp_path, name, data)
    assert values(read) == [ONE, TWO]
    assert [record.where for record in read] == places


def test_groups_of_a_json_object_are_kept(tmp_path: Path) -> None:
    read = records(tmp_path, "a.json", b'{"x": {"1": {"q": "One?"}, "2": 3}, "y": 4, "z": {}}')
    assert [(record.where, record.group) for record in read] == [("x/1", "x"), ("x/2", "x"), ("y", ""), ("z", "")]
    assert values(read) == [ONE, "not an object", "not an object", {}]


def test_parquet_gives_nested_rows(tmp_path: Path) -> None:
    rows = [{"q": "One?", "choices": ["a", "b"], "deep": {"label": [1]}}, {"q": None, "choices": [], "deep": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = list(read_records(tmp_path / "a.parquet", "a.parquet", ()))
    assert values(read) == rows
    assert read[1].where == "a.parquet:2"


def test_rows_of_a_csv_may_hold_quotes_and_line_ends(tmp_path: Path) -> None:
    read = records(tmp_path, "a.csv", b'"Which\n\r\none?",x\r\n"a ""b"", c?",y\n\nshort\n', "q", "a")
    assert values(read) == [{"q": "Which\n\r\none?", "a": "x"}, {"q": 'a "b", c?', "a": "y"}, "1 columns instead of 2"]
    assert [record.where for record in read] == ["a.csv:3", "a.csv:4", "a.csv:6"]


def test_what_is_not_utf_8_is_no_record_and_spoils_no_other(tmp_path: Path) -> None:
    assert values(records(tmp_path, "a.csv", b"q\n250 \xb5g?\nTwo?\n")) == ["not UTF-8", TWO]
    assert values(records(tmp_path, "a.tsv", b"250\tO\n\xb5g\tO\n\nTwo\tO\n"))[0] == "not UTF-8"
    assert "not JSON" in values(records(tmp_path, "a.jsonl", b'{"q": "\xb5g"}\n{"q": "Two?"}'))[0]


IOB = """-DOCSTART-\tO

Torsade\tB-Disease
de\tI-Disease
pointes\tI-Disease

odd line
kidney\tO\tNN

-DOCSTART-\tO
in\tO
rats\tO
"""


@pytest.mark.parametrize("name", ["a.tsv", "a.iob2"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sentences_have_tokens_and_tags_and_know_their_document(name: str, end: str, tmp_path: Path) -> None:
    first, odd, last = records(tmp_path, name, IOB.replace("\n", end).encode())
    assert first.value == {"tokens": ["Torsade", "de", "pointes"], "tags": ["B-Disease", "I-Disease", "I-Disease"]}
    assert values([odd]) == ["the line 'odd line' is not a token and its tag"]
    assert last.value == {"tokens": ["in", "rats"], "tags": ["O", "O"]}
    assert [record.document for record in (first, odd, last)] == [f"{name}, document {n}" for n in (1, 1, 2)]
    assert [record.where for record in (first, odd, last)] == [f"{name}:3", f"{name}:7", f"{name}:11"]


# Excel ---------------------------------------------------------------------------------------------------------------

SHEET = """<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>Answer</t></is></c></row>
<row r="2"><c r="B2" t="s"><v>1</v></c><c r="A2" t="str"><v>How &lt; 5?</v></c></row>
<row r="3"><c r="A3"><v>7</v></c></row>
<row r="4"/><row><c><v>8</v></c><c><v>9</v></c></row><row r="6"><c r="D6"><v>1</v></c></row>"""
STRINGS = "<si><t>Question</t></si><si><r><t>Two </t></r><r><t>runs</t></r><rPh><t>reading</t></rPh></si>"


def test_the_first_sheet_of_a_workbook_is_a_table(tmp_path: Path) -> None:
    assert values(records(tmp_path, "a.xlsx", packed(SHEET, STRINGS))) == [
        {"Question": "How < 5?", "Answer": "Two runs"},
        {"Question": "7", "Answer": ""},
        {"Question": "8", "Answer": "9"},
        "4 columns instead of 2",
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"PK no zip",
        packed(SHEET, STRINGS, "xl/other.xml"),
        packed("<row>"),
        packed('<row><c t="s"><v>9</v></c></row>'),
        packed('<row><c t="s"><v>x</v></c></row>'),
        packed('<row><c r="ZZZZ1"><v>1</v></c></row>'),
    ],
)
def test_what_is_no_workbook_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.xlsx: not an Excel workbook"):
        records(tmp_path, "a.xlsx", data)


# Broken files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9], "not a whole gzip file"),
        ("a.jsonl.gz", b"PK\x03\x04 no gzip", "not a whole gzip file"),
        ("a.csv", b'"Which?,this\nWho?,x\n', "line 2: not CSV"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"7", "neither a JSON object nor a list"),
        ("a.json", b"\xff", "not JSON"),
        ("a.parquet", b"PAR1 and no more", "not Parquet"),
        ("a.txt", b"", "ends in .jsonl"),
        ("a", b"", "ends in .jsonl"),
    ],
)
def test_a_broken_file_is_reported_in_one_line(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        records(tmp_path, name, data)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@settings(max_examples=200)
@given(
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.iob2", "a.xlsx", "a.parquet", "a.csv.gz"]),
    st.binary(max_size=60) | st.text('"{}[]:,\t\n\rOB-I1é', max_size=40).map(str.encode),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    read: list[Record] = []
    with suppress(UserError):
        read = records(folder, name, data)
    assert all(isinstance(record.value, dict | MalformedError) for record in read)
    assert len({record.where for record in read}) == len(read)
