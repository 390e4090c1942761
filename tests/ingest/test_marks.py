"""Marks of a paper's format: gone for measuring, broken where they are no reader's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.text.marks import MARK, break_marks, without_marks
from lake.marks import FORMAT_TOKENS

PIECES = st.lists(st.sampled_from([*FORMAT_TOKENS, "[", "]", "/", " ", "\n", "fig", "word", "[fi", "g]"]), max_size=30)


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("As [bib_ref] A trial, Smith [/bib_ref] said.", "As said."),
        ("See [fig_ref] Figure 1: a curve [/fig_ref].", "See."),
        ("[fig] Figure 1: A curve. [/fig]", " Figure 1: A curve. "),
        ("[table] Table 1: Doses. [/table]", " Table 1: Doses. "),
        ("x [formula] a = b [/formula] y", "x y"),
        ("an open [bib_ref] title of one", "an open  title of one"),
        ("[bib_ref] one [bib_ref] two [/bib_ref]", " one"),
        ("[/bib_ref] closes nothing [Fig] [figure]", " closes nothing [Fig] [figure]"),
        ("no mark", "no mark"),
    ],
)
def test_prose_is_what_authors_wrote(text: str, prose: str) -> None:
    assert without_marks(text) == prose


def test_the_tokenizers_marks_are_broken_and_counted() -> None:
    text = "".join(FORMAT_TOKENS)
    broken, count = break_marks(text)
    assert count == len(FORMAT_TOKENS)
    assert not any(token in broken for token in FORMAT_TOKENS)
    assert re.sub(r"\[ (.*?) \]", r"[\1]", broken) == text


@given(PIECES.map("".join))
def test_no_mark_is_left_and_a_second_pass_changes_nothing(text: str) -> None:
    assert MARK.search(without_marks(text)) is None or "[" in text
    broken, _ = break_marks(text)
    assert MARK.search(broken) is None
    assert break_marks(broken) == (broken, 0)
    assert broken.replace(" ", "") == text.replace(" ", "")


def test_a_long_row_of_open_marks_is_passed_at_once() -> None:
    assert without_marks("[bib_ref] " * 200_000) == " " * 200_000
