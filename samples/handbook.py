"""Takes general English prose for replay from the Debian Administrator's Handbook, as its Debian package installs it.

Usage: python -m samples.handbook FOLDER [PAGES]. It writes FOLDER/handbook.jsonl, with a chapter a line: `id, title,
text, url, license`. A chapter is one document, so a mixture trains on it or holds it out, whole.

`apt-get install debian-handbook` brings the book. Who may not install it unpacks it, and names the folder of its pages:

    apt-get download debian-handbook && dpkg-deb -x debian-handbook_*.deb DIR
    python -m samples.handbook FOLDER DIR/usr/share/doc/debian-handbook/html/en-US
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from lxml import html

from ingest.pages.extract import extract
from ingest.pages.page import Page
from samples.packing import Record, line

PAGES = Path("/usr/share/doc/debian-handbook/html/en-US")
BOOK = "index.html"
LICENCE = "CC-BY-SA-3.0"
"""The book may also be had under GPL-2.0-or-later."""


def chapters(pages: Path) -> Iterator[Record]:
    """The book's chapters in its order, each with all its sections. Raises FileNotFoundError where there is no book."""
    following, parent, address = (_links(pages, rel) for rel in ("next", "up", "canonical"))
    sections: dict[str, list[str]] = {}
    name = following[BOOK]
    while name != BOOK:
        sections.setdefault(_chapter(name, parent), []).append(name)
        name = following.get(name, BOOK)
    for chapter, names in sections.items():
        read = [page for name in names if isinstance(page := extract((pages / name).read_bytes()), Page)]
        yield {
            "id": chapter.removesuffix(".html"),
            "title": read[0].title,
            "text": "\n\n".join(page.text for page in read),
            "url": address[chapter],
            "license": LICENCE,
        }


def _links(pages: Path, rel: str) -> dict[str, str]:
    """Where the link of this kind in a page's head leads, by the page's name."""
    (pages / BOOK).stat()
    found = {path.name: html.parse(path).xpath(f"string(//link[@rel='{rel}']/@href)") for path in pages.glob("*.html")}
    return {name: target for name, target in found.items() if target}


def _chapter(name: str, parent: dict[str, str]) -> str:
    """The page that begins the chapter of a page."""
    while (above := parent.get(name, BOOK)) != BOOK:
        name = above
    return name


def main(folder: str, pages: str = str(PAGES)) -> None:
    try:
        lines = [line(chapter) for chapter in chapters(Path(pages))]
    except FileNotFoundError:
        sys.exit(f"{pages} has no book; install the Debian package debian-handbook, or name the folder of its pages")
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "handbook.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
