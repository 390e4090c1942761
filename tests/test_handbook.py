"""The Debian handbook as replay: a chapter is a document, with its sections in the book's order."""

import json
from pathlib import Path

import pytest

from samples.handbook import BOOK, LICENCE, PAGES, chapters, main

TEXT = (
    "The administrator reads the manual of the program before the evening, and the machine goes on with its work. " * 6
)


def page(title: str, text: str, up: str | None, after: str | None, name: str) -> str:
    links = {"up": up, "next": after, "canonical": f"https://book.example.org/{name}"}
    head = "".join(f'<link rel="{rel}" href="{target}" />' for rel, target in links.items() if target)
    return (
        f"<html><head><title>{title}</title>{head}</head><body><ul class='docnav'><li><a href='x'>Prev</a></li></ul>"
        f"<div class='section'><h2>{title}</h2><p>{text} {TEXT}</p></div></body></html>"
    )


@pytest.fixture
def book(tmp_path: Path) -> Path:
    for name, title, up, after in (
        (BOOK, "Book", None, "apt.html"),
        ("apt.html", "Chapter 1. Tools", BOOK, "sect.b.html"),
        ("sect.b.html", "1.1. First", "apt.html", "sect.a.html"),
        ("sect.a.html", "1.2. Second", "apt.html", "end.html"),
        ("end.html", "Conclusion", BOOK, None),
        ("stray.html", "Not in the book", None, None),
    ):
        (tmp_path / name).write_text(page(title, f"Here is {name}.", up, after, name), encoding="utf-8")
    return tmp_path


def test_a_chapter_has_all_its_sections_in_order(book: Path) -> None:
    tools, end = chapters(book)
    assert (tools["id"], tools["title"], tools["license"]) == ("apt", "Chapter 1. Tools", LICENCE)
    assert tools["url"] == "https://book.example.org/apt.html"
    places = [tools["text"].index(f"Here is {name}") for name in ("apt.html", "sect.b.html", "sect.a.html")]
    assert places == sorted(places)
    assert "Prev" not in tools["text"]
    assert end["id"] == "end"
    assert "sect." not in end["text"]


def test_chapters_are_lines_of_json(book: Path, tmp_path: Path) -> None:
    main(str(tmp_path / "data" / "replay"), str(book))
    written = (tmp_path / "data" / "replay" / "handbook.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["id"] for row in written] == ["apt", "end"]


def test_without_the_book_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="install the Debian package debian-handbook"):
        main(str(tmp_path), str(tmp_path))


@pytest.mark.skipif(not (PAGES / BOOK).is_file(), reason="the Debian package debian-handbook is not installed")
def test_the_installed_book_has_its_chapters() -> None:
    found = list(chapters(PAGES))
    assert len(found) >= 18
    assert sum(len(chapter["text"]) for chapter in found) > 800_000
    assert all(chapter["url"].startswith("https://debian-handbook.info/") for chapter in found)
