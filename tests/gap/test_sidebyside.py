"""Two texts beside each other: nothing that differs is lost, nothing is too wide, nothing reaches the terminal raw."""

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from gap.sidebyside import CONTEXT, NARROWEST, ROWS, WIDEST, WINDOW, beside, plain, runs, side_by_side

WORDS = st.lists(st.sampled_from(["gout", "urate", "knee", "pain", "the", "of"]), max_size=60)
TEXTS = st.text(st.characters() | st.sampled_from("ab \n日本語😀é\u0301\u200d\ufe0f\x1b\x9b\u202e"), max_size=200)
COLUMN = (WIDEST - 3) // 2


def columns(lines: list[str]) -> tuple[list[str], list[str]]:
    """The words of both columns of lines of WIDEST ASCII columns, without rows that count equal words."""
    rows = [line for line in lines if " │ " in line or line.endswith(" │")]
    return " ".join(row[:COLUMN] for row in rows).split(), " ".join(row[COLUMN + 3 :] for row in rows).split()


def marked(words: list[str], begin: str, end: str) -> list[str]:
    """The words between the marks."""
    return " ".join(re.findall(rf"{re.escape(begin)}(.*?){re.escape(end)}", " ".join(words))).split()


@given(WORDS, WORDS)
def test_the_runs_are_both_texts_and_say_truly_what_is_equal(left: list[str], right: list[str]) -> None:
    cut = list(runs(left, right))
    assert [word for _, words, _ in cut for word in words] == left
    assert [word for _, _, words in cut for word in words] == right
    assert all((words == others) == equal for equal, words, others in cut)


@given(WORDS, WORDS)
def test_every_word_that_differs_is_in_its_column_and_marked(left: list[str], right: list[str]) -> None:
    columns_shown = columns(side_by_side(" ".join(left), "\n".join(right), WIDEST))
    differing = [run[1:] for run in runs(left, right) if not run[0]]
    assert marked(columns_shown[0], "[-", "-]") == [word for words, _ in differing for word in words]
    assert marked(columns_shown[1], "{+", "+}") == [word for _, words in differing for word in words]


def test_equal_words_are_counted_and_a_few_of_them_shown() -> None:
    words = [f"w{number}" for number in range(500)]
    other = [*words[:250], "new", *words[251:]]
    first, before, changed, after, last = side_by_side(" ".join(words), " ".join(other), WIDEST)
    assert [half.strip() for half in first.split(" │ ")] == ["w0 w1 w2 w3 w4 w5"] * 2
    assert before.strip() == "… 238 equal words …"
    assert changed.split(" │ ")[0].strip() == "w244 w245 w246 w247 w248 w249 [-w250-] w251 w252 w253 w254 w255 w256"
    assert changed.split(" │ ")[1] == "w244 w245 w246 w247 w248 w249 {+new+} w251 w252 w253 w254 w255 w256"
    assert after.strip() == "… 237 equal words …"
    assert [half.strip() for half in last.split(" │ ")] == ["w494 w495 w496 w497 w498 w499"] * 2


def test_texts_that_differ_in_their_blanks_alone_are_equal() -> None:
    (line,) = side_by_side("a b c d", " a\n\nb c\td ", 80)
    assert [half.strip() for half in line.split(" │ ")] == ["a b c d", "a b c d"]
    assert side_by_side("", " ", 80) == []


@given(TEXTS, TEXTS, st.integers(NARROWEST, 80))
@example("日本語" * 30, "😀" * 50, 21)
def test_no_line_is_wider_than_the_terminal(left: str, right: str, width: int) -> None:
    for line in (*side_by_side(left, right, width), *beside([left], [right], width)):
        assert cell_len(line) <= width
        assert line.isprintable()


def test_the_columns_are_in_step_where_characters_are_wide_or_none_at_all() -> None:
    lines = side_by_side("日本 e\u0301 a", "日本 e\u0301 b", 60)
    assert lines == ["日本 e\u0301 [-a-]" + " " * (28 - 12) + " │ 日本 e\u0301 {+b+}"]


def test_a_hostile_text_gives_the_terminal_no_command() -> None:
    hostile = "\x1b]0;owned\x07 \x1b[2J a\x9b31mb \u202egpj.exe\u202c x\u200by \ud800 z\x08\x00 \r\n"
    for line in (plain(hostile), *side_by_side(hostile, "other", 60), *beside([hostile], [hostile], 60)):
        assert line.isprintable()
        assert "\ufffd" in line or line.strip(" │") in ("other", "{+other+}")
        line.encode("utf-8")


@pytest.mark.parametrize(("equal", "counted"), [(2 * CONTEXT + 1, False), (2 * CONTEXT + 2, True)])
def test_a_single_equal_word_is_shown_rather_than_counted(equal: int, counted: bool) -> None:
    words = " ".join(f"w{number}" for number in range(equal))
    lines = side_by_side(f"a {words} c", f"b {words} d", WIDEST)
    assert any("equal words" in line for line in lines) == counted
    assert (f"w{CONTEXT}" in columns(lines)[0]) != counted


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


def test_a_long_difference_is_cut_and_says_how_long_the_texts_are() -> None:
    left, right = (
        " ".join(f"{letter}{number}" for number in range(count)) for letter, count in (("a", 5_000), ("b", 4_000))
    )
    lines = side_by_side(left, right, 80)
    assert len(lines) == ROWS + 1
    assert lines[-1].strip() == "… cut: 5,000 and 4,000 words …"
    assert len(side_by_side(left, right, 80, rows=3)) == 4


def test_a_change_far_from_another_is_found_past_many_windows() -> None:
    words = [f"w{number}" for number in range(20 * WINDOW)]
    other = ["first", *words[1 : 19 * WINDOW], *words[19 * WINDOW + 5 :]]
    differing = [(len(left), len(right)) for equal, left, right in runs(words, other) if not equal]
    assert differing == [(1, 1), (5, 0)]


@pytest.mark.parametrize("words", [("ab", "ab"), ("ab", "bc"), ("a", "a")])
def test_repeated_words_take_linear_time(words: tuple[str, str], is_linear: Callable[..., bool]) -> None:
    def work(size: int) -> None:
        left, right = ((side[0] + " ") * size + (side[-1] + " ") * size for side in words)
        side_by_side(left, "x " + right, 120)

    assert is_linear(work)
