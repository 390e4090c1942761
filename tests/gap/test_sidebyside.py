"""Two texts beside each other: nothing that differs is lost, nothing is too wide, nothing reaches the terminal raw."""

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gap.sidebyside import CONTEXT, NARROWEST, ROWS, WIDEST, WINDOW, beside, pieces, plain, side_by_side, wide

WORDS = st.lists(st.sampled_from(["gout", "urate", "knee", "pain", "the", "of"]), max_size=60)
TEXTS = st.text(st.characters() | st.sampled_from("ab \n日本語😀é\u0301\u200d\ufe0f\x1b\x9b\u202e"), max_size=200)
COLUMN = (WIDEST - 3) // 2


def columns(lines: list[str]) -> tuple[list[str], list[str]]:
    """The words of both columns of lines of WIDEST ASCII columns, without rows that count words alike."""
    rows = [line for line in lines if " │ " in line or line.endswith(" │")]
    return " ".join(row[:COLUMN] for row in rows).split(), " ".join(row[COLUMN + 3 :] for row in rows).split()


def marked(words: list[str], begin: str, end: str) -> list[str]:
    """The words between the marks."""
    return " ".join(re.findall(rf"{re.escape(begin)}(.*?){re.escape(end)}", " ".join(words))).split()


@given(WORDS, WORDS)
def test_the_pieces_are_both_texts_and_say_truly_what_is_alike(left: list[str], right: list[str]) -> None:
    found = list(pieces(left, right))
    assert [word for piece in found for word in piece.left] == left
    assert [word for piece in found for word in piece.right] == right
    assert all((piece.left == piece.right) == piece.alike for piece in found)
    assert not any(one.alike and other.alike for one, other in pairwise(found))


@given(WORDS, WORDS)
def test_every_word_that_differs_is_in_its_column_and_marked(left: list[str], right: list[str]) -> None:
    one, other = columns(side_by_side(" ".join(left), "\n".join(right), WIDEST))
    differing = [piece for piece in pieces(left, right) if not piece.alike]
    assert marked(one, "[-", "-]") == [word for piece in differing for word in piece.left]
    assert marked(other, "{+", "+}") == [word for piece in differing for word in piece.right]


def test_words_alike_are_counted_and_a_few_of_them_shown() -> None:
    words = [f"w{number}" for number in range(500)]
    other = [*words[:250], "new", *words[251:]]
    first, second, third = side_by_side(" ".join(words), " ".join(other), WIDEST)
    assert first.strip() == "… 244 words alike …"
    assert second.split(" │ ")[0].strip() == "w244 w245 w246 w247 w248 w249 [-w250-] w251 w252 w253 w254 w255 w256"
    assert second.split(" │ ")[1] == "w244 w245 w246 w247 w248 w249 {+new+} w251 w252 w253 w254 w255 w256"
    assert third.strip() == "… 243 words alike …"


def test_texts_that_differ_in_their_blanks_alone_are_one_row() -> None:
    assert [line.strip() for line in side_by_side("a b c d", " a\n\nb c\td ", 80)] == ["… 4 words alike …"]
    assert side_by_side("", " ", 80) == []


@given(TEXTS, TEXTS, st.integers(NARROWEST, 80))
@example("日本語" * 30, "😀" * 50, 21)
@example("e" + "\u0301" * 2_000, "e", 40)
def test_no_line_is_wider_than_the_terminal(left: str, right: str, width: int) -> None:
    for line in (*side_by_side(left, right, width), *beside([left], [right], width)):
        assert sum(_width(one) for one in line) <= width
        assert len(line) <= 5 * width
        assert line.isprintable()


def _width(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in ("W", "F") else 1


def test_the_columns_are_in_step_where_characters_are_wide_or_none_at_all() -> None:
    lines = side_by_side("日本 e\u0301 a", "日本 e\u0301 b", 60)
    assert lines == ["日本 e\u0301 [-a-]" + " " * (28 - 12) + " │ 日本 e\u0301 {+b+}"]
    assert wide("日本 e\u0301 [-a-]") == 12


def test_a_hostile_text_gives_the_terminal_no_command() -> None:
    hostile = "\x1b]0;owned\x07 \x1b[2J a\x9b31mb \u202egpj.exe\u202c x\u200by \ud800 z\x08\x00 \r\n"
    for line in (plain(hostile), *side_by_side(hostile, "other", 60), *beside([hostile], [hostile], 60)):
        assert line.isprintable()
        assert "\ufffd" in line or line.strip(" │") in ("other", "{+other+}")
        line.encode("utf-8")


@pytest.mark.parametrize(("alike", "told"), [(2 * CONTEXT + 1, False), (2 * CONTEXT + 2, True)])
def test_a_single_word_alike_is_shown_rather_than_counted(alike: int, told: bool) -> None:
    words = " ".join(f"w{number}" for number in range(alike))
    lines = side_by_side(f"a {words} c", f"b {words} d", WIDEST)
    assert any("words alike" in line for line in lines) == told
    assert (f"w{CONTEXT}" in columns(lines)[0]) != told


def test_many_differences_close_together_lose_no_word_and_come_in_step_again() -> None:
    count = WINDOW // 2
    left = [word for n in range(count) for word in ("gone", "gone", "gone", "gone", f"same{n}", "and")]
    right = [word for n in range(count) for word in ("new", f"same{n}", "and")]
    lines = side_by_side(" ".join(left), " ".join(right), WIDEST, rows=10 * WINDOW)
    one, other = columns(lines)
    assert [word.strip("[-]") for word in one] == left
    assert [word.strip("{+}") for word in other] == right
    places = [[re.findall(r"same(\d+)", side) for side in line.split(" │ ")] for line in lines]
    abreast = [pair[0][0] for pair in places if len(pair) == 2 and all(pair) and pair[0][0] == pair[1][0]]
    assert max(map(int, abreast)) > count // 2


def test_a_long_difference_is_cut_and_tells_how_much_more() -> None:
    left, right = (" ".join(f"{one}{number}" for number in range(5_000)) for one in "ab")
    lines = side_by_side(left, right, 80)
    assert len(lines) == ROWS + 1
    shown = [sum(len(line.split(" │ ")[side].split()) for line in lines[:-1]) for side in (0, 1)]
    assert shown[0] > ROWS
    assert lines[-1].strip() == f"… {5_000 - shown[0]:,} and {5_000 - shown[1]:,} words more …"
    assert len(side_by_side(left, right, 80, rows=3)) == 4


def test_a_change_far_from_another_is_found_past_many_windows() -> None:
    words = [f"w{number}" for number in range(20 * WINDOW)]
    other = ["first", *words[1 : 19 * WINDOW], *words[19 * WINDOW + 5 :]]
    found = [piece for piece in pieces(words, other) if not piece.alike]
    assert [(len(piece.left), len(piece.right)) for piece in found] == [(1, 1), (5, 0)]


@pytest.mark.parametrize("words", [("ab", "ab"), ("ab", "bc"), ("a", "a")])
def test_repeated_words_take_linear_time(words: tuple[str, str], is_linear: Callable[..., bool]) -> None:
    def work(size: int) -> None:
        left, right = ((side[0] + " ") * size + (side[-1] + " ") * size for side in words)
        side_by_side(left, "x " + right, 120)

    assert is_linear(work)
