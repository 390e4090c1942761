"""MinHash by permutations: the signatures that datasketch 2.0 gives by default, bit for bit, compiled.

MinHash (Broder 1997, "On the resemblance and containment of documents") permutes the shingles once for each slot, and
the slot keeps the least. The scheme is datasketch's `affine32`: a shingle's hash is the first four bytes of its SHA-1,
little-endian; MurmurHash3's finalizer mixes it; the k-th permutation is `a[k] * hash + b[k]` modulo 2^32.
The shingles are those of dedup.minhash, spelled out: lower-case words with one space between two. A text without words
is one empty shingle.

Such signatures compare with those that another program made with datasketch. They cost a SHA-1 per shingle and a
multiplication per shingle and slot, and take about five times as long as the default scheme.
"""

import functools
import re
from importlib.metadata import version

import numpy as np
import pyarrow as pa
from numba import njit, uint32
from numpy.typing import NDArray

from dedup.sha1 import SCHEDULE, sha1_head
from dedup.words import Bytes, Places, Unicode, scan, spell, text_buffers, unicode_tables
from lake.error import UserError

Samples = NDArray[np.uint32]

PINNED = "2.0.0"
"""The version of datasketch in requirements.lock."""

HARD_TEXTS = (
    "",
    " \t\n\x1c\x85\u00a0\u2003\u2028\u3000\ufeff … —",
    "Word",
    "one two\u00a0three\u3000four\x85five\u2028six\u200bseven\u00adeight",
    "ΟΔΥΣΣΕΥΣ Σ ΑΣ. ΑΣΑ Α.Σ. İSTANBUL İİ aİ ẞß ſharp ﬁne Ǆ Ⱥ K e\u0301",
    "中文 漢字 かな 한국어 हिन्दी Русский עברית 𐐀 𝟘 😀👍🏽 \U000e0001 \ufffd \0",
    "0 00 1,234.5e-6 2024-01-01 ٣٤ ½ x² pO₂ a_b don't",
    "word " * 1_000,
    " ".join(map(str, range(3_000))),
    # The message of SHA-1 is padded from 56 bytes on to one more block of 64.
    *("a" * size for size in (*range(54, 66), *range(118, 130), 10_000)),
    *(f"{'é' * size} end" for size in (25, 26, 27, 30, 31)),
)
"""Texts on which shingles, SHA-1 or arithmetic may differ from the library's."""

_GREATEST = np.uint32(0xFFFFFFFF)


def datasketch_signatures(texts: pa.Array | pa.ChunkedArray, ngram: int, slots: int) -> Samples:
    """`MinHash(num_perm=slots).hashvalues` of each text of a string or large_string array: uint32[n, slots].

    A signature is no prefix of a longer one: the permutations depend on `slots`.

    Raises:
        UserError: as `permutations`.
    """
    data, places = text_buffers(texts)
    return _signatures(data, places, ngram, unicode_tables(), *permutations(ngram, slots))


@functools.cache
def permutations(ngram: int, slots: int) -> tuple[Samples, Samples]:
    """The library's factors and summands, uint32[slots] each, once they give its signatures of HARD_TEXTS.

    Raises:
        UserError: the installed datasketch signs a text otherwise.
    """
    from datasketch import MinHash  # imports SciPy, which takes seconds

    factors, summands = (row.astype(np.uint32) for row in MinHash(num_perm=slots, seed=1).permutations)
    data, places = text_buffers(pa.array(HARD_TEXTS))
    signatures = _signatures(data, places, ngram, unicode_tables(), factors, summands)
    expected = MinHash.bulk(map(functools.partial(_shingles, ngram=ngram), HARD_TEXTS), num_perm=slots)
    for text, signature, minhash in zip(HARD_TEXTS, signatures, expected, strict=True):
        if not np.array_equal(signature, minhash.hashvalues):
            raise UserError(
                f"dedup.scheme=datasketch: datasketch {version('datasketch')} signs {text[:40]!r} in another way than "
                f"{PINNED}; install datasketch=={PINNED}"
            )
    return factors, summands


def _shingles(text: str, ngram: int) -> list[bytes]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + ngram]).encode() for at in range(max(1, len(words) - ngram + 1))]


@njit(cache=True, nogil=True)
def _signatures(
    data: Bytes, places: Places, ngram: int, tables: Unicode, factors: Samples, summands: Samples
) -> Samples:
    texts = places.size - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, places[text + 1] - places[text])
    room = longest // 2 + 1
    words = np.empty(room, dtype=np.uint64)
    begins, ends = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    spelled = np.empty(2 * longest, dtype=np.uint8)
    schedule = np.empty(SCHEDULE, dtype=np.uint32)
    out = np.full((texts, factors.size), _GREATEST, dtype=np.uint32)
    for text in range(texts):
        start, stop = places[text], places[text + 1]
        count = scan(data, start, stop, tables, words, begins, ends)
        spell(data, start, stop, tables, count, begins, ends, spelled)
        if count == 0:
            begins[0], ends[0] = 0, 0
        length = max(1, min(ngram, count))
        for first in range(max(1, count - length + 1)):
            shingle = _stir(sha1_head(spelled, begins[first], ends[first + length - 1], schedule))
            for slot in range(factors.size):
                out[text, slot] = min(out[text, slot], uint32(factors[slot] * shingle + summands[slot]))
    return out


@njit(cache=True, nogil=True)
def _stir(value: int) -> int:
    """The finalizer of MurmurHash3 (Appleby), 32 bits."""
    value = uint32((value ^ (value >> uint32(16))) * uint32(0x85EBCA6B))
    value = uint32((value ^ (value >> uint32(13))) * uint32(0xC2B2AE35))
    return uint32(value ^ (value >> uint32(16)))
