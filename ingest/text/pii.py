"""Personal data, masked by kind and counted: e-mail addresses, telephone numbers and numbers of patient records.

The patterns spare what is common in medical text: doses and ranges, PMIDs, DOIs, ISBNs, trial numbers, years and dates,
rows of figures.
"""

import re
from collections.abc import Callable, Iterable
from typing import Literal

Kind = Literal["email", "phone", "record"]

# A match neither begins nor ends within letters, digits or masks, so a text without any is scanned in linear time.
EMAIL = re.compile(
    r"(?<![\w.%+>-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
    r"(?![\w<])"
)

START = r"(?<![\w.,/+~–−^=$€£<>-])"
"""A number begins after none of these: letters, digits, signs of arithmetic or of a range, masks."""

END = r"(?![\w<%°])(?![.,/–−-]\d)"
BREAK = r"[ .\u2011-]"

INTERNATIONAL = (
    rf"{START}(?:\(\+[1-9]\d{{0,2}}\)|\+[1-9]\d{{0,2}})(?:{BREAK}?\(0?\d{{0,4}}\))?(?:[ ./\u2011-]?\d){{6,12}}{END}"
)
AREA = r"(?![2-79]00)[2-9]\d\d"
"""An area code of North America; 200-300-4000 is a row of figures."""

UNITED_STATES = (
    rf"{START}(?:1{BREAK})?(?:\({AREA}\) ?[2-9]\d\d{BREAK}\d{{4}}|{AREA}(?:-[2-9]\d\d-|\.[2-9]\d\d\.)\d{{4}})"
    rf"(?: ?(?:ext\.?|x) ?\d{{1,5}})?{END}"
)
TOLL_FREE = (
    rf"{START}1-8(?:00|33|44|55|66|77|88)"
    rf"-(?:[2-9]\d\d-\d{{4}}|(?=[\dA-Z-]*[A-Z])[\dA-Z](?:-?[\dA-Z]){{6,9}}){END}"
)
EUROPEAN = (
    rf"{START}(?<!\d )(?:\(0[1-9]\d{{0,4}}\)[ /-]?\d{{2,4}}(?:[ -]?\d{{2,4}}){{1,3}}"
    rf"|0[1-9](?:([ .-])\d\d)(?:\1\d\d){{3}}"
    rf"|0[1-9]\d{{1,4}}[ /-]\d{{3,4}}[ -]?\d{{3,4}}){END}(?! \d)"
)
PHONE = re.compile("|".join((INTERNATIONAL, TOLL_FREE, UNITED_STATES, EUROPEAN)))
ANNOUNCED = re.compile(
    r"\b((?:tele)?phone|tel|fax|mobile|hotline)((?:\.|:| no\b\.?| number| is| at| on){0,3} ?)"
    rf"(?<=[ .:])(\(?\d(?:[ ()./\u2011-]{{0,2}}\d){{6,13}}){END}",
    re.IGNORECASE,
)
RECORD = re.compile(
    r"\b(MRN|medical record(?: (?:number|no\b\.?|id))?|patient identifier"
    r"|(?:patient|hospital|chart|case record|NHS) (?:number|no\b\.?|id))"
    r"((?: is| was|:|#| #|\.| =|=){0,3} ?)(?<=[ :#.=])"
    r"([A-Z]{0,4}-?\d(?:[ -]?\d){4,14}[A-Z]?)(?![\w<])(?![.,]\d)",
    re.IGNORECASE,
)


def mask(text: str, kinds: Iterable[Kind]) -> tuple[str, dict[Kind, int]]:
    """The text with `<email>`, `<phone>` and `<record>` in place of personal data of these kinds, and the counts.

    The word that announces a number stays. Idempotent: it searches until nothing is left.
    """
    counts: dict[Kind, int] = {}
    chosen = frozenset(kinds)
    before = None
    while before != text:
        before = text
        for kind in KINDS:
            if kind in chosen:
                text, count = MASKS[kind](text)
                if count:
                    counts[kind] = counts.get(kind, 0) + count
    return text, counts


def _emails(text: str) -> tuple[str, int]:
    return EMAIL.subn("<email>", text) if "@" in text else (text, 0)


def _phones(text: str) -> tuple[str, int]:
    text, announced = ANNOUNCED.subn(r"\1\2<phone>", text)
    text, shaped = PHONE.subn("<phone>", text)
    return text, announced + shaped


def _records(text: str) -> tuple[str, int]:
    return RECORD.subn(r"\1\2<record>", text)


KINDS: tuple[Kind, ...] = ("email", "record", "phone")
MASKS: dict[Kind, Callable[[str], tuple[str, int]]] = {"email": _emails, "record": _records, "phone": _phones}
"""Records come before telephone numbers, for a number announced as a record's is not a telephone's."""
