"""Words of Arrow text as 64-bit hashes: the words of `re.findall(r"\\w+", text.lower())`, for all of Unicode.

The kernel is compiled and makes no Python object per word. Its tables of word characters and of lower case come from
Python itself, once per process. Two cases fit no such table and are part of the kernel: U+0130 becomes `i` and a
combining dot that ends the word, and the form of a capital sigma depends on its neighbours.
"""

import functools
import re
import sys
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, uint64
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

WORD, CASED, IGNORABLE = 1, 2, 4
SIGMA, FINAL_SIGMA, SMALL_SIGMA, DOTTED_I, SPACE = 0x3A3, 0x3C2, 0x3C3, 0x130, 0x20
_CODE_POINTS = sys.maxunicode + 1
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_START = np.uint64(0x2545F4914F6CDD1D)
_BASE = np.uint64(0xD6E8FEB86659FD93)


class Unicode(NamedTuple):
    """Properties of code points.

    Attributes:
        flags: uint8[0x110000], bits WORD (of the lower-case character), CASED, IGNORABLE.
        lower: int32[…], the lower-case code points, `i` for U+0130, up to the last one that differs.
        ascii: uint8[128], the lower-case character, or 0 where it is not part of a word.
    """

    flags: Bytes
    lower: NDArray[np.int32]
    ascii: Bytes


@functools.cache
def unicode_tables() -> Unicode:
    """The tables of this Python's Unicode version, from `str.lower` and `re`."""
    points = [chr(point) for point in range(_CODE_POINTS)]
    points[DOTTED_I] = "i"
    lowered = "".join(points).lower().replace(chr(FINAL_SIGMA), chr(SMALL_SIGMA))
    lower = np.frombuffer(lowered.encode("utf-32-le", "surrogatepass"), dtype=np.int32).copy()
    lower[FINAL_SIGMA] = FINAL_SIGMA
    flags = np.zeros(_CODE_POINTS, dtype=np.uint8)
    for match in re.finditer(r"\w+", "".join(map(chr, lower.tolist()))):
        flags[match.start() : match.end()] |= WORD
    # Python shows which characters are cased or case-ignorable only by what a sigma after them becomes.
    after_point = _sigma_is_final([point + "Σ " for point in points], 3)
    after_letter = _sigma_is_final(["A" + point + "Σ " for point in points], 4)
    flags[after_point] |= CASED
    flags[after_letter & ~after_point] |= IGNORABLE
    changed = int(np.flatnonzero(lower != np.arange(_CODE_POINTS))[-1]) + 1
    ascii_lower = np.where(flags[:128] & WORD, lower[:128], 0).astype(np.uint8)
    return Unicode(flags, lower[:changed].copy(), ascii_lower)


def _sigma_is_final(texts: list[str], width: int) -> NDArray[np.bool_]:
    """Whether the sigma of each text, `width` characters that end in a sigma and a space, takes its final form."""
    lowered = "".join(texts).lower().encode("utf-32-le", "surrogatepass")
    return np.frombuffer(lowered, dtype=np.int32).reshape(-1, width)[:, width - 2] == FINAL_SIGMA


