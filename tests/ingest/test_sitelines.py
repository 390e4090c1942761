"""Site rules: what goes, what must never go."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.site import SITES, SiteCleaning, load_site
from ingest.text.sitelines import site_pages
from lake import bundled

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


def site_lines(text: str, rules: SiteCleaning) -> str:
    return site_pages([text], rules)


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
        (
            "As shown [1, 2] in 2010 [3, 4], 2011 [5–7] and 12 trials [18–20].[3–5]",
            "As shown in 2010, 2011 and 12 trials.",
        ),
        ("B-cells [11, 12] and stem cells/progenitors [37–39]", "B-cells and stem cells/progenitors"),
        ("As shown.[3–5] In 12 of 30 [14] it was less [Ref 3; 12a].", "As shown. In 12 of 30 it was less."),
        ("[a [1] b", "[a b"),
        (
            "Figure 3\nTable 2.1:\nView larger image\nOpen in new tab\nFig. 4: Algorithm of care",
            "Fig. 4: Algorithm of care",
        ),
        ("a\n|---|:--:|\n+----+----+\n=====\n| |\n---|---\nb", "a\nb"),
        ("a\n-\n•\n**\n##\nb", "a\nb"),
        ("bad\ufffd char\u00ad \uf0b7 x\n• one", "bad\ufffd char • x\n- one"),
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
        "uptake of [18F]FDG and [11C] PiB, [3H]thymidine, [123I]MIBG; [14c]urea",
        "[1]Benzothieno and bicyclo[2.2.1]heptane",
        "blood pressure over a day [24h]",
        "age was 34 [22–45] years",
        "age was 34 years (SD 5) [22-45]",
        "range 10 [5-15] mg",
        "heart rate 80 [70, 90]; SBP 120 [110; 130]; DBP 110 [100,120]",
        "costs were 1,350 [1,200–1,500] euros",
        "Age | 34 [22–45]",
        "Sodium (mmol/L) | [135–145]",
        "haemoglobin, g/dL [12, 16]",
        "CD4 count, cells/mm3 [200–350]",
        "+ | -",
        "+ | +",
        "- | -",
        "- | |",
        "-- | ++",
        "+++ | ---",
        "++++",
        "+",
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


@pytest.mark.parametrize(
    ("rule", "line", "goes"),
    [
        ("CLASS", "Classification of heart failure is by NYHA class.", False),
        ("Class", "Class I: give ACE inhibitors.", True),
        ("Editor", "Editor(s): A. Smith", True),
        ("Editor", "Editorial comment on the trial", False),
        ("Version 2", "Version 20 of the tool", False),
        ("Keywords:", "Keywords:asthma", True),
        ("more >", "more >>", True),
    ],
)
def test_a_rule_to_drop_ends_with_a_word(rule: str, line: str, goes: bool) -> None:
    assert site_lines(f"{PROSE}\n{line}", SiteCleaning(drop=(rule,))) == (PROSE if goes else f"{PROSE}\n{line}")


@pytest.mark.parametrize("tag", bundled.names(SITES))
def test_the_rules_of_a_site_drop_no_recommendation(tag: str) -> None:
    lines = [
        "Classification of heart failure is by NYHA class.",
        "Class I recommendations: give ACE inhibitors to all patients.",
        "(a) Weigh the child, (b) give fluids:",
        "(c) give 5 mg once.",
        "Published data show that vancomycin is inferior.",
        "There is a problem with the valve.",
        "Editorial boards and requests for appointments differ.",
    ]
    text = "\n\n".join([PROSE, *lines])
    assert site_lines(text, load_site(tag).clean) == text


@pytest.mark.parametrize("tag", bundled.names(SITES))
@pytest.mark.parametrize("mark", ["## ", ""])
def test_a_closing_heading_at_the_front_of_a_book_costs_no_book(tag: str, mark: str) -> None:
    rules = load_site(tag).clean
    chapters = "\n\n".join(f"## Chapter {number}\n\n{PROSE}" for number in range(50))
    for heading in (one.rstrip("*") for one in rules.stop_at):
        kept = site_lines(f"# Guideline\n\n{PROSE}\n\n{mark}{heading}\n\nWe thank A.\n\n{chapters}", rules)
        assert kept.count(PROSE) == 51
        assert heading not in kept.split("\n")
        assert ("We thank" in kept) == (not mark)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_a_closing_section_takes_itself_or_less_than_half(sizes: list[int], data: st.DataObject) -> None:
    """Wherever it stands, sections before it stay, and those after it unless most of the text is before them."""
    at = data.draw(st.integers(0, len(sizes)))
    sections = [f"## Part {number}\n" + "\n".join([PROSE] * size) for number, size in enumerate(sizes)]
    text = "\n".join([PROSE, *sections[:at], "## References\nA work.", *sections[at:]])
    kept = site_lines(text, RULES)
    assert "A work." not in kept
    assert [number for number in range(at) if f"# Part {number}\n" not in kept] == []
    if (sum(sizes[:at]) + 1) * 2 < sum(sizes):
        assert kept.count(PROSE) == sum(sizes) + 1
    elif sum(sizes[:at]) > sum(sizes[at:]):
        assert kept.count(PROSE) == sum(sizes[:at]) + 1


def test_a_long_list_of_references_goes_though_the_text_is_short() -> None:
    works = "\n".join(f"Work {number}. {PROSE}" for number in range(9))
    assert site_lines(f"# Care\n{PROSE}\n## References\n{works}", RULES) == f"# Care\n{PROSE}"


def test_chapters_start_and_stop_by_themselves() -> None:
    pages = [f"Menu\n# Introduction\n{PROSE}\n## References\nA.", f"## Care\n{PROSE}\n### References\nB.", ""]
    assert site_pages(pages, RULES) == f"# Introduction\n{PROSE}\n\n## Care\n{PROSE}"


@given(st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["–", "-", ", ", "; ", ","]))
@example(1350, 1200, 1500, ",")
def test_a_pair_around_a_value_is_kept(low: int, value: int, high: int, sign: str) -> None:
    low, value, high = sorted((low, value, high))
    for line in (f"of {value} [{low}{sign}{high}] in all", f"of {value:,} years [{low:,}{sign}{high:,}]"):
        assert plain(line) == line


@given(st.integers(1, 999), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZdefghijklmnopqrstuvwxyz"))
def test_an_isotope_is_kept(mass: int, letter: str) -> None:
    for line in (f"of [{mass}{letter}] in all", f"of [{mass}{letter}]glucose", f"of [{mass}]{letter}"):
        assert plain(line) == line


@given(st.integers(1, 400), st.integers(1, 9), st.sampled_from(["–", ", ", ","]))
def test_a_reference_after_a_word_goes(first: int, more: int, sign: str) -> None:
    assert plain(f"As shown [{first}], it helps [{first}{sign}{first + more}].") == "As shown, it helps."


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
@pytest.mark.parametrize(
    "piece",
    ["[1", "[1]", "1]", "[", "]", "[a", "http://", "www.", "(", "- ", "-", "|", "+---", "# ", "[a](", "![", "1,1"],
)
def test_a_long_line_of_anything_takes_no_time(piece: str) -> None:
    for end in ("", "x", "[1, 2]"):
        site_lines(piece * 100_000 + end, RULES)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["[a", "[1"])
def test_a_deep_nest_takes_no_time(piece: str) -> None:
    site_lines(piece * 50_000 + "]" * 50_000, RULES)
