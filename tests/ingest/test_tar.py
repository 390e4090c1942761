"""Archives of papers: members in order, names that are only names, and headers that lie."""

import gzip
import io
import struct
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ingest.inputs import ReadSettings, records, units
from ingest.records import Rejected
from ingest.sources.jats import JatsInput
from ingest.sources.tar import BLOCK, LONGEST_PADDING, BrokenArchiveError, Member, members
from lake.decision import Reason
from lake.document import document_id
from tests.ingest.outcomes import outcomes

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",), max_bytes=10_000)
LONG = "folder/" * 30 + "paper.xml"


def paper(words: str) -> bytes:
    return f"<article><body><p>{words}</p></body></article>".encode()


def archive(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as out:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def listed(data: bytes, max_bytes: int = 10_000) -> list[Member]:
    return list(members(io.BytesIO(data), max_bytes, (".xml", ".nxml")))


def write(tmp_path: Path, data: bytes, name: str = "a.tar.gz") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return path


def read(path: Path) -> list[Any]:
    return outcomes(SETTINGS.read(path, path.name))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_come_in_order_with_their_whole_names(form: int) -> None:
    data = archive((LONG, b"long"), ("b.NXML", b"x" * 1000), ("c.jpg", b"picture"), ("é.xml", b""), form=form)
    assert listed(data) == [Member(LONG, 4, b"long"), Member("b.NXML", 1000, b"x" * 1000), Member("é.xml", 0, b"")]


def test_ustar_names_are_joined() -> None:
    name = "f" * 90 + "/" + "p" * 90 + ".xml"
    assert [one.name for one in listed(archive((name, b"a"), form=tarfile.USTAR_FORMAT))] == [name]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_every_paper_of_an_archive_is_a_record(tmp_path: Path, name: str) -> None:
    data = archive(
        ("PMC1/1.xml", paper("One.")), ("PMC1/fig.jpg", b"\xff"), ("2.nxml", paper("Two.")), ("3.xml", b"<a>")
    )
    path = write(tmp_path, data, name)
    one, two, three = read(path)
    assert (one["text"], two["text"]) == ("One.", "Two.")
    assert one["id"] == document_id("papers", f"{name}!PMC1/1.xml")
    assert (three.native, three.drop.reason) == (f"{name}!3.xml", Reason.MALFORMED_XML)


def test_hostile_xml_in_an_archive_is_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE article [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + paper("&x;")
    (found,) = read(write(tmp_path, archive(("a.xml", bomb))))
    assert (found.native, found.drop.reason) == ("a.tar.gz!a.xml", Reason.HOSTILE_XML)


def test_names_are_shown_and_never_followed(tmp_path: Path) -> None:
    names = ("../../outside.xml", "/etc/outside.xml", "C:\\outside.xml")
    path = write(tmp_path, archive(*((name, b"<a>") for name in names)))
    before = sorted(tmp_path.rglob("*"))
    assert [one.native for one in read(path)] == [f"a.tar.gz!{name}" for name in names]
    assert sorted(tmp_path.rglob("*")) == before


def test_links_devices_and_folders_are_no_papers(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("a.xml")
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
        info = tarfile.TarInfo("b.xml")
        info.size = 1
        out.addfile(info, io.BytesIO(b"b"))
    assert listed(stream.getvalue()) == [Member("b.xml", 1, b"b")]


def test_a_large_member_is_told_and_passed_by(tmp_path: Path) -> None:
    path = write(tmp_path, archive(("big.xml", b"x" * 10_001), ("b.xml", paper("Two."))))
    big, two = read(path)
    assert big.drop.reason is Reason.TOO_LARGE
    assert big.drop.evidence == "a.tar.gz!big.xml: 10,001 bytes; max_bytes is 10,000"
    assert two["text"] == "Two."


def test_archives_one_after_another_are_all_read(tmp_path: Path) -> None:
    one, two = archive(("a.xml", paper("One."))), archive((LONG, paper("Two.")), form=tarfile.GNU_FORMAT)
    assert [found["text"] for found in read(write(tmp_path, one + two))] == ["One.", "Two."]
    first, last = read(write(tmp_path, one + two[: 2 * BLOCK]))
    assert (first["text"], last.drop.reason) == ("One.", Reason.TRUNCATED_FILE)


def test_empty_blocks_without_end_are_told(tmp_path: Path) -> None:
    one, last = read(write(tmp_path, archive(("a.xml", paper("One."))) + bytes(LONGEST_PADDING)))
    assert (one["text"], last.drop.reason) == ("One.", Reason.TRUNCATED_FILE)
    assert "more than 67,108,864 empty bytes" in last.drop.evidence


WHOLE = archive(("a.xml", paper("One.")), ("b.xml", paper("Two.")))


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[: 2 * BLOCK],
        WHOLE[: 2 * BLOCK + 100],
        WHOLE[: 3 * BLOCK + 5],
        WHOLE[: 2 * BLOCK] + b"no header" * 100,
        WHOLE[: 2 * BLOCK] + WHOLE[2 * BLOCK :].replace(b"b.xml", b"c.xml"),
    ],
)
def test_what_follows_a_broken_place_is_one_rejected_record(tmp_path: Path, data: bytes) -> None:
    one, last = read(write(tmp_path, data))
    assert one["text"] == "One."
    assert isinstance(last, Rejected)
    assert (last.native, last.drop.reason) == ("a.tar.gz", Reason.TRUNCATED_FILE)


def test_a_broken_gzip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(WHOLE)[:-6])
    assert [one.drop.reason for one in read(path) if isinstance(one, Rejected)] in ([Reason.TRUNCATED_FILE], [])
    path.write_bytes(gzip.compress(WHOLE)[:60])
    assert read(path)[-1].drop.reason is Reason.TRUNCATED_FILE
    path.write_bytes(b"")
    assert [one.drop.reason for one in read(path)] == [Reason.TRUNCATED_FILE]


