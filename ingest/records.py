"""What a source yields: documents, and the records that could not become one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints, field_validator

from lake.config import Settings
from lake.decision import Drop
from lake.document import Document


def article_url(meta: Mapping[str, Any]) -> str | None:
    """Where an article is read, from the first it has of `pmcid`, `doi` and `pmid`."""
    if pmcid := meta.get("pmcid"):
        return f"https://pmc.ncbi.nlm.nih.gov/articles/PMC{pmcid.removeprefix('PMC')}/"
    if doi := meta.get("doi"):
        return f"https://doi.org/{doi}"
    if pmid := meta.get("pmid"):
        return f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"
    return None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no document. `native` is where it stood: `file:line`, or the file where it is one record."""

    native: str
    drop: Drop
    about: "Metadata | None" = None
    """What the record tells of its paper all the same."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A record that tells of a paper and has no text: a row of METADATA (ingest/metadata.py). It gets no decision."""

    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unsampled:
    """So many records in a row that were passed over: not drawn for a sample, or papers outside PubMed. They are no
    document and get no decision."""

    count: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """A PDF of the next document that its own reader, GROBID, gave no text of, so that another one read it.

    `document` is where that document is from, as its `url`. It gets no decision.
    """

    document: str
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the next document lacks: `what`, such as `scanned pages` or the `title` that a selector did not find, and
    `details`. `document` is as in Fallback. It gets no decision.
    """

    document: str
    what: str
    details: str


Record = Document | Rejected | Metadata | Unsampled | Fallback | Note
Records = Iterator[Record]
"""Every record of a raw file exactly once, in the file's order."""


class RawInput(Settings):
    """What every kind of input has: the corpus it belongs to, its files, and what no record says of itself.

    `paths` are patterns below the data folder. `license`, `redistributable` and `site` hold for records that do not
    name their own. A record over `max_bytes` is dropped. `limit` takes no more than the first so many records, files
    being sorted by name.
    """

    describes: ClassVar[bool] = False
    """Whether records tell of papers that others have the text of, or are completed by such."""

    source: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    paths: tuple[str, ...] = Field(min_length=1)
    license: str | None = None
    redistributable: bool = False
    site: str | None = None
    max_bytes: int = Field(default=16 * 2**20, ge=1)
    limit: int | None = Field(default=None, ge=1)

    @field_validator("paths")
    @classmethod
    def _below_data(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not PurePath(path).parts or PurePath(path).is_absolute():
                raise ValueError(f"{path!r} is not a pattern below the data folder, such as papers/*.xml")
        return paths
