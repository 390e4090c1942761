"""The answer in what a model wrote, or why there is none. Needs Python's standard library alone.

A filter narrows the text, or ends the search with an answer or a reason; a protocol names its filters in order. An
answer counts where the model commits to it. Nothing is guessed from a first letter: “Based on” is no B.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

EMPTY, NO_ANSWER, REFUSED = "empty", "no answer", "refused"
SEVERAL, NO_OPTION = "several answers", "not an option"


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer (a label, a number, a text, entities one a line), or the reason why there is none."""

    answer: str | None
    reason: str | None = None


Read = Callable[[str], Extracted | None]
"""Reads the answer with which a text begins. None: it does not begin with one."""
Filter = Callable[[str, Read], Extracted | str]

WINDOW = 1_000
"""Characters in which an option or a number is looked for."""


def extract(filters: Sequence[str], text: str, kind: str, options: Mapping[str, str]) -> Extracted:
    """The answer to a question of a kind (`choice`, `number`, `text`, `entities`) with these options, label to text.

    A number comes in the form of `number`, so that equal numbers are equal strings. Where the model says that there are
    no entities, the answer is empty.

    Raises:
        KeyError: there is no filter or kind of this name.
    """
    read = {"choice": _Choice(options).read, "number": _read_number, "text": _read_text, "entities": _read_entities}[
        kind
    ]
    whole = _plain(text) if kind in ("choice", "number") else text
    if not whole.strip():
        return Extracted(None, EMPTY)
    rest = whole
    for name in filters:
        found = FILTERS[name](rest, read)
        if isinstance(found, Extracted):
            return found
        rest = found
    return Extracted(None, REFUSED if _REFUSAL.search(whole) else NO_ANSWER)


