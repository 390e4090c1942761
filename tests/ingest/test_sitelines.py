"""Site rules: what goes, what must never go."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.fidelity.ledger import Ledger
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
        ("Give [500](/dose) mg.", "Give 500 mg."),
        ("Causes[edit]\nmore [citation needed] text", "Causes\nmore text"),
        ("Give iron [12](#ref12).", "Give iron."),
        ("![](chart.png)\n![A chart](/img/chart.png)", ""),
        ("In 12 of 30 it was less [Ref 3; 12a][refs 4–6].", "In 12 of 30 it was less."),
        ("More than ![≥](ge.png) 5 mg", "More than ≥ 5 mg"),
        (
            "Figure 3\nTable 2.1:\nView larger image\nOpen in new tab\nFig. 4: Algorithm of care",
            "Fig. 4: Algorithm of care",
        ),
        ("a\n|---|:--:|\n+----+----+\n=====\n| |\n---|---\nb", "a\nb"),
        ("a\n•\n**\n##\n- https://x.org\nb", "a\nb"),
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
        "-",
        "*** | ** | *",
        "--- | - | ++",
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


HOSTILE = [
    "Warning: contraindicated in pregnancy.",
    "Redirect to hospital if the patient is pregnant.",
    "Save this antibiotic for resistant infections.",
    "Appropriate use criteria for imaging favour MRI in children.",
    "Referral is needed within 24 hours.",
    "Reference range: 12–16 g/dL.",
    "Published: give 5 mg/kg once, and never give it in renal failure.",
    "See also: give 10 ml of oral fluid after each stool.",
    "Media: 5 ml of blood agar.",
    "Last updated dose: 250 mg.",
    "Print page 2 if the potassium is >5.5 mmol/L.",
    "Table salt is to be avoided.",
    "Date of birth decides the dose.",
    "Notes on dosing in renal failure",
    "Contacts of a case are vaccinated.",
    "Disclosure of HIV status to partners is offered.",
    "Sources of infection are removed.",
    "Related drugs must not be combined.",
    "Supplementary oxygen is given to all.",
    "Funding is not a reason to stop treatment.",
    "Membership of a risk group matters.",
    "Questions to ask before each dose",
]
"""What begins as a rule of some site does, and is of a guideline."""


@pytest.mark.parametrize("tag", bundled.names(SITES))
def test_a_section_with_a_dose_outweighs_its_heading(tag: str) -> None:
    rules = load_site(tag).clean
    for heading in (one.rstrip("*") for one in (*rules.stop_at, *rules.skip)):
        section = f"## {heading}\n\nGive 5 mg/kg once."
        kept = site_lines(f"# Care\n\n{PROSE}\n\n{section}\n\n## Appendix\n\n{PROSE}", rules)
        assert ("5 mg/kg" in kept) == ("eference" not in heading and "ource" not in heading), heading


@pytest.mark.parametrize(
    "heading", ["## Supplementary oxygen", "## Disclosure of HIV status", "## Contacts", "## Additional notes"]
)
@pytest.mark.parametrize("tag", bundled.names(SITES))
def test_a_clinical_heading_closes_nothing(tag: str, heading: str) -> None:
    text = f"# Care\n\n{PROSE}\n\n{heading}\n\nTell the patient what is to be done about it."
    assert site_lines(text, load_site(tag).clean) == text


@pytest.mark.parametrize("mark", ["## ", ""])
@pytest.mark.parametrize(
    "appendix", ["Appendix", "Appendix B: dosing", "Annex 2. Drugs", "Table 7. Doses by weight", "Box 3"]
)
def test_an_appendix_behind_the_references_stays(mark: str, appendix: str) -> None:
    works = "\n".join(f"{number}. Smith J. A trial of 75 mg of aspirin. Lancet 2009." for number in range(9))
    prose = "\n".join([PROSE] * 9)
    text = f"# Care\n{prose}\n{mark}References\n{works}\n{mark}{appendix}\nAmikacin | 15 mg/kg\nGentamicin | 5 mg/kg"
    kept = site_lines(text, RULES)
    assert "Lancet" not in kept
    assert kept.endswith("Amikacin | 15 mg/kg\nGentamicin | 5 mg/kg")


def test_a_text_starts_no_later_than_its_first_dose() -> None:
    text = f"# Asthma\nGive 5 mg of salbutamol.\n# Introduction\n{PROSE}"
    assert site_lines(text, RULES) == text


def test_what_goes_is_entered_with_its_rule() -> None:
    ledger = Ledger()
    pages = [
        "Menu\n# Introduction\nPublished 2020\nFigure 3\n|---|---|\nRead https://x.org/a [ref 3] ![a chart](b.png)\n"
        "# Committee members\nA. Smith\n# Care\n" + "\n".join(CITED) + f"\n{PROSE}\n# References\nA work."
    ]
    site_pages(pages, RULES, ledger)
    rules = {rule: [entry.text for entry in ledger.left_out if entry.rule == rule] for rule, _ in ledger.left_out}
    assert rules == {
        "site:start_at": ["Menu"],
        "site:drop": ["Published 2020"],
        "site:label": ["Figure 3", "|---|---|"],
        "site:url": ["https://x.org/a"],
        "site:image": ["![a chart](b.png)"],
        "site:reference": ["[ref 3]", "[1]", "[2,3]", "[4–6]", "[7]", "[8]"],
        "site:skip": ["# Committee members", "A. Smith"],
        "site:stop_at": ["# References", "A work."],
    }
    assert ledger.written == []


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
        *HOSTILE,
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


MORE = "which is known of patients of all ages and from every country that was asked"
CITED = [
    f"Fever was studied first [1], {MORE}.",
    f"Cough came next [2,3], {MORE}.",
    f"Pain followed [4–6] and [7], {MORE}.[8]",
]
"""A text whose brackets count references, and the same without them."""

BARE = [f"Fever was studied first, {MORE}.", f"Cough came next, {MORE}.", f"Pain followed and, {MORE}."]


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("{} as others say [9].", "{} as others say."),
        ("{} as others say.[9][10]", "{} as others say."),
        ("{} as others [9] and again others [4] say.", "{} as others and again others say."),
        ("{} as others say [2, 5, 9].", "{} as others say."),
        ("{} as others say ([3]).", "{} as others say."),
        ("{} as others say [9a].", "{} as others say."),
        ("{} as others[9] say “so”.[7]", "{} as others say “so”."),
    ],
)
def test_references_go_where_the_text_counts_them(line: str, clean: str) -> None:
    said = f"In this trial {MORE} it was"
    for lines, bare in (([*CITED, line], [*BARE, clean]), ([*CITED, "", "# Care", line], [*BARE, "", "# Care", clean])):
        assert plain("\n".join(lines).format(said)) == "\n".join(bare).format(said)
    alone = line.replace("say.[9][10]", "say.").replace("”.[7]", "”.")
    assert plain(line.format(said)) == alone.format(said)


FINDINGS = [
    "Hb [12-16] g/dL; WBC [4-10]",
    "Rate the pain on the scale [0–10].",
    "Reference range | [12-16]",
    "120 [45] | 80 [30]",
    "[12-16]",
    "- WBC [4-10]",
    "The normal haemoglobin of an adult woman is [12-16] and it is lower in those who are pregnant.",
    "White cells [4-10] are counted in all of the patients who have a fever and in no others.",
    "Lactate was high [4] mmol/L in most of the patients who were taken to the ward that night.",
    "The Apgar score [7] of the child is taken at one minute and again at five minutes after birth.",
    "In children [2-5] years old the dose is that of an adult by the weight, as in the table below.",
    "Those aged [65] or more were given half of the dose that all of the other patients were given.",
    "Eyes open: none [1], to pressure [2], to sound [3], spontaneous [4], and the best of them is what counts.",
    "Eyes open: spontaneous [4], to sound [3], to pressure [2], none [1], and the best of them is what counts.",
    "Absent [0], weak [1], or strong [2] is what is written down of the pulse in both of the feet.",
    "Give the child a dose of [5] mg by mouth at once, and the same again after an hour if it vomits.",
    "The median stay was shorter [3, 7] than it was in the year before, in which few were treated so.",
    "The stay in days was shorter [3; 7] than it was in the year before, in which few were treated so.",
    "Potassium should be kept between [4-5] in all of the patients with an infarction of the heart.",
    "The mean pressure rose to [65] mmHg in those who were given noradrenaline within the first hour.",
    "The uptake of fluorodeoxyglucose marked with [18]F was seen in all of the nodes that were removed.",
    "Sodium [135–145], potassium [3.5–5.0] and chloride [98-107] are those of the laboratory of this hospital.",
    "The dose in millilitres [1-2] is that for a child, and it is given twice a day for a whole week.",
]


@pytest.mark.parametrize("line", FINDINGS)
def test_a_finding_in_brackets_stays_with_references_around_it(line: str) -> None:
    for before in range(len(CITED) + 1):
        lines = [*CITED[:before], line, *CITED[before:]]
        assert line in plain("\n".join(lines)).split("\n")
    assert plain(line) == line


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(["–", "-", ", ", "; "]), st.integers(0, 3))
def test_no_pair_is_taken_for_references_that_others_count(low: int, high: int, sign: str, place: int) -> None:
    low, high = sorted((low, high))
    line = f"The cells [{low}{sign}{high}] of most patients are counted on the day on which they come to the ward."
    if (low, high) in ((2, 3), (4, 6), (7, 8)):
        return
    assert line in plain("\n".join([*CITED[:place], line, *CITED[place:], CITED[0]])).split("\n")


def test_a_link_to_a_reference_goes() -> None:
    assert plain("Give iron [12](#ref12).") == "Give iron."


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
