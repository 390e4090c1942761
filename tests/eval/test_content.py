"""What a record says: what is read as it is meant, and what is no question."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.content import LONGEST_LABEL, MOST_OPTIONS, Content, content
from eval.records import MalformedError
from eval.task import Task

TASK: dict[str, Any] = {
    "title": "New",
    "hub": "none",
    "license": "MIT",
    "files": ["new.jsonl"],
    "fields": {"question": "q", "context": "c", "answer": "a"},
    "options": "o",
}
GOOD = {"q": "Which?", "c": ["One.", "Two."], "o": {"A": "this", "B": "that"}, "a": "B"}


def read(record: dict[str, Any], right: Any = None, native: str = "1", **changes: Any) -> Content:
    keys = {key: value for key, value in (TASK | changes).items() if value is not None}
    task = Task.model_validate(keys)
    return content(record, native, right, None, task, task.forms[0])


def test_a_good_record_is_read() -> None:
    assert read(GOOD) == Content("Which?", {"A": "this", "B": "that"}, "B", "One.\nTwo.", "", "1")
    assert read(GOOD, context=False).context == ""


def test_numbers_are_read_as_text() -> None:
    said = read({**GOOD, "q": 1.5, "o": {"1": 2, "2": 3}, "a": 1.0})
    assert (said.text, said.options, said.answer) == ("1.5", {"1": "2", "2": "3"}, "1")


def test_blanks_and_line_ends_stay_for_the_protocol_to_treat() -> None:
    said = read({**GOOD, "q": " Which?\n", "o": {"A": 'this\n"', "B": "1.\n2. that "}})
    assert (said.text, said.options) == (" Which?\n", {"A": 'this\n"', "B": "1.\n2. that "})


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("p &lt; 0.05 &amp; r&#178; &gt; 0.9", "p < 0.05 & r² > 0.9"),
        ("250&nbsp;&micro;g, &#x3b2;", "250\xa0µg, β"),
        ("&amp;lt;5&amp;gt;", "<5>"),
        ("A&E, R&D; AT&T; &lt 5; &notit; &; &#0; &#xD800; &#9999999;", None),
    ],
)
def test_only_whole_html_entities_are_decoded(text: str, decoded: str | None) -> None:
    said = read({**GOOD, "q": text, "o": {"A": text, "B": "no"}, "c": text})
    assert {said.text, said.options["A"], said.context} == {decoded or text}


@given(st.text())
def test_text_without_an_ampersand_is_not_changed(text: str) -> None:
    if text.strip() and "&" not in text:
        assert read({**GOOD, "q": text}).text == text


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    said = read({**GOOD, "q": "Which\udfff one?", "o": {"A": "\ud834", "B": "that"}})
    assert (said.text, said.options["A"]) == ("Which? one?", "?")


@pytest.mark.parametrize(
    ("options", "labels"),
    [("pairs.text", "pairs.key"), ("texts", None), ({"A": "first", "B": "more.second"}, None)],
)
def test_options_may_lie_in_lists_and_objects(options: Any, labels: str | None) -> None:
    record: dict[str, Any] = {
        **GOOD,
        "texts": ["this", "that"],
        "first": "this",
        "more": {"second": "that"},
        "a": ["B"],
    }
    record["pairs"] = [{"key": "A", "text": "this"}, {"key": "B", "text": "that"}]
    said = read(record, options=options, labels=labels)
    assert (said.options, said.answer) == ({"A": "this", "B": "that"}, "B")


def test_labels_may_be_the_options_and_another_file_may_have_the_answer() -> None:
    asked: dict[str, Any] = {"options": ["yes", "no"], "truth": "truth.json"}
    assert read({**GOOD, "a": "no"}, right="no", **asked).answer == "no"
    with pytest.raises(MalformedError, match=r"'yes' here and 'no' in truth\.json"):
        read({**GOOD, "a": "yes"}, right="no", **asked)


# What is no question -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": ""}, "q is missing"),
        ({"q": ["Which?"]}, "q is missing"),
        ({"q": True}, "q is missing"),
        ({"c": []}, "c is missing"),
        ({"c": [None]}, "c is missing"),
        ({"c": None}, "c is missing"),
        ({"o": {"A": "this"}}, "1 options instead of 2 to"),
        ({"o": 7}, "neither a map nor a list"),
        ({"o": [7, None]}, "B is missing"),
        ({"o": {chr(65 + n): f"{n}" for n in range(MOST_OPTIONS + 1)}}, "27 options"),
        ({"o": {"": "this", "B": "that"}}, "'' is no label"),
        ({"o": {"A ": "this", "B": "that"}}, "'A ' is no label"),
        ({"o": {"\ud800": "this", "B": "that"}}, "is no label"),
        ({"o": {"A" * (LONGEST_LABEL + 1): "this", "B": "that"}}, "is no label"),
        ({"o": {"1": "x", "10": "y"}, "a": "1"}, "the label 10 begins with another, 1"),
        ({"o": {"A": "this", "B": None}}, "B is missing"),
        ({"o": {"A": "this", "B": "that", "C": ""}}, "C is missing"),
        ({"o": {"A": "this", "B": " this "}}, "the right option ' this ' occurs twice"),
        ({"a": "E"}, "the answer 'E' is none of A, B"),
        ({"a": None}, "the answer is None"),
        ({"a": True}, "the answer is True"),
        ({"a": ["A", "B"]}, "2 values of answer, not one"),
        ({"a": []}, "0 values of answer"),
        ({"a": "A, B"}, "the answer 'A, B' is none of"),
        ({"a": {"A": 1}}, "the answer is {'A': 1}"),
    ],
)
def test_what_cannot_be_asked_is_reported(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError) as error:
        read({**GOOD, **change})
    assert message in str(error.value)


def test_a_wrong_option_that_occurs_twice_leaves_the_question_as_it_is() -> None:
    assert read({**GOOD, "o": {"A": "this", "B": "that", "C": "this"}}).answer == "B"


def test_a_question_with_another_number_of_options_is_of_another_benchmark() -> None:
    with pytest.raises(MalformedError, match="2 options instead of 4"):
        read(GOOD, choices=4)


def test_labels_that_do_not_match_their_texts_are_reported() -> None:
    for labels in (["A"], ["A", "A"], "AB"):
        with pytest.raises(MalformedError, match="not one label for each text"):
            read({**GOOD, "o": ["this", "that"], "l": labels}, labels="l")


# Numbers, and options in the question --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("2 + 2 = 4 #### 4", ("2 + 2 = 4", "4")),
        ("#### 1,234.50", ("", "1234.50")),
        ("a\n####-3", ("a", "-3")),
        ("4", "lacks '####'"),
        ("#### four", "is not a number"),
        ("#### 1,23", "is not a number"),
        ("#### ٣", "is not a number"),
    ],
)
def test_a_number_follows_its_mark_and_its_explanation(answer: str, said: Any) -> None:
    number: dict[str, Any] = {"kind": "number", "options": None, "answer_after": "####"}
    if isinstance(said, tuple):
        assert read({**GOOD, "a": answer}, **number)[2:5:2] == said[::-1]
        return
    with pytest.raises(MalformedError, match=said):
        read({**GOOD, "a": answer}, **number)


def test_options_that_the_question_repeats_are_left_out_of_it() -> None:
    text = "Which?\nAnswer Choices: (A) this (B) that"
    assert read({**GOOD, "q": text}, question_until="\nAnswer Choices:").text == "Which?"
    for wrong, message in (("Which?", "lacks"), (f"{text}s", "other options in it"), (text[6:], "lacks")):
        with pytest.raises(MalformedError, match=message):
            read({**GOOD, "q": wrong}, question_until="\nAnswer Choices:")


# Drawn options -------------------------------------------------------------------------------------------------------

DRAWN: dict[str, Any] = {"options": None, "wrong": "w", "separator": ";"}


def test_wrong_answers_are_drawn_without_replacement_and_the_same_everywhere() -> None:
    record = {**GOOD, "a": "right", "w": "one; two; three;four; two; Right "}
    said = read(record, **DRAWN)
    assert list(said.options) == ["A", "B", "C", "D"]
    assert said.options[said.answer] == "right"
    assert len(set(said.options.values())) == 4
    assert said == read({**record, "w": ["four", "three", "Right", "two", "one"]}, **DRAWN), "order makes no difference"
    assert list(read({**record, "w": "one"}, **DRAWN).options) == ["A", "B"], "as many as there are"


def test_draws_differ_between_questions() -> None:
    record = {**GOOD, "a": "right", "w": [f"wrong {n}" for n in range(6)]}
    said = [read(record, native=str(n), **DRAWN) for n in range(400)]
    places = [sum(one.answer == label for one in said) for label in "ABCD"]
    assert all(60 < place < 140 for place in places), "the right one is anywhere"
    drawn = [sum(text in one.options.values() for one in said) for text in record["w"]]
    assert all(150 < count < 250 for count in drawn), "each wrong one is drawn half of the time"


@pytest.mark.parametrize("wrong", [None, "", [], ["right"], [None], 3])
def test_without_wrong_answers_there_is_no_choice(wrong: Any) -> None:
    with pytest.raises(MalformedError):
        read({**GOOD, "a": "right", "w": wrong}, **DRAWN)


# Names in sentences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ("O O O O", ""),
        ("B-X I-X O B-X", "a b\nd"),
        ("B-X B-X I-X I-X", "a\nb c d"),
        ("I-X I-X O I-Y", "a b\nd"),
        ("B-X I-Y I-Y O", "a\nb c"),
        ("O B I O", "b c"),
    ],
)
def test_names_begin_and_end_with_their_tags(tags: str, names: str) -> None:
    said = read({**GOOD, "q": list("abcd"), "a": tags.split()}, kind="entities", options=None)
    assert (said.text, said.answer, said.options) == ("a b c d", names, {})


def test_tags_may_be_numbers() -> None:
    numbers = {"0": "O", "1": "B", "2": "I"}
    record = {**GOOD, "q": list("abcd"), "a": [1, 2, 0, 1]}
    assert read(record, kind="entities", options=None, answers=numbers).answer == "a b\nd"
    with pytest.raises(MalformedError, match="the tag 3 is not IOB"):
        read({**record, "a": [1, 2, 0, 3]}, kind="entities", options=None, answers=numbers)


@pytest.mark.parametrize("tags", [None, "OOOO", ["O"], [], ["O", "O", "O", "S-X"], ["O", "O", "O", None]])
def test_a_sentence_without_a_tag_for_each_token_is_malformed(tags: Any) -> None:
    with pytest.raises(MalformedError):
        read({**GOOD, "q": list("abcd"), "a": tags}, kind="entities", options=None)