_REFUSAL = re.compile(
    r"\bI(?:['’]m| am) (?:sorry|unable|not able)|\bI (?:cannot|can ?not|can['’]t|do not know|don['’]t know)"
    r"|\bas an AI\b|\b(?:cannot|can['’]t) be (?:determined|answered)|\bunable to (?:answer|determine|provide)",
    re.IGNORECASE,
)
_WIDE = re.compile("[\uff01-\uff5e\u24b6-\u24e9\U0001d400-\U0001d7ff]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0f\ufeff]")
_BLANKS = str.maketrans(dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u3000", " ") | {"\u2212": "-"})


def _plain(text: str) -> str:
    """Full-width, circled and mathematical letters as plain ones. Powers stay as they are, for ² must not become 2."""
    plain = _WIDE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return _INVISIBLE.sub("", plain.translate(_BLANKS))


# Choices

_MARKUP = r"\\(?:boxed|fbox|text(?:bf|it|rm|sf)?|math(?:bf|it|rm|sf)|[(\[])"
_OPENING = re.compile(
    rf"(?:[\s*_`~#\"'“”„‚‘’«»‹›<>\[({{【「『〈《$:=–—-]|{_MARKUP}"
    r"|(?:that|to be|either|the|most|likely|probably|clearly|definitely|therefore|thus|simply|correct|right|best)\b"
    r"|(?:la|le|el|die|der|das)\b|(?:option|choice|letter|answer|antwort|réponse|respuesta|risposta|resposta)\b"
    r"|(?:a\s+|l['’])?(?:letra|lettera|lettre|opción|opção|opzione|вариант)\b|选项|選択肢)*",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"[*_`~\"'“”„‚‘’«»‹›<>\])}】」』〉》$\\]*")
_GOES_ON = re.compile(
    r"\s+(?:because|since|as|due|which|is|it|they|there|this|these|that|but|although|however)\b", re.IGNORECASE
)
_ALSO = re.compile(r"\s*(?:,?\s*\b(?:and|or|und|oder|et|ou|y|o)\b|[,/&+])\s*", re.IGNORECASE)
_QUANTITY = re.compile(r"(?:none|all|both|neither)\b", re.IGNORECASE)
_LETTER = re.compile(r"[A-Z](?![\w'’+^-])(?! \w)")


class _Choice:
    """Reads the label of an option, or its text."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._labels = sorted(options, key=len, reverse=True)
        texts = {label: _plain(text).strip() for label, text in options.items()}
        self._texts = {label: text and re.compile(re.escape(text), re.IGNORECASE) for label, text in texts.items()}

    def read(self, text: str) -> Extracted | None:
        """Several labels side by side are no answer, nor is a letter that no option has."""
        rest = _opened(text[:WINDOW])
        found = self._first(rest)
        if found is None:
            letter = _LETTER.match(rest) if self._labels and len(self._labels[0]) == 1 else None
            strange = letter and letter[0] not in self._labels
            return Extracted(None, NO_OPTION) if strange or _QUANTITY.match(rest) else None
        labels, end = found
        while more := _ALSO.match(rest := rest[end:]):
            other = self._first(rest := _opened(rest[more.end() :]))
            if other is None or re.match(r"\s+(?:is|was)\b", rest[other[1] :]):
                break
            labels, end = labels | other[0], other[1]
        return Extracted(*labels) if len(labels) == 1 else Extracted(None, SEVERAL)

    def _first(self, text: str) -> tuple[set[str], int] | None:
        """The labels that the beginning of a text may mean, and where it ends."""
        for label in self._labels:
            after = text[len(label) :]
            if text[: len(label)].casefold() != label.casefold() or re.match(r"\w|['’.-]\w|[+^]", after):
                continue
            # “A man” begins with an article, “B cells” with a name, “C. difficile” with a genus.
            word = re.match(r"[ \t]+(?=\w)|\.[ \t]+(?=[a-z])", after)
            option = self._texts[label]
            if word and not _ends(after) and not (option and option.match(after, word.end())):
                continue
            closing = _CLOSING.match(after)
            return {label}, len(label) + (closing.end() if closing else 0)
        said = {label: found.end() for label, option in self._texts.items() if option and (found := option.match(text))}
        longest = max(said.values(), default=0)
        if not longest or not _ends(text[longest:]):
            return None
        return {label for label, end in said.items() if end == longest}, longest


def _opened(text: str) -> str:
    opening = _OPENING.match(text)
    return text[opening.end() if opening else 0 :]


def _ends(after: str) -> bool:
    """Whether what precedes this is a whole answer."""
    return not re.match(r"\w|\.?[ \t]+\w|-\w", after) or bool(_GOES_ON.match(after) or _ALSO.match(after))


# Numbers

_BEFORE_NUMBER = re.compile(
    rf"(?:[\s*_`~\"'“”«»\[({{$€£¥₹≈:=]|{_MARKUP}|\\\$|(?:approximately|about|around|only|exactly|roughly|USD|US|Rs)\b\.?)*",
    re.IGNORECASE,
)
_DIGITS = r"(?:\d{1,3}(?:[, '’]\d{3})+(?!\d)|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40}"
_NUMBER = re.compile(rf"([+-]?\s?[$€£¥₹]?\s?[+-]?)\s?({_DIGITS})(?:\s?/\s?(\d{{1,40}})(?![\d/]))?")
_SUM = re.compile(r"[\s\d.,$€£+*/×·÷x()%-]*=")
_RANGE = re.compile(r"\s*(?:-|–|to|or|and)\s*[$€£]?\d", re.IGNORECASE)


def number(text: str) -> str | None:
    """A number without grouping, currency or needless zeros: “$1,234.50” is 1234.5, “2/4” is 0.5, “1/3” stays."""
    found = _NUMBER.fullmatch(_plain(text).strip().rstrip("."))
    return _canonical(found) if found else None


def _canonical(found: re.Match[str]) -> str | None:
    below = int(found[3] or 1)
    if not below:
        return None
    value = Fraction(re.sub(r"[, '’]", "", found[2])) / below * (-1 if "-" in found[1] else 1)
    digits, rest = 0, value.denominator
    while digits < 90 and 10**digits % rest:
        digits += 1
    if digits == 90:
        return str(value)
    whole, part = divmod(abs(value.numerator) * 10**digits // rest, 10**digits)
    return f"{'-' * (value < 0)}{whole}{f'.{part:0{digits}}' if digits else ''}"


def _read_number(text: str) -> Extracted | None:
    """A number; of a sum the number after its last equals sign. A range is no answer, nor is a power or a time."""
    text = text[:WINDOW]
    while sum_ := _SUM.match(text):
        text = text[sum_.end() :]
    opening = _BEFORE_NUMBER.match(text)
    found = _NUMBER.match(text, opening.end() if opening else 0)
    if found is None:
        return None
    after = text[found.end() :]
    if _RANGE.match(after):
        return Extracted(None, SEVERAL)
    if re.match(r"[\^:]\S|\*\*\d|[eE][+-]?\d|\s?[×x]\s?10\^?", after):
        return None
    value = _canonical(found)
    return Extracted(value) if value else None


# Texts and entities

_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,3}[.)])\s+|^\s*[-*•–](?=\w)")
_NOTHING = re.compile(
    r"(?:none|no entities|nothing|n/?a|no (?:\w+ )?(?:are|is) (?:named|mentioned))\b.*", re.IGNORECASE
)
_QUOTES = " \t*_`\"'“”‘’«»"


def _read_text(text: str) -> Extracted | None:
    return Extracted(text.strip()) if text.strip() else None


def _read_entities(text: str) -> Extracted | None:
    """Entities up to a blank line: a JSON list, one a line with or without a bullet, or on one line between commas."""
    block = text.strip().split("\n\n")[0]
    if _REFUSAL.match(block):
        return Extracted(None, REFUSED)
    try:
        parsed = json.loads(block)
    except (ValueError, RecursionError):
        parsed = None
    lines = parsed if isinstance(parsed, list) else [_BULLET.sub("", line) for line in block.split("\n")]
    if len(lines) == 1 and parsed is None:
        lines = re.split(r"[,;]\s+", lines[0])
    names = [name for line in lines if (name := " ".join(str(line).split()).rstrip(".;,").strip(_QUOTES))]
    if len(names) == 1 and _NOTHING.fullmatch(names[0]):
        return Extracted("")
    return Extracted("\n".join(names)) if names or parsed == [] else None


# Filters

_WORDS = "answers?|ans|antwort|réponse|respuesta|risposta|resposta|odpowiedź|antwoord|svar|cevap|ответ"
_SAYS = re.compile(
    rf"\b(?:{_WORDS})\b(?P<between>[^\n.:=?!–—]{{0,80}}?)"
    r"(?::|[=–—]|\b(?:is|was|are|be|ist|est|es|è|é|это)\b(?!\s+(?:not|never)\b))"
    r"|(?:答案|答え|正解|정답|الإجابة|תשובה)[^\n:。]{0,12}?(?::|是|为|為|选|は|은|هي)"
    r"|\\(?:boxed|fbox)\s*\{|####|<answer>",
    re.IGNORECASE,
)
_GOOD = r"\s+(?:the\s+)?(?:most\s+|only\s+)?(?:correct|right|best|appropriate|answer)\b"
_POINTS = re.compile(
    rf"\b(?:option|choice|selection)\b(?P<between>[^\n.:?!]{{0,40}}?)(?::|\bis\b(?!{_GOOD}))"
    r"|\b(?:choose|select|pick|go with|go for)\b"
    rf"|(?P<praised>\b\w{{1,16}})[)*_`\"'”\]]*\s+(?:is|must be){_GOOD}",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\b(?:incorrect|wrong|other|false|not|no)|n['’]t)\s+(?:an?\s+|the\s+)?(?:\w+\s+)?$", re.IGNORECASE
)
_SUPPOSED = re.compile(r"\b(?:if|unless|had|suppose|assuming|were)\b", re.IGNORECASE)
_LISTED = re.compile(r"\b(?:choices|options|key)\b", re.IGNORECASE)


def _committed(text: str, read: Read) -> Extracted | str:
    """The last answer that the model commits to: “the answer is …”, a box, or what follows ####.

    Where there is none, “choose …” and “… is right” count. What is denied or only supposed does not: “if …, it is B”.
    """
    for marks in (_SAYS, _POINTS):
        strange = None
        for mark in reversed([*marks.finditer(text)]):
            found = None if _not_meant(mark, text) else read(mark.groupdict().get("praised") or text[mark.end() :])
            # “The answer is F” is no answer, but takes nothing from an answer elsewhere.
            if found and found.reason != NO_OPTION:
                return found
            strange = strange or found
        if strange:
            return strange
    return text


def _not_meant(mark: re.Match[str], text: str) -> bool:
    before = re.split(r"[.!?\n]", text[max(0, mark.start() - 300) : mark.start()])[-1]
    between = mark["between"] or ""
    return bool(_DENIED.search(before) or _SUPPOSED.search(before + between) or _LISTED.search(between))


_LABELLED = re.compile(r"^\W*([A-Z])[.):]", re.MULTILINE)


def _begins(text: str, read: Read) -> Extracted | str:
    """The answer with which the text begins. A list of the options is none, though it begins with a label."""
    found, labelled = read(text.lstrip()), set(_LABELLED.findall(text))
    return text if found is None or (found.answer in labelled and len(labelled) > 1) else found


def _alone(text: str, read: Read) -> Extracted | str:
    """The answer that is the only line of the text."""
    return _begins(text, read) if "\n" not in text.strip() else text


_THOUGHT = re.compile(
    r"\A.*</(?:think|thinking|thought|scratchpad|reasoning)>|<(think|thinking|thought|scratchpad|reasoning)>.*\Z",
    re.DOTALL,
)


def _without_thought(text: str, read: Read) -> str:
    """The text after the thought of a model that marks it. A thought that does not end leaves nothing."""
    return _THOUGHT.sub("", text)


_NEXT = re.compile(r"\n\s*(?:###(?!#)|(?:Question|Context|Abstract|Q)\s*\d*\s*:)")


def _until_question(text: str, read: Read) -> str:
    """The text before the next question, which a base model makes up once it has answered."""
    return _NEXT.split(text, maxsplit=1)[0]


def _lm_eval(pattern: str, place: int) -> Filter:
    """lm-eval's filter `regex` and the signs that its gsm8k ignores (tasks/gsm8k, `regexes_to_ignore`)."""

    def found(text: str, read: Read) -> Extracted | str:
        matches = [match[0] if len(match.groups()) > 1 else match[1] for match in re.finditer(pattern, text)]
        if not matches:
            return text
        bare = re.sub(r"(?s).*#### ", "", re.sub(r"[,$]", "", matches[place].strip()))
        return Extracted(re.sub(r"\.$", "", bare).lower())

    return found


FILTERS: dict[str, Filter] = {
    "without-thought": _without_thought,
    "until-question": _until_question,
    "committed": _committed,
    "begins": _begins,
    "alone": _alone,
    "lm-eval-strict": _lm_eval(r"#### (-?[0-9.,]+)", 0),
    "lm-eval-flexible": _lm_eval(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1),
}
"""By the names that protocols use."""
