"""Keys that duplicates share: a hash of the words, or an id in PubMed, PubMed Central or Semantic Scholar, or a DOI."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.words import Hashes

_SITE = r"(?:https?://)?(?:www\.)?"
_NUMBER = r"0*(?P<value>[1-9][0-9]*)"
_PATTERNS = {
    "pmid": rf"^(?:pmid)?[:\s]*(?:{_SITE}(?:pubmed\.ncbi\.nlm\.nih\.gov|ncbi\.nlm\.nih\.gov/pubmed)/)?{_NUMBER}/?$",
    "pmcid": rf"^(?:pmcid)?[:\s]*(?:{_SITE}(?:pmc\.ncbi\.nlm\.nih\.gov|ncbi\.nlm\.nih\.gov/pmc)/articles/)?"
    rf"(?:pmc)?[:\s]*{_NUMBER}(?:\.[0-9]+)?/?$",
    "doi": rf"^(?:doi)?[:\s]*(?:{_SITE}(?:dx\.)?doi\.org/)?(?:doi)?[:\s]*"
    r"(?P<value>10\.[0-9]{4,9}/\S*?[^\s.,;])[.,;]*$",
    "corpusid": rf"^{_NUMBER}$",
}


def content_keys(content: Hashes) -> pa.Array:
    """`content` of dedup.minhash.Shingled, uint64[n, 2], as 32 hex digits each."""
    texts = len(content)
    offsets = np.arange(0, 32 * (texts + 1), 32, dtype=np.int64)
    digits = np.ascontiguousarray(content).tobytes().hex().encode()
    wide = pa.LargeStringArray.from_buffers(texts, pa.py_buffer(offsets), pa.py_buffer(digits))
    return wide.cast(pa.string())


def id_keys(meta: pa.StructArray) -> pa.ListArray:
    """The ids of each work from `meta` of lake.document, as a list like `pmid:1`, `doi:10.1/x`, `corpusid:1`.

    Case, links, prefixes, versions of PubMed Central ids and leading zeros do not count. A malformed id gives no key.
    """
    kinds = [_keys(kind, pattern, meta) for kind, pattern in _PATTERNS.items()]
    flat = pa.concat_arrays(kinds)
    by_document = np.arange(len(flat)).reshape(len(kinds), -1).T
    known = flat.is_valid().to_numpy(zero_copy_only=False)[by_document]
    offsets = np.concatenate([[0], np.cumsum(known.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, flat.take(pa.array(by_document[known])))


def _keys(kind: str, pattern: str, meta: pa.StructArray) -> pa.Array:
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(pc.struct_field(meta, kind).cast(pa.string())))
    return pc.binary_join_element_wise(kind, pc.struct_field(pc.extract_regex(texts, pattern), "value"), ":")
