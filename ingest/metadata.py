"""What sources know about papers beside their text, and documents completed from it."""

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from lake.config import Settings
from lake.decision import Drop, Reason
from lake.document import DOCUMENT, META
from lake.schema import schema
from lake.values import SourceName

PAPER = [field for field in META if field.name != "site"]

METADATA = pa.schema(
    [
        *schema("origin string"),
        *PAPER,
        *schema("title string?, license string?, redistributable bool?, deleted bool"),
    ]
)
"""A row is what `origin` (s2 or medline) knows about a paper; `deleted` is true where it withdrew the paper."""

KNOWN = pa.schema(
    [
        *schema("id string"),
        *PAPER,
        *schema("types_s2 list<string>?, title string?, license string?, redistributable bool?, deleted bool?"),
    ]
)
"""What all sources together know about a document, by its id. `revision` and `publication_types` are MEDLINE's;
`title` is null where it must not precede the text."""


class JoinSettings(Settings):
    """In the sources `pubmed_only`, documents of Semantic Scholar without a PubMed or PubMed Central id are dropped."""

    pubmed_only: tuple[SourceName, ...] = ("abstracts", "papers")


def new_metadata(origin: Literal["s2", "medline"], **fields: Any) -> dict[str, Any]:
    """A row of METADATA, with null for fields left out. Raises KeyError where the schema lacks a name."""
    row: dict[str, Any] = dict.fromkeys(METADATA.names)
    if unknown := fields.keys() - row.keys():
        raise KeyError(f"{min(unknown)} is not a field of metadata")
    return row | {"origin": origin, "deleted": False} | fields


def complete(
    rows: pa.Table, known: pa.Table, source: str, settings: JoinSettings
) -> tuple[pa.Table, list[Drop | None]]:
    """Rows of DOCUMENT (without `source`) with what is `known` about them, and why some of them are dropped.

    What a document says itself comes first, except that MEDLINE's publication types, MeSH headings and citations are
    the newest known. A title that only the metadata has is put before the text.

    Args:
        known: Rows of KNOWN, each id once.
    """
    about = known.take(pc.index_in(rows["id"], value_set=known["id"].combine_chunks()))
    stated = {field.name: pc.struct_field(rows["meta"], field.name) for field in META}
    meta = stated | {
        name: pc.coalesce(stated[name], about[name])
        for name in ("pmid", "pmcid", "doi", "corpusid", "journal", "published")
    }
    meta["publication_types"] = pc.coalesce(about["publication_types"], stated["publication_types"], about["types_s2"])
    meta["mesh"] = pc.coalesce(about["mesh"], stated["mesh"])
    meta["citations"] = pc.coalesce(about["citations"], stated["citations"])
    drops = _drops(meta, about, source, settings)
    untitled = pc.and_(pc.is_null(rows["title"]), pc.is_valid(about["title"]))
    licensed = pc.and_(pc.is_null(rows["license"]), pc.is_valid(about["license"]))
    columns = {
        "title": pc.coalesce(rows["title"], about["title"]),
        "text": pc.if_else(untitled, pc.binary_join_element_wise(about["title"], rows["text"], "\n\n"), rows["text"]),
        "license": pc.coalesce(rows["license"], about["license"]),
        "redistributable": pc.if_else(licensed, about["redistributable"], rows["redistributable"]),
        "meta": _struct(meta),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), DOCUMENT.field(name), column)
    return rows, drops


def _struct(meta: dict[str, pa.ChunkedArray]) -> pa.StructArray:
    flat = [meta[field.name].combine_chunks().cast(field.type) for field in META]
    return pa.StructArray.from_arrays(flat, fields=list(META))


def _drops(meta: dict[str, pa.ChunkedArray], about: pa.Table, source: str, settings: JoinSettings) -> list[Drop | None]:
    columns = [meta[name] for name in ("corpusid", "pmid", "pmcid", "revision")]
    columns += [about[name] for name in ("revision", "deleted")]
    drops: list[Drop | None] = []
    for corpusid, pmid, pmcid, revision, latest, deleted in zip(*map(pa.ChunkedArray.to_pylist, columns), strict=True):
        drop = None
        if revision is not None and latest is not None and latest > revision:
            if deleted:
                drop = Drop(Reason.DELETED_CITATION, f"pmid {pmid} of {revision} was deleted by {latest}")
            else:
                drop = Drop(Reason.SUPERSEDED, f"pmid {pmid} of {revision} was revised by {latest}")
        elif corpusid is not None and not pmid and not pmcid and source in settings.pubmed_only:
            drop = Drop(Reason.NO_PUBMED_ID, f"corpusid {corpusid} has neither a PubMed nor a PubMed Central id")
        drops.append(drop)
    return drops
