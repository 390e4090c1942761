"""The document: its Arrow schema and its identity."""

import hashlib
from typing import Any

import pyarrow as pa

META = pa.struct(
    [
        pa.field("pmid", pa.string()),
        pa.field("pmcid", pa.string()),
        pa.field("doi", pa.string()),
        pa.field("corpusid", pa.int64()),
        pa.field("journal", pa.string()),
        pa.field("published", pa.string()),
        pa.field("publication_types", pa.list_(pa.string())),
        pa.field("mesh", pa.list_(pa.string())),
        pa.field("citations", pa.int32()),
        pa.field("site", pa.string()),
        pa.field("revision", pa.string()),
    ]
)
"""`published` is an ISO 8601 date, as precise as it is known: 2012, 2012-07 or 2012-07-19. Among records of one id, the
greatest `revision` is the current one."""

DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("license", pa.string()),
        pa.field("redistributable", pa.bool_(), nullable=False),
        pa.field("lang", pa.string()),
        pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
        pa.field("meta", META, nullable=False),
    ]
)
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