def text_buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[Bytes, Places]:
    """The UTF-8 bytes of a string or large_string array and the n + 1 offsets of its texts. A null is an empty text."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    if texts.null_count:
        texts = texts.fill_null("")
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"", dtype=np.uint8), places


@njit(uint64(uint64), cache=True, nogil=True, inline="always")
def mix(value: int) -> int:
    """A bijection of 64 bits in which each output bit depends on each input bit (Stafford's variant 13)."""
    value = (value ^ (value >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> uint64(27))) * uint64(0x94D049BB133111EB)
    return value ^ (value >> uint64(31))


@njit(cache=True, nogil=True)
def decode(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    """The code point at a non-ASCII byte and its length; (-1, 1) where the bytes are not UTF-8."""
    lead = data[at]
    if 0xC2 <= lead < 0xE0:
        length, point = 2, lead & 0x1F
    elif 0xE0 <= lead < 0xF0:
        length, point = 3, lead & 0x0F
    elif 0xF0 <= lead < 0xF5:
        length, point = 4, lead & 0x07
    else:
        return -1, 1
    if at + length > stop:
        return -1, 1
    value = int(point)
    for step in range(1, length):
        follow = data[at + step]
        if follow & 0xC0 != 0x80:
            return -1, 1
        value = (value << 6) | int(follow & 0x3F)
    least = 0x80 if length == 2 else 0x800 if length == 3 else 0x10000
    return (int(value), length) if least <= value <= 0x10FFFF else (-1, 1)


@njit(cache=True, nogil=True)
def _sigma(data: Bytes, start: int, at: int, stop: int, flags: Bytes) -> int:
    """The lower case of the capital sigma at `at`: the final form after a cased letter if none follows."""
    before = at - 1
    while before >= start:
        while before > start and data[before] & 0xC0 == 0x80:
            before -= 1
        point = int(data[before])
        if point >= 128:
            point, _ = decode(data, before, stop)
        if point < 0 or not flags[point] & IGNORABLE:
            if point < 0 or not flags[point] & CASED:
                return SMALL_SIGMA
            break
        before -= 1
    if before < start:
        return SMALL_SIGMA
    after = at + 2
    while after < stop:
        point, length = int(data[after]), 1
        if point >= 128:
            point, length = decode(data, after, stop)
        if point < 0 or not flags[point] & IGNORABLE:
            return SMALL_SIGMA if point >= 0 and flags[point] & CASED else FINAL_SIGMA
        after += length
    return FINAL_SIGMA


@njit(cache=True, nogil=True)
def scan(data: Bytes, start: int, stop: int, tables: Unicode, words: Hashes, begins: Places, ends: Places) -> int:
    """Write the hashes of the words in `data[start:stop]` to `words`, and their places in bytes to `begins` and `ends`.

    Returns the number of words. `words` needs one element for two bytes, rounded up. `begins` and `ends` need as many,
    or none: then no places are written.
    """
    count = 0
    places = begins.size > 0
    value = _START
    begin = -1
    at = start
    while at < stop:
        byte = data[at]
        length = 1
        breaks = False
        if byte < 128:
            point = int(tables.ascii[byte])
            inside = point != 0
        else:
            point, length = decode(data, at, stop)
            inside = point >= 0 and tables.flags[point] & WORD != 0
            if inside:
                breaks = point == DOTTED_I
                if point == SIGMA:
                    point = _sigma(data, start, at, stop, tables.flags)
                elif point < tables.lower.size:
                    point = int(tables.lower[point])
        if inside:
            if begin < 0:
                begin = at
            value = (value ^ np.uint64(point)) * _PRIME
        at += length
        if begin >= 0 and (breaks or not inside or at >= stop):
            words[count] = mix(value)
            if places:
                begins[count] = begin
                ends[count] = at if inside else at - length
            count += 1
            value = _START
            begin = -1
    return count


@njit(cache=True, nogil=True)
def spell(
    data: Bytes, start: int, stop: int, tables: Unicode, count: int, begins: Places, ends: Places, out: Bytes
) -> None:
    """Write the `count` words of `scan` to `out` in lower case, with one space between two. `begins` and `ends` become
    their places in `out`.

    `out` needs twice the bytes of the text: a letter of two bytes may become one of three, and a new space follows a
    dotted I.
    """
    end = 0
    for word in range(count):
        at, last = begins[word], ends[word]
        begins[word] = end
        while at < last:
            byte = data[at]
            length = 1
            if byte < 128:
                point = int(tables.ascii[byte])
            else:
                point, length = decode(data, at, stop)
                if point == SIGMA:
                    point = _sigma(data, start, at, stop, tables.flags)
                elif point < tables.lower.size:
                    point = int(tables.lower[point])
            end = _encode(point, out, end)
            at += length
        ends[word] = end
        if word < count - 1:
            out[end] = SPACE
            end += 1


@njit(cache=True, nogil=True)
def _encode(point: int, out: Bytes, at: int) -> int:
    """Write a code point in UTF-8 to `out` at `at` and return where it ends."""
    if point < 0x80:
        out[at] = point
        return at + 1
    length = 2 if point < 0x800 else 3 if point < 0x10000 else 4
    for step in range(length - 1, 0, -1):
        out[at + step] = 0x80 | (point & 0x3F)
        point >>= 6
    # The first byte begins with as many ones as there are bytes, and a zero.
    out[at] = (0xF00 >> length) & 0xFF | point
    return at + length


@njit(cache=True, nogil=True)
def grams(words: Hashes, count: int, length: int, out: Hashes) -> int:
    """Write the hash of each run of `length` words to `out` and return the number of runs."""
    top = uint64(1)
    for _ in range(length):
        top *= _BASE
    rolling = uint64(0)
    for at in range(count):
        rolling = rolling * _BASE + words[at]
        if at >= length:
            rolling -= words[at - length] * top
        if at >= length - 1:
            out[at - length + 1] = mix(rolling)
    return max(0, count - length + 1)


def word_hashes(text: str) -> Hashes:
    """The hashes of a text's words, in order."""
    data, places = text_buffers(pa.array([text], pa.large_string()))
    words = np.empty(data.size // 2 + 1, dtype=np.uint64)
    none = np.empty(0, dtype=np.int64)
    return words[: scan(data, places[0], places[1], unicode_tables(), words, none, none)]
