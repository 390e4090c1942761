"""Keep or drop: one row for every document that enters a step, with the reason and its evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lake.schema import schema


class Reason(StrEnum):
    """Why a document left. The value is what tables, manifests and reports show; the order means nothing."""

    BULLET_LINES = "bullet_lines"
    CHANGED_BY_TEMPLATE = "changed_by_template"
    CONTAMINATED = "contaminated"
    CURLY_BRACKET = "curly_bracket"
    DELETED_CITATION = "deleted_citation"
    DUPLICATE_LINES = "duplicate_lines"
    DUPLICATE_NGRAMS = "duplicate_ngrams"
    DUPLICATE_PARAGRAPHS = "duplicate_paragraphs"
    ELLIPSIS_LINES = "ellipsis_lines"
    EMPTY = "empty"
    ENCRYPTED_PDF = "encrypted_pdf"
    EXACT_DUPLICATE = "exact_duplicate"
    FEW_ALPHABETIC_WORDS = "few_alphabetic_words"
    FEW_SENTENCES = "few_sentences"
    FEW_STOP_WORDS = "few_stop_words"
    FILTERED_OUT = "filtered_out"
    HOSTILE_XML = "hostile_xml"
    ID_DUPLICATE = "id_duplicate"
    JAVASCRIPT_LINES = "javascript_lines"
    LOREM_IPSUM = "lorem_ipsum"
    MALFORMED_ANNOTATION = "malformed_annotation"
    MALFORMED_JSON = "malformed_json"
    MALFORMED_PDF = "malformed_pdf"
    MALFORMED_QUESTION = "malformed_question"
    MALFORMED_WARC = "malformed_warc"
    MALFORMED_XML = "malformed_xml"
    MISSING_FIELD = "missing_field"
    NEAR_DUPLICATE = "near_duplicate"
    NON_ENGLISH = "non_english"
    NOT_A_PAGE = "not_a_page"
    NO_ABSTRACT = "no_abstract"
    NO_ANSWER = "no_answer"
    NO_BODY = "no_body"
    NO_CONTENT = "no_content"
    NO_PUBMED_ID = "no_pubmed_id"
    NO_TERMINAL_PUNCTUATION = "no_terminal_punctuation"
    NO_TARGET = "no_target"
    OVER_BUDGET = "over_budget"
    POLICY_LINES = "policy_lines"
    PROMPT_TOO_LONG = "prompt_too_long"
    REFUSED_BY_TEMPLATE = "refused_by_template"
    REPEATED_ID = "repeated_id"
    ROLE_ORDER = "role_order"
    SAME_TITLE = "same_title"
    SCANNED_PDF = "scanned_pdf"
    SUB_PAGE = "sub_page"
    SUPERSEDED = "superseded"
    SYMBOLS = "symbols"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    TOP_NGRAM = "top_ngram"
    TRUNCATED_FILE = "truncated_file"
    UNDECODABLE = "undecodable"
    UNKNOWN_ROLE = "unknown_role"
    WORD_LENGTH = "word_length"
    WRONG_TYPE = "wrong_type"


DECISION = schema(
    "id string, source string, step string, keep bool, reason string?, rule string?, evidence string?, "
    "score float64?, native string?, survivor string?"
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


class RecordError(Exception):
    """A record cannot be used for a `reason`; the message is the evidence."""

    def __init__(self, reason: Reason, evidence: str) -> None:
        super().__init__(evidence)
        self.reason = reason


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
