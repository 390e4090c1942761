"""Quality rules: each drops what it names, with its value, and leaves medical text alone."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.clean import CleanSettings, clean_document
from ingest.text.quality import DEFAULTS, LineRule, Measure, QualitySettings, keep_lines, measures, verdict
from ingest.text.repetition import ngrams, repeats
from lake.config import load
from lake.decision import Reason
from lake.error import UserError

ALL = QualitySettings()
OFF = QualitySettings.model_validate(
    dict.fromkeys(name for name in QualitySettings.model_fields if name != "remove_lines")
)
LINE_RULES: tuple[LineRule, ...] = ("javascript", "policy", "no_terminal", "few_words")
PROSE = """\
Fever in a child is common, and most of the time it passes within three days.
Give small sips of water to prevent dryness of the mouth while the body is warm.
A nurse should be called when breathing becomes fast or the skin turns pale.
Paracetamol lowers temperature but does not shorten an infection.
Never combine two medicines that have equal ingredients without advice.
Rashes which fade under pressure are seldom dangerous, unlike purple spots.
Older patients with heart disease need earlier examination by their doctor.
Antibiotics help against bacteria and leave viruses untouched.
Rest matters more than food during the first night of illness.
Go to hospital if convulsions last longer than five minutes."""


def measured(text: str, rule: str, **settings: Any) -> float:
    every = measures(text, QualitySettings.model_validate(settings))
    return next(measure.value for measure in every if measure.name == rule)


def test_prose_breaks_no_rule() -> None:
    assert verdict(PROSE, ALL) is None


@pytest.mark.parametrize(
    ("text", "reason", "evidence", "score"),
    [
        ("word " * 100_001, Reason.TOO_LONG, "words=100001, at most 100000", 100_001),
        (f"{PROSE} f() {{ {{", Reason.CURLY_BRACKET, "curly_brackets=2, at most 0", 2),
        (f"{PROSE} Lorem Ipsum dolor.", Reason.LOREM_IPSUM, "lorem_ipsum=1, at most 0", 1),
        ("#tag # and that. " * 9, Reason.SYMBOLS, "hashes=0.5, at most 0.1", 0.5),
        ("read more... the and... " * 9, Reason.SYMBOLS, "ellipses=0.5, at most 0.1", 0.5),
        ("\n".join(f"- {line}" for line in PROSE.split("\n")), Reason.BULLET_LINES, "bullet_lines=1, at most 0.9", 1),
        ("\n".join(f"{line[:-1]}…" for line in PROSE.split("\n")), Reason.ELLIPSIS_LINES, "ellipsis_lines=1, ", 1),
        (f"{PROSE}\nEnable JavaScript.\nNo javascript.", Reason.JAVASCRIPT_LINES, "javascript_lines=0.1667", 1 / 6),
        (f"{PROSE}\nThis site uses cookies.\nPrivacy Policy", Reason.POLICY_LINES, "policy_lines=0.1667", 1 / 6),
        (PROSE.replace(".", ""), Reason.NO_TERMINAL_PUNCTUATION, "terminal_lines=0, at least 0.12", 0),
        ("a is of to it. the be to. " * 5, Reason.WORD_LENGTH, "word_length=2.25, at least 3", 2.25),
        ("incomprehensibilities. " * 5, Reason.WORD_LENGTH, "word_length=22, at most 10", 22),
        ("The 1234 5678 and 90123. " * 5, Reason.FEW_ALPHABETIC_WORDS, "alphabetic_words=0.4, at least 0.8", 0.4),
        ("Fever came quickly; water helped the patient. " * 5, Reason.FEW_STOP_WORDS, "stop_words=1, at least 2", 1),
        ("The nurse said that rest helped, and so it did.", Reason.FEW_SENTENCES, "sentences=1, at least 3", 1),
        (f"{PROSE}\n\n{PROSE}\n\n{PROSE}", Reason.DUPLICATE_LINES, "duplicate_lines=0.6667, at most 0.3", 2 / 3),
        ((PROSE.replace("\n", " ") + "\n\n") * 2, Reason.DUPLICATE_LINES, "duplicate_lines=0.5", 0.5),
    ],
)  # fmt: skip
def test_a_rule_drops_with_its_value(text: str, reason: Reason, evidence: str, score: float) -> None:
    drop = verdict(text, ALL)
    assert drop is not None
    assert drop.reason is reason
    assert drop.evidence.startswith(evidence)
    assert drop.score == pytest.approx(score, abs=1e-4)


def test_characters_of_lines_and_paragraphs_have_limits_of_their_own() -> None:
    short = "\n".join(f"Yes {n}." for n in range(40))
    drop = verdict(f"{PROSE}\n{PROSE}\n{short}", ALL)
    assert drop is not None
    assert drop.evidence.startswith("duplicate_line_characters=0.4")
    lines = {"duplicate_lines": None, "duplicate_line_characters": None}
    drop = verdict(f"{PROSE}\n\n{PROSE}", QualitySettings.model_validate(lines))
    assert drop is not None
    assert drop.reason is Reason.DUPLICATE_PARAGRAPHS
    drop = verdict(f"{PROSE}\n\n{PROSE}", QualitySettings.model_validate(lines | {"duplicate_paragraphs": None}))
    assert drop is not None
    assert drop.evidence.startswith("duplicate_paragraph_characters=0.5")


def test_ngrams_are_told_with_the_words() -> None:
    spam = " ".join(f"{line} Buy cheap pills online." for line in PROSE.split("\n"))
    drop = verdict(spam, QualitySettings.model_validate({"top_ngrams": {4: 0.16}}))
    assert drop is not None
    assert drop.reason is Reason.TOP_NGRAM
    assert drop.evidence.startswith("top_ngrams.4=0.2")
    assert drop.evidence.endswith(": Buy cheap pills online.")
    drop = verdict(f"{spam} {PROSE}", QualitySettings.model_validate({"top_ngrams": None}))
    assert drop is not None
    assert drop.reason is Reason.DUPLICATE_NGRAMS
    assert drop.evidence.startswith("duplicate_ngrams.5=0.4")


def test_every_rule_can_be_switched_off() -> None:
    for text in ("{ # ... 1 2 3", "word " * 100_001, f"{PROSE}\n\n{PROSE}", "lorem ipsum javascript privacy policy"):
        assert verdict(text, ALL) is not None
        assert verdict(text, OFF) is None


def test_a_papers_format_distorts_nothing() -> None:
    cited = "[bib_ref] The same cited title of a large trial, Smith [/bib_ref]"
    lines = PROSE.split("\n")
    paper = "\n\n".join(["# Results", *(f"{line[:-1]} {cited} {cited}." for line in lines), "## More # of it"])
    assert verdict(paper, ALL) is None
    assert [one.name for one in measures(paper, ALL)] == [one.name for one in measures(PROSE, ALL)]
    assert measured(paper, "terminal_lines") == 1
    assert measured(paper, "hashes") == pytest.approx(1 / len(f"{PROSE} Results More # of it".split()))


def test_a_dosing_table_and_a_reference_list_stay() -> None:
    table = "\n".join(
        f"{drug} {n * 5} mg {n} times a day" for n in range(1, 9) for drug in ("Abacin", "Bebrol", "Cedrin")
    )
    rows = "\n".join(f"{n * 10} {n * 20} {n * 40} 3.5" for n in range(1, 6))
    list_ = "\n".join(
        f"- Smith {n}, Jones B. A study of disease number {n}. J Med. 19{70 + n};{n}:1-{n + 9}" for n in range(20)
    )
    text = f"## Doses of it\n\n{PROSE}\n\n{table}\n{rows}\n\n## References\n\n{list_}"
    for corpus in DEFAULTS:
        assert verdict(text, QualitySettings.model_validate(DEFAULTS[corpus])) is None
    assert verdict(f"{PROSE}\n\n" * 4, QualitySettings.model_validate(DEFAULTS["guidelines"])) is not None


def test_real_documents_stay(shared_data: Path) -> None:
    """Two thirds of a page that repeats itself is the most that is let pass; of the real corpora no page does."""
    from ingest.inputs import ReadSettings, records, units
    from ingest.records import Note

    read = ReadSettings.model_validate({"inputs": [
        {"format": "jats", "source": "papers", "paths": ["papers/*.xml"], "limit": 20},
        {"format": "jsonl", "source": "guidelines", "paths": ["guidelines/*"], "limit": 300},
        {"format": "jsonl", "source": "abstracts", "paths": ["abstracts/*.gz"], "fields": {"text": "abstract"}},
    ]})  # fmt: skip
    dropped: Counter[str] = Counter()
    for unit in units(read, str(shared_data)):
        for row in records(unit, read, str(shared_data)):
            if isinstance(row, Note):
                continue
            assert isinstance(row, dict)
            drop = clean_document(row["text"], row["title"], row["source"], CleanSettings()).drop
            dropped.update([] if drop is None else [drop.reason])
    assert set(dropped) <= {Reason.TOO_SHORT}


# Repetition ----------------------------------------------------------------------------------------------------------


def slow_ngrams(words: list[str]) -> dict[int, tuple[float, float]]:
    """Top and repeated share by n, counted as one would by hand."""
    found = {}
    total = sum(map(len, words))
    for n in range(2, 11):
        grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
        counts = Counter(grams)
        most = max(counts.values(), default=0)
        if most < 2:
            break
        longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
        inside: set[int] = set()
        seen = set()
        for at, gram in enumerate(grams):
            if gram in seen:
                inside.update(range(at, at + n))
            seen.add(gram)
        found[n] = (min(1.0, most * longest / total), sum(len(words[at]) for at in inside) / total)
    return found


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), min_size=1, max_size=60))
def test_ngrams_agree_with_counting_by_hand(words: list[str]) -> None:
    found = {one.n: (one.top, one.repeats) for one in ngrams(words)}
    expected = slow_ngrams(words)
    assert found.keys() == expected.keys()
    for n, shares in expected.items():
        assert found[n] == pytest.approx(shares)


@given(st.lists(st.sampled_from(["the", "be", "of", "ccc", "d."]), min_size=1, max_size=60), st.data())
def test_stopping_early_misses_no_broken_rule(words: list[str], data: st.DataObject) -> None:
    shares = st.dictionaries(st.integers(2, 10), st.floats(0, 1), max_size=4)
    tops, duplicates = data.draw(shares), data.draw(shares)
    on = OFF.model_copy(update={"top_ngrams": tops, "duplicate_ngrams": duplicates})
    told = [measure.name for measure in measures(" ".join(words), on) if measure.drop is not None]
    every = list(ngrams(words))
    expected = {f"top_ngrams.{one.n}" for one in every if one.top > tops.get(one.n, 1)}
    expected |= {f"duplicate_ngrams.{one.n}" for one in every if one.repeats > duplicates.get(one.n, 1)}
    assert set(told) == expected


def test_repeats_are_shares_of_items_and_characters() -> None:
    assert repeats([]) == (0, 0)
    assert repeats(["ab", "c", "ab"]) == (1 / 3, 2 / 5)


# Lines ---------------------------------------------------------------------------------------------------------------


def test_lines_go_by_the_rules_that_are_named() -> None:
    body = """# Two words

