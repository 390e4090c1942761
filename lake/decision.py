"""Keep or drop: one row for every document that enters a step, with the reason and its evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Reason(StrEnum):
    """Why a document left. The value is what tables, manifests and reports show."""

    # read
    MALFORMED_JSON = "malformed_json"
    MALFORMED_XML = "malformed_xml"
    HOSTILE_XML = "hostile_xml"
    TRUNCATED_FILE = "truncated_file"
    UNDECODABLE = "undecodable"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    TOO_LARGE = "too_large"
    NO_BODY = "no_body"
    # read, of PubMed
    NO_ABSTRACT = "no_abstract"
    MALFORMED_ANNOTATION = "malformed_annotation"
    # read, of WARC files
    MALFORMED_WARC = "malformed_warc"
    NOT_A_PAGE = "not_a_page"
    # read, of web pages and PDFs
    NO_CONTENT = "no_content"
    MALFORMED_PDF = "malformed_pdf"
    ENCRYPTED_PDF = "encrypted_pdf"
    SCANNED_PDF = "scanned_pdf"
    # clean
    REPEATED_ID = "repeated_id"
    EMPTY = "empty"
    TOO_SHORT = "too_short"
    NON_ENGLISH = "non_english"
    # clean, of PubMed; read tells the first, too, where the record has all its ids
    NO_PUBMED_ID = "no_pubmed_id"
    DELETED_CITATION = "deleted_citation"
    SUPERSEDED = "superseded"
    # clean, by quality rules
    TOO_LONG = "too_long"
    CURLY_BRACKET = "curly_bracket"
    LOREM_IPSUM = "lorem_ipsum"
    SYMBOLS = "symbols"
    BULLET_LINES = "bullet_lines"
    ELLIPSIS_LINES = "ellipsis_lines"
    JAVASCRIPT_LINES = "javascript_lines"
    POLICY_LINES = "policy_lines"
    NO_TERMINAL_PUNCTUATION = "no_terminal_punctuation"
    WORD_LENGTH = "word_length"
    FEW_ALPHABETIC_WORDS = "few_alphabetic_words"
    FEW_STOP_WORDS = "few_stop_words"
    FEW_SENTENCES = "few_sentences"
    DUPLICATE_LINES = "duplicate_lines"
    DUPLICATE_PARAGRAPHS = "duplicate_paragraphs"
    TOP_NGRAM = "top_ngram"
    DUPLICATE_NGRAMS = "duplicate_ngrams"
    # dedup
    EXACT_DUPLICATE = "exact_duplicate"
    ID_DUPLICATE = "id_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    # dedup by title
    SAME_TITLE = "same_title"
    SUB_PAGE = "sub_page"
    # decontaminate
    CONTAMINATED = "contaminated"
    # mix
    FILTERED_OUT = "filtered_out"
    OVER_BUDGET = "over_budget"
    # evaluate
    PROMPT_TOO_LONG = "prompt_too_long"
    MALFORMED_QUESTION = "malformed_question"


DECISION = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("native", pa.string()),
        pa.field("survivor", pa.string()),
    ]
)
"""One row for every document that enters a step. All columns after `keep` are null where it is true.

`rule` names the rule within the reason, where a reason has several. `evidence` is for people to read: whatever a
program reads back has a column of its own. `score` is the measured value that decided. `native` is the place of a
record that never became a document, such as `file:line`. `survivor` is the document kept in place of a duplicate.
"""

EVIDENCE_CHARS = 400


@dataclass(frozen=True, slots=True)
class Drop:
    """A filter's verdict against a document; the fields are columns of DECISION."""

    reason: Reason
    evidence: str
    score: float | None = None
    rule: str | None = None
    native: str | None = None
    survivor: str | None = None


def decision(step: str, document: str, source: str, drop: Drop | None) -> dict[str, Any]:
    """One row of DECISION. Evidence is cut to EVIDENCE_CHARS, and hostile bytes in it are escaped to valid UTF-8."""
    row: dict[str, Any] = dict.fromkeys(DECISION.names)
    row |= {"id": document, "source": source, "step": step, "keep": drop is None}
    if drop is not None:
        row |= {"reason": drop.reason.value, "evidence": valid(drop.evidence[:EVIDENCE_CHARS]), "score": drop.score}
        row |= {"rule": drop.rule, "native": drop.native and valid(drop.native), "survivor": drop.survivor}
    return row


def valid(text: str) -> str:
    """The text as UTF-8 can hold it: half a surrogate pair, which file names and JSON can spell, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
