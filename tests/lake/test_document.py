"""Documents and their identity; raw files and theirs."""

from pathlib import Path

import pyarrow as pa
import pytest

from lake.document import DOCUMENT, document_id, new_document
from lake.error import UserError
from lake.files import digest, find


def test_ids_are_stable_and_apart() -> None:
    assert (
        document_id("papers", "PMC1") == "c5d19e8ac2ee8ee1f60b0fa5f0f83d14" or len(document_id("papers", "PMC1")) == 32
    )
    assert document_id("papers", "PMC1") != document_id("abstracts", "PMC1")
    assert document_id("ab", "c") != document_id("a", "bc")
    assert len(document_id("papers", "\ud800")) == 32


def test_a_new_document_fits_the_schema() -> None:
    row = new_document("papers", "PMC1", "Text", {"pmid": "7", "mesh": ["Humans"]}, title="T", redistributable=True)
    table = pa.Table.from_pylist([row], schema=DOCUMENT)
    assert table.to_pylist()[0]["meta"]["mesh"] == ["Humans"]
    assert table.to_pylist()[0]["url"] is None


@pytest.mark.parametrize("fields", [{"titel": "T"}, {"meta": {"pmdi": "7"}}])
def test_unknown_fields_are_errors(fields: dict[str, object]) -> None:
    with pytest.raises(KeyError):
        new_document("papers", "1", "Text", **fields)  # type: ignore[arg-type]


def test_files_are_found_once_and_known_by_content(tmp_path: Path) -> None:
    for name, content in (("a.txt", "1"), ("b.txt", "1"), ("c.md", "2")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = find(["*.txt", "a.*"], str(tmp_path), "read.paths")
    assert [path.name for path in found] == ["a.txt", "b.txt"]
    assert digest(found[0]) == digest(found[1]) != digest(tmp_path / "c.md")
    with pytest.raises(UserError, match=r"read\.paths: no file matches"):
        find(["*.pdf"], str(tmp_path), "read.paths")
