"""The rows of a published data set, and the gate that each must pass: nothing leaves without a right to leave."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import pyarrow as pa

from gap.publish.settings import Override
from lake.schema import schema

FIELDS = {
    "id": ("string", "Identity of the document: equal in every run and version."),
    "source": ("string", "Corpus of the mixture that it belongs to."),
    "site": ("string?", "Where in the corpus it comes from: the tag of a web site or collection."),
    "title": ("string?", "Title."),
    "text": ("string", "Clean text, as models are trained on it."),
    "url": ("string?", "Address it was read from, or that its publisher gives it."),
    "license": ("string?", "Licence that the document or its source states."),
    "redistributable": ("bool", "Whether the licence lets it be passed on."),
    "pmid": ("string?", "PubMed's number."),
    "pmcid": ("string?", "PubMed Central's number."),
    "doi": ("string?", "Digital object identifier."),
    "corpusid": ("int64?", "Semantic Scholar's number."),
    "journal": ("string?", "Journal."),
    "published": ("string?", "Date of publication in ISO 8601, as precise as it is known."),
    "fetched_at": ("time?", "When it was collected, in UTC."),
    "tokens": ("int32", "Tokens of one copy under the tokenizer of the run, without its end."),
    "copies": ("int32", "How often the training mixture has it."),
    "fingerprint": ("string", "SHA-256 of the text in UTF-8, in hexadecimal digits."),
}
"""Every column with its type (as lake.schema writes it) and what it means. A change raises MAJOR in history.py."""

PUBLISHED = schema(", ".join(f"{name} {kind}" for name, (kind, _) in FIELDS.items()))

META = ("site", "pmid", "pmcid", "doi", "corpusid", "journal", "published")
"""Columns that come from a document's `meta`."""


class Stays(StrEnum):
    """Why a row does not leave."""

    NOT_REDISTRIBUTABLE = "not_redistributable"
    NO_FLAG = "no_flag"
    NO_LICENSE = "no_license"
    RESERVED = "rights_reserved"
    WITHHELD = "withheld"


MEANINGS = {
    Stays.NOT_REDISTRIBUTABLE: "its source or licence does not let it be passed on",
    Stays.NO_FLAG: "nothing says whether it may be passed on",
    Stays.NO_LICENSE: "no licence is known",
    Stays.RESERVED: "it is marked as redistributable, but its licence says otherwise",
    Stays.WITHHELD: "its removal was asked for",
}

LONGEST_NAME = 300
"""Characters of a licence's name or address. A longer text is no name, and nobody reads it in a table."""

NO_NAME = re.compile(
    "unknown|none|null|nan|na|not(available|applicable|specified|stated|known)|unspecified|undefined|missing|other|tbd"
    "|various|mixed|(no|unknown)?licen[sc]e(unknown|information)?|unlicensed|seesources?|true|false"
)
"""What stands in a licence's place where none is known. (The Unlicense is a licence; "unlicensed" is none.)"""

RESERVED = re.compile(
    "allrightsreserved|proprietary|confidential|noredistribution|notredistributable|nonredistributable"
    "|(donot|mustnot|maynot|nottobe|notfor)(be)?(re)?(distribut|publish|us|cop)|personaluseonly|permissionrequired"
    "|noreuse|closedaccess|subscribersonly"
)


@lru_cache(maxsize=100_000)
def objection(licence: Any) -> Stays | None:
    """What speaks against a licence: that it is none, or reserves all rights. Invisible characters count for nothing.

    Names are in Latin letters; those of other scripts look alike and could spell anything.
    """
    if not isinstance(licence, str) or len(licence) > LONGEST_NAME:
        return Stays.NO_LICENSE
    letters = "".join(
        character
        for character in unicodedata.normalize("NFKD", licence).casefold()
        if unicodedata.category(character)[0] in "LN"
    )
    if not letters.isascii() or not re.search("[a-z]", letters) or NO_NAME.fullmatch(letters):
        return Stays.NO_LICENSE
    return Stays.RESERVED if RESERVED.search(letters) else None


@dataclass(frozen=True)
class Gate:
    """Decides which rows leave. `withheld` are ids whose removal was asked for; an override does not lift that."""

    withheld: frozenset[str] = frozenset()
    override: Override | None = None

    def verdict(self, id_: Any, flag: Any, licence: Any) -> Stays | None:
        """Why the row stays; None if it leaves. Only the value True lets it leave, not 1 or "true"."""
        if id_ in self.withheld:
            return Stays.WITHHELD
        if self.override is not None:
            return None
        if flag is not True:
            return Stays.NOT_REDISTRIBUTABLE if flag is False else Stays.NO_FLAG
        return objection(licence)

    def leaving(self, rows: pa.Table) -> tuple[list[bool], "Counter[tuple[str, Stays]]"]:
        """Whether each row leaves, and how many stay, by licence and reason. The rows have id, flag and licence."""
        names = ("id", "redistributable", "license")
        verdicts = list(map(self.verdict, *(rows[name].to_pylist() for name in names)))
        licences = rows["license"].to_pylist()
        staying = Counter((named(licences[n]), reason) for n, reason in enumerate(verdicts) if reason is not None)
        return [reason is None for reason in verdicts], staying


UNKNOWN = "unknown"


def named(licence: Any) -> str:
    """A licence for a table; UNKNOWN where there is none."""
    return licence if isinstance(licence, str) and licence.strip() else UNKNOWN


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def published(documents: pa.Table, selection: Iterable[dict[str, Any]]) -> pa.Table:
    """Documents as rows of PUBLISHED. `selection` has tokens and copies for each of them, in their order.

    Raises:
        pa.ArrowInvalid: a value does not fit its column.
    """
    selected = list(selection)
    meta = documents["meta"].to_pylist()
    columns: dict[str, Any] = {name: documents[name] for name in FIELDS if name in documents.column_names}
    columns |= {name: [of[name] for of in meta] for name in META}
    columns |= {name: [row[name] for row in selected] for name in ("tokens", "copies")}
    # Under an override a flag may be null or no flag at all.
    columns["redistributable"] = [flag is True for flag in documents["redistributable"].to_pylist()]
    columns["fingerprint"] = list(map(fingerprint, documents["text"].to_pylist()))
    arrays = [_typed(columns[field.name], field.type) for field in PUBLISHED]
    return pa.table(arrays, schema=PUBLISHED)


def _typed(values: Any, kind: pa.DataType) -> Any:
    return pa.array(values, kind) if isinstance(values, list) else values.cast(kind)
