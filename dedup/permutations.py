"""MinHash by permutations, bit for bit the signatures that datasketch 2.0 gives by default, compiled.

MinHash (Broder 1997, "On the resemblance and containment of documents") permutes the shingles once a slot, and the
slot keeps the least. As datasketch's documentation has it (its scheme `affine32`): a shingle is the first four bytes,
little-endian, of the SHA-1 of its UTF-8; MurmurHash3's finalizer stirs them; the k-th permutation is
`a[k] * hash + b[k]` modulo 2^32, with `a` odd, drawn with seed 1. The shingles are those of dedup.minhash spelled out:
lower-cased words with one space between two; a text without words is the one empty shingle.

It buys signatures that agree with those another program made with datasketch. It costs a SHA-1 a shingle, and a
multiplication a shingle and slot: about five times the time of the default, from text to signature.
"""

import numpy as np
import pyarrow as pa
from numba import njit, uint32
from numpy.typing import NDArray

from dedup.sha1 import SCHEDULE, sha1_head
from dedup.words import Bytes, Places, Unicode, scan, spell, text_buffers, unicode_tables

Samples = NDArray[np.uint32]

_SEED = 1
_GREATEST = np.uint32(0xFFFFFFFF)


def datasketch_signatures(texts: pa.Array | pa.ChunkedArray, ngram: int, slots: int) -> Samples:
    """`MinHash(num_perm=slots).hashvalues` of each text of a string or large_string array: uint32[n, slots].

    A signature is no prefix of a longer one: the draws depend on `slots`.
    """
    data, places = text_buffers(texts)
    return _signatures(data, places, ngram, unicode_tables(), *permutations(slots))


def permutations(slots: int) -> tuple[Samples, Samples]:
    """The factors and summands of so many permutations, as datasketch draws them: uint32[slots] each."""
    random = np.random.RandomState(_SEED)
    factors = random.randint(0, 2**31, slots, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, random.randint(0, 2**32, slots, dtype=np.uint32)


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
