"""What a record says: the question, its options, and which is right."""

import hashlib
import html
import re
import string
from collections.abc import Mapping, Sequence
from html.entities import html5
from typing import Any, NamedTuple

from eval.records import MalformedError
from eval.task import Form, Task

MOST_OPTIONS = 26
LONGEST_LABEL = 16

_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?")
_TAG = re.compile("O|[BI](?:-.+)?")


class Content(NamedTuple):
    """The fields of a question that its record gives."""

    text: str
    options: dict[str, str]
    answer: str
    context: str
    explanation: str
    cluster: str


def content(record: dict[str, Any], native: str, right: Any, document: int | None, task: Task, form: Form) -> Content:
    """What the record with the id `native` says. `right` is what a file of answers says of it, if there is one.

    Raises:
        MalformedError: it cannot be asked, or has no right answer.
    """
    fields = form.fields
    own = field_of(record, fields.answer) if fields.answer else None
    if right is not None and own is not None and _scalar(own, "answer") != _scalar(right, "answer"):
        raise MalformedError(f"the answer is {own!r:.40} here and {right!r:.40} in {form.truth}")
    given = own if right is None else right
    explanation, options = _optional(record, fields.explanation), dict[str, str]()
    if task.kind == "entities":
        text, answer = _entities(field_of(record, fields.question), given, form)
    else:
        text, value = _text(field_of(record, fields.question), fields.question), _scalar(given, "answer")
        if form.answer_after is not None:
            explanation, marker, value = value.rpartition(form.answer_after)
            if not marker:
                raise MalformedError(f"the answer lacks {form.answer_after!r}")
        if task.kind == "choice":
            options, answer = _choice(record, value.strip(), native, form)
        else:
            answer = _number(value) if task.kind == "number" else _text(value, "answer")
        text = _until(text, options, form)
    context = _context(field_of(record, fields.context), fields.context) if task.context and fields.context else ""
    cluster = _optional(record, fields.cluster) or (native if document is None else f"document {document}")
    return Content(text, options, answer, context, explanation.strip(), cluster)


def _choice(record: dict[str, Any], value: str, native: str, form: Form) -> tuple[dict[str, str], str]:
    """The options and the right label."""
    if form.wrong is not None:
        return _drawn(_text(value, "answer"), _wrong(record, form), native, form.drawn)
    options = _options(record, form)
    if not 2 <= len(options) <= MOST_OPTIONS or len(options) != (form.choices or len(options)):
        raise MalformedError(f"{len(options)} options instead of {form.choices or f'2 to {MOST_OPTIONS}'}")
    if odd := [label for label in options if not _is_label(label)]:
        raise MalformedError(f"{odd[0]!r:.40} is no label")
    # A model that writes 1 may be about to write 10.
    if pair := next(((a, b) for a in options for b in options if a != b and b.startswith(a)), None):
        raise MalformedError(f"the label {pair[1]} begins with another, {pair[0]}")
    answer = form.answers.get(value, "") if form.answers else value
    if answer not in options:
        raise MalformedError(f"the answer {value!r:.40} is none of {', '.join(options)}")
    if sum(on_one_line(text) == on_one_line(options[answer]) for text in options.values()) > 1:
        raise MalformedError(f"the right option {options[answer]!r:.40} occurs twice")
    return options, answer


def _options(record: dict[str, Any], form: Form) -> dict[str, str]:
    """Label → text."""
    if isinstance(form.options, tuple):
        return {label: label for label in form.options}
    if isinstance(form.options, dict):
        return {label: _text(field_of(record, name), name) for label, name in form.options.items()}
    texts = field_of(record, form.options or "")
    if isinstance(texts, dict) and form.labels is None:
        return {label: _text(text, label) for label, text in texts.items()}
    if not isinstance(texts, list):
        raise MalformedError(f"{form.options} has neither a map nor a list of texts")
    given = field_of(record, form.labels) if form.labels else list(string.ascii_uppercase[: len(texts)])
    labels = [_scalar(label, "label") for label in given] if isinstance(given, list) else []
    if len(labels) != len(texts) or len(set(labels)) < len(labels):
        raise MalformedError(f"{form.options} has not one label for each text")
    return {label: _text(text, label) for label, text in zip(labels, texts, strict=True)}


def _is_label(label: str) -> bool:
    return 0 < len(label) <= LONGEST_LABEL and label.isprintable() and label == label.strip()


def _wrong(record: dict[str, Any], form: Form) -> list[str]:
    texts = field_of(record, form.wrong or "")
    if isinstance(texts, str) and form.separator is not None:
        texts = [text for text in texts.split(form.separator) if text.strip()]
    if not isinstance(texts, list) or not texts:
        raise MalformedError(f"{form.wrong} is not a list of texts")
    return [_text(text, form.wrong or "").strip() for text in texts]


