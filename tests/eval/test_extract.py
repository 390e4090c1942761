"""The answer in what a model wrote: forms that broke others are read, and nothing is read that was not said."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eval.extract import EMPTY, FILTERS, NO_ANSWER, NO_OPTION, REFUSED, SEVERAL, Extracted, extract, number

OPTIONS = {"A": "Aspirin", "B": "T cells", "C": "Warfarin", "D": "A 5% solution", "E": "AB"}
WORDS = {word: word for word in ("yes", "no", "maybe")}
EVERY = ("without-thought", "until-question", "committed", "begins")
THOUGHT = ("without-thought", "until-question", "committed", "alone")


def choice(text: str, options: dict[str, str] = OPTIONS, filters: tuple[str, ...] = EVERY) -> str:
    """The label, or the reason why there is none."""
    found = extract(filters, text, "choice", options)
    assert (found.answer is None) != (found.reason is None)
    return found.answer or found.reason or ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ANSWER: $B$", "B"),
        ("**B**", "B"),
        ("(B)", "B"),
        ("**Answer:** B", "B"),
        ("**Answer**: (B)", "B"),
        ("The answer is **(C)**.", "C"),
        ("The correct answer is option B: T cells", "B"),
        ("The best answer is B, since", "B"),
        ("Answer: A. The others are wrong", "A"),
        ("\\boxed{B}", "B"),
        ("$\\boxed{\\text{B}}$", "B"),
        ("Final Answer: The final answer is $\\boxed{D}$. I hope it is correct.", "D"),
        ("<answer>B</answer>", "B"),
        ("#### C", "C"),
        ("So B is correct.", "B"),
        ("Option C is wrong, B is the best choice.", "B"),
        ("I'd go with C.", "C"),
        ("Answer:\n\nB", "B"),
        ("B because of T", "B"),
        # Other languages' words and punctuation.
        ("答案：Ｂ。", "B"),
        ("答案是（C）", "C"),
        ("【B】", "B"),
        ("答え：Ｂ", "B"),
        ("Antwort: „B“", "B"),
        ("La respuesta es «C».", "C"),
        ("La réponse est C.", "C"),
        ("Ответ: B", "B"),
        ("𝐁", "B"),
        ("Answer\u00a0: B", "B"),
        ("La risposta corretta è la B", "B"),
        ("A resposta correta é a letra C.", "C"),
        ("La bonne réponse est la réponse B.", "B"),
        ("правильный ответ — B", "B"),
        # By the text of an option.
        ("The answer is aspirin.", "A"),
        ("The answer is Aspirin because it thins blood", "A"),
        ("Answer: A 5% solution", "D"),
        ("A 5% solution", "D"),
        ("The blood group, so the answer is AB.", "E"),
        ("The answer is: B) T cells", "B"),
        # The last one that the model commits to.
        ("The most likely cause is T cells. Therefore, option B is the answer.", "B"),
        ("The answer was B", "B"),
        ("The answer is B, C is wrong", "B"),
        ("The answer is A. No: the answer is B.", "B"),
        ("B. T cells\n\nExplanation: C would be the answer if he bled.", "B"),
        ("The answer is B. If he were allergic, the answer would be C.", "B"),
        ("The answer is not C. The answer is B.", "B"),
        ("Answer choices: A, C are wrong. Answer: B", "B"),
        ("The incorrect answers: A, C. The answer is B", "B"),
        ("Answer: B\n\nQuestion: And then?\nAnswer: C", "B"),
        ("The answer is E. coli. Answer: B", "B"),
        ("A. Aspirin\nB. T cells\nC. Warfarin\nThe correct option is C", "C"),
        ("<think>The answer is A</think>\nB", "B"),
        ("The answer is A</think>B", "B"),
        ("I cannot be sure, but the answer is B.", "B"),
        # Nothing that was not said.
        ("Based on the findings, he bleeds", NO_ANSWER),
        ("A 34-year-old man bleeds", NO_ANSWER),
        ("Aspirational", NO_ANSWER),
        ("B-cell lymphoma", NO_ANSWER),
        ("D'Angelo", NO_ANSWER),
        ("The answer is a combination of drugs", NO_ANSWER),
        ("The answer is not B", NO_ANSWER),
        ("A. Aspirin\nB. T cells\nC. Warfarin", NO_ANSWER),
        ("<think>The answer is A", NO_ANSWER),
        ("C. difficile", NO_ANSWER),
        ("The answer is F", NO_OPTION),
        ("The answer is C. difficile", NO_ANSWER),
        ("The answer is none of the above", NO_OPTION),
        ("Answer: A or B", SEVERAL),
        ("Answer: A, B", SEVERAL),
        ("The answer is either A or C", SEVERAL),
        ("The answer is B/C", SEVERAL),
        ("I'm sorry, but I cannot answer that.", REFUSED),
        ("As an AI, I do not know.", REFUSED),
        ("It cannot be determined.", REFUSED),
        ("", EMPTY),
        (" \n\u00a0", EMPTY),
    ],
)
def test_choices(text: str, expected: str) -> None:
    assert choice(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maybe", "maybe"),
        ("The answer is maybe.", "maybe"),
        ("Answer: Maybe (the study is small)", "maybe"),
        ("Yes, because", "yes"),
        ("Yes it does", "yes"),
        ("NO.", "no"),
        ("No evidence was found", NO_ANSWER),
        ("Not at all", NO_ANSWER),
        ("Yes and no", SEVERAL),
        ("Nobody knows", NO_ANSWER),
    ],
)
def test_words_as_options(text: str, expected: str) -> None:
    assert choice(text, WORDS) == expected


def test_a_thought_counts_only_where_it_ends_in_an_answer() -> None:
    assert choice("A. Aspirin thins blood.\nSo he bleeds", filters=THOUGHT) == NO_ANSWER
    assert choice("Aspirin thins blood.\nAnswer: A", filters=THOUGHT) == "A"
    assert choice("A. Aspirin", filters=THOUGHT) == "A"


def test_options_of_equal_text_cannot_be_told_apart() -> None:
    assert choice("The answer is aspirin", {"A": "Aspirin", "B": "aspirin "}) == SEVERAL
    assert choice("The answer is A", {"A": "Aspirin", "B": "aspirin "}) == "A"


def test_a_genus_is_no_label() -> None:
    options = {"A": "C. difficile", "B": "E. coli", "C": "S. aureus", "D": "B. cereus", "E": "H. pylori"}
    for label, text in options.items():
        for said in (f"The answer is {text}.", f"Answer: {label}. {text}", text, f"{label}. {text}"):
            assert choice(said, options) == label


def test_a_picture_named_as_its_label() -> None:
    assert choice("The answer is B.", {"A": "A", "B": "B", "C": "C", "D": "E"}) == "B"


WRAPPED = [
    "{}",
    "({})",
    "[{}]",
    "**{}**",
    "*{}*",
    "`{}`",
    '"{}"',
    "${}$",
    "“{}”",
    "«{}»",
    "「{}」",
    "\\boxed{{{}}}",
    "\\text{{{}}}",
    "（{}）",
]
LEADS = [
    "Answer: ",
    "ANSWER:",
    "The answer is ",
    "the correct answer is: ",
    "**Answer**: ",
    "答案：",
    "Antwort: ",
    "Final answer: ",
    "So the answer must be ",
]
ENDS = [
    "",
    ".",
    "。",
    "\n",
    "!",
    ", because it helps.",
    "\n\nExplanation: the others do not.",
    " since it helps",
    "\n\nQuestion: What?\nAnswer: A",
]
BEFORE = [
    "",
    "He bleeds. ",
    "Based on the findings, D is wrong.\n",
    "<think>Answer: A</think>",
    "Options: A, B, C.\n",
    "I think so.\n\n",
]


@given(
    st.sampled_from("ABCDE"),
    st.sampled_from(WRAPPED),
    st.sampled_from(LEADS),
    st.sampled_from(ENDS),
    st.sampled_from(BEFORE),
)
def test_a_committed_answer_is_found_in_any_dress(label: str, dress: str, lead: str, end: str, before: str) -> None:
    assert choice(f"{before}{lead}{dress.format(label)}{end}") == label


@given(st.sampled_from("ABCDE"), st.sampled_from(WRAPPED), st.sampled_from(ENDS))
def test_an_answer_at_the_beginning_is_found_in_any_dress(label: str, dress: str, end: str) -> None:
    assert choice(f" {dress.format(label)}{end.replace('A', 'B')}", filters=("until-question", "begins")) == label


PIECES = st.sampled_from(
    [
        *"ABCDE",
        *LEADS,
        *ENDS,
        "yes",
        "no",
        "maybe",
        "not ",
        "if ",
        " or ",
        "12",
        "1,000",
        "$",
        "\\boxed{",
        "}",
        "<think>",
        "</think>",
        "####",
        "/",
        "-",
        "٣",
        "²",
        "\x00",
        "é",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join)


@settings(deadline=2_000)
@given(
    TEXTS,
    st.sampled_from(["choice", "number", "text", "entities"]),
    st.lists(st.sampled_from(list(FILTERS)), max_size=5),
)
@example("the answer is " * 2_000, "choice", ["committed"])
@example("1" * 50_000, "number", ["committed", "begins"])
@example(" " * 50_000, "choice", ["committed", "begins"])
@example("[" * 50_000, "entities", ["begins"])
@example("#### 1e999999999", "number", ["committed"])
def test_any_text_gives_an_answer_or_a_reason(text: str, kind: str, filters: list[str]) -> None:
    found = extract(filters, text, kind, OPTIONS)
    assert (found.answer is None) != (found.reason is None)
    if kind == "choice" and found.answer is not None and not any(name.startswith("lm-eval") for name in filters):
        assert found.answer in OPTIONS


@given(st.text(st.characters(exclude_categories=["Lu", "Cs"]), max_size=60))
def test_no_letter_is_read_where_no_letter_stands(text: str) -> None:
    found = extract(EVERY, text, "choice", {"Q": "quinine!", "X": "xenon!"})
    assert found.answer is None or found.answer.casefold() in text.casefold()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18", "18"),
        (" $1,234.50 in all", "1234.5"),
        ("The answer is $18.", "18"),
        ("5 + 5 = 10\n#### 1,000", "1000"),
        ("The answer is 9 + 9 = 18 apples", "18"),
        ("\\boxed{18}", "18"),
        ("\\boxed{\\$18}", "18"),
        ("Answer: **€ 5**", "5"),
        ("Answer: −5", "-5"),
        ("Answer: -$5", "-5"),
        ("18.00", "18"),
        ("1/2", "0.5"),
        ("1 / 3", "1/3"),
        ("The answer is 50%.", "50"),
        ("Answer: １８", "18"),
        ("Answer: 1 234 567", "1234567"),
        ("Answer: about 12 dozen", "12"),
        ("The answer is 5. So 7 more", "5"),
        ("The answer is 5 to 6", SEVERAL),
        ("Answer: 5-6 tablets", SEVERAL),
        ("Answer: 3:30", NO_ANSWER),
        ("Answer: 2^10", NO_ANSWER),
        ("Answer: 1/0", NO_ANSWER),
        ("So the total is 5", NO_ANSWER),
        ("I don't know", REFUSED),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    found = extract(("until-question", "committed", "begins"), text, "number", {})
    assert (found.answer or found.reason) == expected


@given(st.decimals(-(10**12), 10**12, places=3), st.sampled_from(["{}", "{}.", "${}", "{} "]))
def test_equal_numbers_are_equal_strings(value: object, dress: str) -> None:
    plain = number(str(value))
    assert plain is not None
    assert number(dress.format(f"{value:,}")) == number(dress.format(value)) == number(plain) == plain


def test_what_is_no_number() -> None:
    assert [number(text) for text in ("", "x", "1 or 2", "12,34", "1/0", "1e5", "²")] == [None] * 7


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("so 5.\n#### 1,234", "1234", "1234"),
        ("#### 5\n#### 6", "5", "6"),
        ("It is $5.", NO_ANSWER, "5"),
        ("#### -7.", "-7", "-7"),
        ("none", NO_ANSWER, NO_ANSWER),
    ],
)
def test_the_filters_of_lm_eval(text: str, strict: str, flexible: str) -> None:
    """As gsm8k's two filters and its `regexes_to_ignore` give them."""
    for name, expected in (("lm-eval-strict", strict), ("lm-eval-flexible", flexible)):
        found = extract([name], text, "number", {})
        assert (found.answer or found.reason) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- gout\n- asthma", Extracted("gout\nasthma")),
        ("1. gout\n2) asthma", Extracted("gout\nasthma")),
        ("gout, asthma; lupus", Extracted("gout\nasthma\nlupus")),
        ("gout\ngout", Extracted("gout\ngout")),
        ('["gout", "asthma"]', Extracted("gout\nasthma")),
        ("gout\n\nThese are diseases.", Extracted("gout")),
        ("1,2-dimethylhydrazine\nIL-2, soluble", Extracted("1,2-dimethylhydrazine\nIL-2, soluble")),
        ("none", Extracted("")),
        ("No entities.", Extracted("")),
        ("[]", Extracted("")),
        ("I'm sorry, I cannot.", Extracted(None, REFUSED)),
    ],
)
def test_entities(text: str, expected: Extracted) -> None:
    assert extract(["begins"], text, "entities", {}) == expected


def test_a_text_is_all_of_it() -> None:
    assert extract(("until-question", "begins"), " Ask a doctor².\n\nQuestion: x", "text", {}) == Extracted(
        "Ask a doctor²."
    )


def test_it_needs_the_standard_library_alone() -> None:
    file = Path(__file__).parents[2] / "eval" / "extract.py"
    code = f"import runpy; print(runpy.run_path({str(file)!r})['number']('$5.0'))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"
