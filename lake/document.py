"""The document: its Arrow schema and its identity."""

import hashlib
from typing import Any

import pyarrow as pa

from lake.schema import schema

META = pa.struct(
    schema(
        "pmid string?, pmcid string?, doi string?, corpusid int64?, journal string?, published string?, "
        "publication_types list<string>?, mesh list<string>?, citations int32?, site string?, revision string?"
    )
)
"""`published` is an ISO 8601 date, as precise as it is known: 2012, 2012-07 or 2012-07-19. Among records of one id, the
greatest `revision` is the current one."""

DOCUMENT = schema(
    "id string, source string, title string?, text string, url string?, license string?, redistributable bool, "
    "lang string?, fetched_at time?"
).append(pa.field("meta", META, nullable=False))
"""`source` is the corpus in the mixture: guidelines, papers, abstracts or replay. `meta.site` is the tag within it."""

Document = dict[str, Any]
"""One row of DOCUMENT as plain Python values."""


def document_id(source: str, native: str) -> str:
    """32 hex digits that are the same in every run: 128 bits of SHA-256 over source and native id."""
    return hashlib.sha256(f"{source}\x00{native}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def new_document(source: str, native: str, text: str, meta: dict[str, Any] | None = None, **fields: Any) -> Document:
    """A row of DOCUMENT. Its id comes from `source` and `native`; missing fields are null.

    Raises:
        KeyError: a name in `fields` or `meta` is not in the schema.
    """
    row: Document = dict.fromkeys(DOCUMENT.names)
    row |= {"id": document_id(source, native), "source": source, "text": text, "redistributable": False}
    row["meta"] = dict.fromkeys(field.name for field in META)
    for target, values in ((row, fields), (row["meta"], meta or {})):
        for name, value in values.items():
            if name not in target:
                raise KeyError(f"{name} is not a field of a document")
            target[name] = value
    return row
