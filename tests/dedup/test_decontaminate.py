"""Questions are found where they are quoted, and not where a text only resembles them."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.decontaminate import RUN, SHARE, DecontaminateSettings, find

LONG = " ".join(f"w{number}" for number in range(40))
SHORT = "What is the first choice for acute gout?"


def hits(
    texts: list[str], questions: list[str], settings: DecontaminateSettings | None = None
) -> list[tuple[int, int, str, float, str]]:
    table = pa.table(
        {
            "benchmark": pa.array(["b"] * len(questions), pa.string()),
            "question": pa.array([str(number) for number in range(len(questions))], pa.string()),
            "text": pa.array(questions, pa.string()),
        }
    )
    documents = pa.record_batch(
        {
            "id": pa.array([str(number) for number in range(len(texts))], pa.string()),
            "source": pa.array(["s"] * len(texts), pa.string()),
            "text": pa.array(texts, pa.string()),
        }
    )
    rows = pa.Table.from_batches(find([documents], table, settings or DecontaminateSettings())).to_pylist()
    return sorted((int(r["id"]), int(r["question"]), r["rule"], r["share"], r["span"]) for r in rows)


def quote(first: int, last: int, mark: str = " ") -> str:
    return mark.join(f"W{number}" for number in range(first, last))


def test_a_run_of_13_words_is_found_whatever_its_layout() -> None:
    run = quote(5, 18, ",\n")
    assert hits([f"Before; {run} (after)", f"x {quote(5, 17)} y"], [LONG]) == [(0, 0, RUN, 6 / 33, run)]


def test_a_shorter_question_is_found_whole() -> None:
    texts = [f"Q: {SHORT} A: rest", "what is the FIRST choice for acute-gout", "what is a first choice for acute gout"]
    assert [(hit[0], hit[2:4]) for hit in hits(texts, [SHORT])] == [(0, (RUN, 1.0)), (1, (RUN, 1.0))]


def test_four_fifths_of_the_8_grams_suffice_in_any_order() -> None:
    # 33 8-grams; runs of 12 words hold 5 each, and none is a run of 13.
    runs = [quote(first, first + 12) for first in (0, 5, 10, 15, 20, 25, 28)]
    enough, too_few = " . x ".join(runs[::-1]), " . x ".join(runs[:5])
    (hit,) = hits([enough, too_few], [LONG])
    assert hit[:4] == (0, 0, SHARE, 1.0)


def test_questions_of_few_words_are_searched_only_if_the_settings_say_so() -> None:
    question = "What causes gout?"
    assert hits(["so, what causes gout? Urate."], [question]) == []
    settings = DecontaminateSettings(shortest=3)
    assert hits(["so, what causes gout? Urate.", "what causes pain"], [question, LONG], settings) == [
        (0, 0, RUN, 1.0, "what causes gout")
    ]


def test_a_question_is_found_in_whatever_form_its_characters_are_written() -> None:
    question = (
        "At which p\u200bCO₂ in mm\u00a0Hg is non-inva\u00adsive ventila\u2060tion of benefit to which naïve patients?"
    )
    plain = "at which pco2 in mm hg is non-invasive ventilation of benefit to which naïve patients"
    odd = "ＡＴ which pCO² in ㎜ Hg is non-invasive ventilation of bene\ufb01t to which nai\u0308ve patients"
    quotes = hits([plain, odd, plain.replace("pco2", "pco3").replace("of", "for")], [question])
    assert [hit[:4] for hit in quotes] == [(0, 0, RUN, 1.0), (1, 0, RUN, 1.0)]
    assert quotes[1][4] == "AT which pCO2 in mm Hg is non-invasive ventilation of benefit to which naïve patients"


def test_nothing_to_search() -> None:
    assert hits(["text"], []) == []
    assert hits([], [LONG]) == []
    assert hits([""], [""]) == []
    with pytest.raises(ValueError, match=r"gram \(9\) may not exceed run \(8\)"):
        DecontaminateSettings(run=8, gram=9)


WORDS = st.lists(st.sampled_from("abc"), max_size=24)


@given(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
def test_rules_against_python(texts: list[list[str]], questions: list[list[str]]) -> None:
    settings = DecontaminateSettings(run=6, gram=3, share=0.6, shortest=2)
    expected = []
    for number, text in enumerate(texts):
        for place, question in enumerate(questions):
            if len(question) < settings.shortest:
                continue
            gram = min(settings.gram, len(question))
            grams = {tuple(question[at : at + gram]) for at in range(len(question) - gram + 1)}
            present = {tuple(text[at : at + gram]) for at in range(len(text) - gram + 1)}
            longest = max(
                (
                    size
                    for size in range(1, len(question) + 1)
                    for at in range(len(question) - size + 1)
                    if any(
                        text[begin : begin + size] == question[at : at + size] for begin in range(len(text) - size + 1)
                    )
                ),
                default=0,
            )
            share = len(grams & present) / len(grams)
            whole = longest >= min(settings.run, len(question))
            if whole or share >= settings.share:
                expected.append((number, place, RUN if whole else SHARE, share, longest))
    rows = hits(list(map(" ".join, texts)), list(map(" ".join, questions)), settings)
    assert [(*row[:4], len(re.findall(r"\w+", row[4]))) for row in rows] == expected