def lying(kind: bytes, size: bytes) -> bytes:
    header = bytearray(BLOCK)
    header[:5], header[124:136], header[148:156], header[156:157] = b"a.xml", size, b" " * 8, kind
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_a_header_that_wants_all_memory_is_refused(kind: bytes) -> None:
    data = lying(kind, b"77777777777\0") + bytes(4 * 2**20)
    tracemalloc.start()
    with pytest.raises(BrokenArchiveError, match=r"a header of 8,589,934,591 bytes"):
        listed(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "records_", [b"99 path=a\n", b"0 a=b\n", b"x path=a\n", b"13 size=12345678901234567890123\n", b"10 size=-1\n"]
)
def test_an_extended_header_that_is_none_is_refused(records_: bytes) -> None:
    data = lying(b"x", f"{len(records_):011o}\0".encode()) + records_.ljust(BLOCK, b"\0") + WHOLE
    with pytest.raises(BrokenArchiveError):
        listed(data)


def test_a_size_in_binary_is_read() -> None:
    size = b"\x80" + struct.pack(">3xQ", 5)
    assert listed(lying(b"0", size) + b"12345".ljust(BLOCK, b"\0") + bytes(BLOCK)) == [Member("a.xml", 5, b"12345")]


def test_an_archive_is_a_unit_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    for name in ("b.xml", "c.xml"):
        (tmp_path / name).write_bytes(paper(name))

    def texts(**more: Any) -> list[list[str]]:
        one = {"format": "jats", "source": "papers", "paths": ["*"]} | more
        given = ReadSettings.model_validate({"inputs": [one]})
        return [[row["text"] for row in records(unit, given, str(tmp_path))] for unit in units(given, str(tmp_path))]  # type: ignore[index]

    assert texts() == [["One.", "Two."], ["b.xml", "c.xml"]]
    assert texts(files_per_part=1) == [["One.", "Two."], ["b.xml"], ["c.xml"]]
    assert texts(limit=3) == [["One.", "Two.", "b.xml"]]
