"""Site rules: what goes, what must never go."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.site import SiteCleaning
from ingest.text.sitelines import site_lines

NONE = SiteCleaning()
RULES = SiteCleaning(
    start_at=("Key recommendations", "Introduction"),
    stop_at=("References", "Acknowledg*"),
    skip=("Committee members",),
    drop=("Published", "The AAFP supports"),
)
PROSE = "The patient should drink enough water and return when the fever lasts longer than three days."
PIECES = st.sampled_from(
    [
        *"ao[]()#-|•1, \n\t.:",
        "https://x.org/a",
        "www.x.org",
        "[3]",
        "[edit]",
        "[a](https://x.org)",
        "![a](b.png)",
        "# ",
        "#### ",
        "References",
        "Introduction",
        "Published",
        "Table 2",
        "CI ",
        "\u00a0",
        "\x00",
        f"\n{PROSE}\n",
    ]
)
ANY = st.one_of(st.text(st.characters(categories=None)), st.lists(PIECES, max_size=30).map("".join))


def plain(text: str) -> str:
    return site_lines(text, NONE)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Read https://www.who.int/a_(b)?c=1&d=%20. Then rest.", "Read. Then rest."),
        ("See the [asthma guideline](https://x.org/a) first.", "See the asthma guideline first."),
        ("It helps (see www.x.org/y).\n(http://x.org/)", "It helps (see)."),
        ("It helps (https://x.org/y).", "It helps."),
        ("Give iron [12], zinc[3, 4] and water [5–7,9].", "Give iron, zinc and water."),
        ("Causes[edit]\nmore [citation needed] text", "Causes\nmore text"),
        ("Give iron [12](#ref12).", "Give iron."),
        ("![](chart.png)\n![A chart](/img/chart.png)", ""),
        ("In 2012[3] it rose by 30% [4].", "In 2012 it rose by 30%."),
        ("[a [1] b", "[a b"),
        (
            "Figure 3\nTable 2.1:\nView larger image\nOpen in new tab\nFig. 4: Algorithm of care",
            "Fig. 4: Algorithm of care",
        ),
        ("a\n|---|:--:|\n+----+----+\n=====\nb", "a\nb"),
        ("a\n-\n•\n**\n##\nb", "a\nb"),
        ("bad\ufffd char\u00ad \uf0b7 x\n• one", "bad char • x\n- one"),
        ("### A\n#### B\n##### C\n###### D", "# A\n## B\n### C\n### D"),
        ("# A\n## B\n#no heading", "# A\n## B\n#no heading"),
    ],
)
def test_what_all_sites_drop(raw: str, clean: str) -> None:
    assert plain(raw) == clean


@pytest.mark.parametrize(
    "line",
    [
        "oral rehydration solution, 75 mL/kg in 4 hours",
        "o",
        "o item of a list",
        "obstetric history",
        "5 10 20 40",
        "2.5 5 7.5 10",
        "| 5 | 10 | 20 |",
        "0.5-1 | 2 | 4-6",
        "12",
        "– 3.5 4.1",
        "hazard ratio 0.8 (95% CI [12, 45])",
        "odds ratio = [1, 3]",
        "in 30% [12–45] of cases",
        "dose [0.5 mg/kg] by weight",
        "age [years]",
        "Table salt is sodium chloride",
        "Figures from 2019 show less",
        "Image the abdomen first",
        "ratio 1:2 and http is a word",
        "# Introduction",
        "- one",
    ],
)
def test_what_no_rule_may_touch(line: str) -> None:
    assert plain(line) == line
    assert plain(f"before\n{line}\nafter") == f"before\n{line}\nafter"


def test_a_text_begins_and_ends_at_its_headings() -> None:
    raw = f"Menu\n\n## 1. Introduction:\n{PROSE}\n## 2 Care\n{PROSE}\n## 12. References\n[1] Smith."
    assert site_lines(raw, RULES) == f"# 1. Introduction:\n{PROSE}\n# 2 Care\n{PROSE}"


def test_without_a_start_the_text_begins_at_its_beginning() -> None:
    assert site_lines(f"# Other\n{PROSE}\n# ACKNOWLEDGEMENTS\nWe thank.", RULES) == f"# Other\n{PROSE}"


def test_contents_neither_start_nor_stop_a_text() -> None:
    contents = "Contents\n- Introduction\n- References\nReferences\n"
    raw = f"{contents}{PROSE}"
    assert site_lines(raw, RULES) == raw


def test_a_sentence_is_no_heading() -> None:
    raw = f"{PROSE}\nReferences were sought in three databases.\nIntroduction of feeds"
    assert site_lines(raw, RULES) == raw


def test_lines_are_dropped_by_their_beginning() -> None:
    raw = f"published 3 May 2020\n{PROSE}\n- Published: 2021\n# Published\nIt was published."
    assert site_lines(raw, RULES) == f"{PROSE}\nIt was published."


def test_a_skipped_section_ends_at_the_next_of_its_level() -> None:
    members = "Committee members\nA. Smith\n### Chair\nB. Jones"
    raw = f"# Care\n{PROSE}\n## {members}\n## Doses\n5 10 20\n# Committee members\nC."
    assert site_lines(raw, RULES) == f"# Care\n{PROSE}\n## Doses\n5 10 20"


@settings(max_examples=300)
@given(ANY)
@example("[1[2]]")
@example("w[1]ww.x.org")
@example("[1, https://x.org/a 2]")
@example(f"{PROSE}\nhttps://x.org References\nrest")
def test_a_second_time_changes_nothing(text: str) -> None:
    for rules in (NONE, RULES):
        once = site_lines(text, rules)
        assert site_lines(once, rules) == once


@given(ANY, st.lists(st.integers(0, 9999), min_size=1, max_size=8))
def test_a_row_of_numbers_survives_anywhere(text: str, row: list[int]) -> None:
    line = " ".join(map(str, row))
    assert line in plain(f"{text}\n{line}\n").split("\n")


@given(ANY, st.text("abc xyz", min_size=1, max_size=20))
def test_a_line_that_starts_with_o_keeps_it(text: str, rest: str) -> None:
    line = f"o{' '.join(rest.split())}"
    assert line in plain(f"{text}\n{line}").split("\n")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["[1", "[1]", "1]", "[", "]", "[a", "http://", "www.", "(", "- ", "# ", "[a](", "!["])
def test_a_long_line_of_anything_takes_no_time(piece: str) -> None:
    site_lines(piece * 100_000, RULES)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["[a", "[1"])
def test_a_deep_nest_takes_no_time(piece: str) -> None:
    site_lines(piece * 50_000 + "]" * 50_000, RULES)
