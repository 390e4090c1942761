"""How well and how fast the main content of web pages is extracted, beside trafilatura alone.

    python -m benchmarks.extract --pages DIR --gold FILE [--json]

The gold file has an object a line: `{"file": …, "with": [snippets that must occur], "without": [snippets that must
not]}`. A snippet of `with` is right where it occurs and missed elsewhere; a snippet of `without` is wrong where it
occurs. All white space equals a blank. Speed is pages per second of CPU time in one thread, without reading files.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import trafilatura
from pydantic import ValidationError

from gap.command import table, user_errors
from ingest.pages.extract import extract
from ingest.pages.page import Page
from lake.config import Settings
from lake.error import UserError

WARM_UP = 5
"""Pages extracted before the clock starts, for imports and compiled patterns."""


class Gold(Settings):
    """The snippets of a page that must occur, and those that must not."""

    file: str
    present: tuple[str, ...]
    absent: tuple[str, ...]


class Score(NamedTuple):
    """Speed and snippet scores of one method; shares are 0 where there is nothing to divide by."""

    pages_per_core_s: float
    precision: float
    recall: float
    f1: float


class Counts(NamedTuple):
    """Snippets that occur and must, that occur and must not, and that must occur and do not."""

    right: int
    wrong: int
    missed: int


def read_gold(path: Path, pages: Path) -> list[tuple[Gold, bytes]]:
    """The lines of a gold file, each with the bytes of its page.

    Raises:
        UserError: a file is missing, or a line is wrong.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such gold file; give one JSON object a line with file, with, without")
    if not pages.is_dir():
        raise UserError(f"{pages}: no such folder of pages")
    read = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
            gold = Gold(file=record["file"], present=record["with"], absent=record["without"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            why = " ".join(str(error).split())[:200]
            what = "not an object with file and two lists of strings, with and without"
            raise UserError(f"{path}:{number}: {what}: {why}") from None
        page = pages / gold.file
        if not page.is_file():
            raise UserError(f"{page}: no such page, named in {path}:{number}")
        read.append((gold, page.read_bytes()))
    if not read:
        raise UserError(f"{path}: the file has no line")
    return read


def count(gold: Gold, text: str) -> Counts:
    """Count the snippets of a page in its extracted text."""
    text = _blanks(text)
    right = sum(_blanks(snippet) in text for snippet in gold.present)
    wrong = sum(_blanks(snippet) in text for snippet in gold.absent)
    return Counts(right, wrong, len(gold.present) - right)


def score(counts: list[Counts], seconds: float) -> Score:
    """Micro-averaged over all snippets of all pages; `seconds` of CPU time for all pages."""
    right, wrong, missed = (sum(column) for column in zip(*counts, strict=True))
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return Score(len(counts) / max(seconds, 1e-9), precision, recall, f1)


def measure(pages: list[tuple[Gold, bytes]], method: Callable[[bytes], str]) -> Score:
    """Run a method on every page."""
    for _, html in pages[:WARM_UP]:
        method(html)
    counts, seconds = [], 0.0
    for gold, html in pages:
        started = time.process_time()
        text = method(html)
        seconds += time.process_time() - started
        counts.append(count(gold, text))
    return score(counts, seconds)


def _blanks(text: str) -> str:
    return " ".join(text.split())


def _ours(html: bytes) -> str:
    page = extract(html)
    return page.text if isinstance(page, Page) else ""


def _trafilatura(html: bytes) -> str:
    return trafilatura.extract(html, include_comments=False) or ""


@click.command()
@click.option("--pages", type=click.Path(path_type=Path), required=True, help="Folder of HTML files.")
@click.option("--gold", type=click.Path(path_type=Path), required=True, help="JSON lines: file, with, without.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
@user_errors
def main(pages: Path, gold: Path, as_json: bool) -> None:
    """Measure main-content extraction on a folder of pages."""
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    read = read_gold(gold, pages)
    ours, peer = measure(read, _ours), measure(read, _trafilatura)
    if as_json:
        figures = {"pages": len(read), **_rounded(ours), "trafilatura": _rounded(peer)}
        click.echo(json.dumps(figures, indent=2))
        return
    rows = [(name, *(f"{value:.4g}" for value in scores)) for name, scores in (("ours", ours), ("trafilatura", peer))]
    click.echo(table(("method", *Score._fields), rows, right={1, 2, 3, 4}))


def _rounded(scores: Score) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores._asdict().items()}


if __name__ == "__main__":
    main()
