"""What a source yields: documents, records that could not become one, and what else it knows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.fidelity.audit import Audit
from ingest.fidelity.ledger import Ledger
from lake.decision import Drop, Reason
from lake.document import Document


def article_url(meta: Mapping[str, Any]) -> str | None:
    """Where an article can be read, by its `pmcid`, else its `doi`, else its `pmid`."""
    if pmcid := meta.get("pmcid"):
        return f"https://pmc.ncbi.nlm.nih.gov/articles/PMC{pmcid.removeprefix('PMC')}/"
    if doi := meta.get("doi"):
        return f"https://doi.org/{doi}"
    if pmid := meta.get("pmid"):
        return f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"
    return None


def is_number(text: str) -> bool:
    """Whether an id consists of the digits 0 to 9."""
    return text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is not a document. Its id is made from `native`: its place `file:line`, or a key of its own.

    The decision's column `native` has the same, unless the drop names another place.
    """

    native: str
    drop: Drop
    about: "Metadata | None" = None
    """What the record still says about its paper."""


def rejected(native: str, reason: Reason, fault: str) -> Rejected:
    """A record that is known by its place `native`, with which its evidence begins."""
    return Rejected(native, Drop(reason, f"{native}: {fault}"))


@dataclass(frozen=True, slots=True)
class Metadata:
    """A record about a paper without its text: a row of METADATA (ingest/metadata.py). It gets no decision."""

    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unsampled:
    """The number of records skipped in a row, undrawn by a sample or outside PubMed. They get no decision."""

    count: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """A PDF of the next document that GROBID could not read, so that another reader did.

    `document` is the document's `url`, or its place. It gets no decision.
    """

    document: str
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the next document lacks: `what`, such as `scanned pages` or the `title` that a selector did not find,
    and `details`. `document` is as in Fallback. It gets no decision.
    """

    document: str
    what: str
    details: str


@dataclass(frozen=True, slots=True)
class Original:
    """The raw record of the next document, for the audit (ingest.fidelity).

    `read` gives all its visible text, as crudely as possible, and enters in the ledger what the reader changes on
    purpose. It holds only until the next record is asked for. It gets no decision.
    """

    read: Callable[[Ledger], str]


@dataclass(frozen=True, slots=True)
class Audited:
    """The audit of the document before it. It gets no decision."""

    id: str
    audit: Audit


Record = Document | Rejected | Metadata | Unsampled | Fallback | Note | Original | Audited
Records = Iterator[Record]
"""Every record of a raw file exactly once, in the file's order."""