Enable JavaScript now, please do.
We use cookies to serve you.
No sign here at all
Four words are few.
This line may stay here."""
    assert keep_lines(body, ()) == (body, {})
    kept, taken = keep_lines(body, LINE_RULES)
    assert kept == "# Two words\n\nThis line may stay here."
    assert taken == {"javascript": 1, "policy": 1, "no_terminal": 1, "few_words": 1}


@pytest.mark.parametrize(
    "line",
    [
        "It is so (see there). [bib_ref] A title, Smith [/bib_ref]",
        "It is slow in the brain.[1] It is not elsewhere.[3][4, 5]",
        "“It is so.”",
        "It is so (and so!)",
    ],
)
def test_a_line_that_ends_behind_a_citation_or_a_quote_ends(line: str) -> None:
    assert keep_lines(line, ("no_terminal",)) == (line, {})


def test_a_number_of_references_ends_no_sentence_and_hides_no_end() -> None:
    assert measured("It is slow.[1] It is not.[2][3] It may be so", "sentences") == 2


# Settings ------------------------------------------------------------------------------------------------------------


def test_a_corpus_is_changed_in_part_or_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("quality: {papers: off, guidelines: {stop_words: 1}, web: {}}\n", encoding="utf-8")
    clean = load(file, ("quality.guidelines.lorem_ipsum=3",), CleanSettings)
    assert clean.quality["papers"] is None
    guidelines = clean.quality["guidelines"]
    assert guidelines is not None
    assert (guidelines.stop_words, guidelines.lorem_ipsum, guidelines.sentences) == (1, 3, None)
    assert clean.quality["web"] == ALL
    assert clean.quality["abstracts"] == QualitySettings.model_validate(DEFAULTS["abstracts"])
    assert "replay" not in clean.quality
    assert CleanSettings.model_validate(clean.model_dump(mode="json")) == clean


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{guidelines: {stop_word: 1}}", "quality.guidelines.stop_word: unknown key; did you mean stop_words?"),
        ("{guidelines: {duplicate_lines: 2}}", "quality.guidelines.duplicate_lines: Input should be less than"),
        ("{guidelines: {top_ngrams: {1: 0.5}}}", "quality.guidelines.top_ngrams.1"),
        ("[guidelines]", "quality: Input should be a valid dictionary"),
    ],
)
def test_wrong_settings_are_told_in_one_line(tmp_path: Path, given: str, said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"quality: {given}\n", encoding="utf-8")
    with pytest.raises(UserError) as told:
        load(file, (), CleanSettings)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["#", "...", "the", "word.", "\n", "\n\n", "- ", "[fig]", "[/fig]", "{", "12", "é"])).map(
        " ".join
    )
    | st.text()
)
def test_no_text_raises_and_shares_are_shares(text: str) -> None:
    for measure in measures(text, ALL):
        assert isinstance(measure, Measure)
        assert measure.value >= 0
        if "ngrams" in measure.name or measure.name.endswith(("lines", "characters", "alphabetic_words")):
            assert measure.value <= 1
    kept, taken = keep_lines(text, LINE_RULES)
    assert filled(kept) + sum(taken.values()) == filled(text)
    assert keep_lines(kept, LINE_RULES) == (kept, {})


def filled(text: str) -> int:
    return sum(bool(line.strip()) for line in text.split("\n"))