def _drawn(right: str, wrong: Sequence[str], native: str, count: int) -> tuple[dict[str, str], str]:
    """The right answer among `count` of the wrong ones, or as many as there are, and its label.

    Choice and order come from hashes of the texts and the id, so they are the same on every machine, whatever else is
    in the file. No text occurs twice.
    """
    others = {on_one_line(text): text for text in reversed(wrong) if on_one_line(text) != on_one_line(right)}
    if not others:
        raise MalformedError("no wrong answer but the right one")

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{native}\x00{text}".encode()).digest()

    texts = [right.strip(), *sorted(others.values(), key=rank)[:count]]
    options = dict(zip(string.ascii_uppercase, sorted(texts, key=lambda text: rank(f"place\x00{text}")), strict=False))
    return options, next(label for label, text in options.items() if text == texts[0])


def _entities(tokens: Any, tags: Any, form: Form) -> tuple[str, str]:
    """The sentence, its tokens with blanks between them, and the names in it, one a line.

    A name begins with a tag B, or with an I that continues nothing or another type, as in the CoNLL evaluations.
    """
    if not isinstance(tokens, list) or not isinstance(tags, list) or len(tokens) != len(tags) or not tokens:
        raise MalformedError("not a tag for each token")
    names: list[list[str]] = []
    before = "O"
    for token, value in zip(tokens, tags, strict=True):
        tag = form.answers.get(str(value), "") if form.answers else str(value)
        if not _TAG.fullmatch(tag):
            raise MalformedError(f"the tag {value!r:.40} is not IOB")
        if tag[0] == "B" or (tag[0] == "I" and before[1:] != tag[1:]) or (tag[0] == "I" and before == "O"):
            names.append([])
        if tag != "O":
            names[-1].append(_text(token, "token"))
        before = tag
    return " ".join(_text(token, "token") for token in tokens), "\n".join(map(" ".join, names))


def _number(value: str) -> str:
    if not _NUMBER.fullmatch(value.strip()):
        raise MalformedError(f"the answer {value!r:.40} is not a number")
    return value.strip().replace(",", "").removeprefix("+")


def _until(text: str, options: Mapping[str, str], form: Form) -> str:
    """The question without the options that are repeated in it."""
    if form.question_until is None:
        return text
    question, marker, rest = text.rpartition(form.question_until)
    if not marker or not question.strip():
        raise MalformedError(f"the question lacks {form.question_until!r}")
    if on_one_line(rest) != on_one_line(" ".join(f"({label}) {option}" for label, option in options.items())):
        raise MalformedError("the question has other options in it")
    return question


def _context(value: Any, name: str) -> str:
    paragraphs = value if isinstance(value, list) and value else [value]
    return "\n".join(_text(paragraph, name) for paragraph in paragraphs)


def field_of(record: Any, name: str) -> Any:
    """The value of a field. A name with dots leads into objects and lists of objects."""
    if isinstance(record, dict) and name in record:
        return record[name]
    for part in name.split("."):
        if isinstance(record, list):
            record = [item.get(part) if isinstance(item, dict) else None for item in record]
        else:
            record = record.get(part) if isinstance(record, dict) else None
    return record


def _text(value: Any, name: str) -> str:
    if isinstance(value, MalformedError):
        raise value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise MalformedError(f"{name} is missing, empty or not text")
    return encodable(_decoded(value))


def _optional(record: dict[str, Any], name: str | None) -> str:
    value = field_of(record, name) if name else None
    return _text(value, name or "") if isinstance(value, str | int) and str(value).strip() else ""


def _scalar(value: Any, name: str) -> str:
    """A value as text. Of several there is no right one."""
    if isinstance(value, MalformedError):
        raise value
    if isinstance(value, list):
        if len(value) != 1:
            raise MalformedError(f"{len(value)} values of {name}, not one")
        (value,) = value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise MalformedError(f"the {name} is {value!r:.40}")
    return encodable(str(value)).strip()


def _decoded(text: str) -> str:
    """The text with its whole HTML entities as characters, also where they were escaped twice."""
    while (decoded := _ENTITY.sub(_character, text)) != text:
        text = decoded
    return text


def _character(entity: re.Match[str]) -> str:
    name = entity[0]
    if name[1] != "#":
        return html5.get(name[1:], name)
    decoded = html.unescape(name)
    return name if decoded in ("", "\ufffd") else decoded


def encodable(text: str) -> str:
    """Replace lone surrogates. JSON can spell them, but neither a tokenizer nor a table takes them."""
    return text.encode("utf-8", "replace").decode()


def on_one_line(text: str) -> str:
    return " ".join(text.split())
