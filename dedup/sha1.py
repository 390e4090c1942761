"""The first four bytes of SHA-1 (FIPS 180-4) for compiled code, as a hash of shingles."""

import numpy as np
from numba import njit, uint32
from numpy.typing import NDArray

from dedup.words import Bytes

Schedule = NDArray[np.uint32]
State = tuple[int, int, int, int, int]

SCHEDULE = 80
"""Words of 32 bits to which a block is expanded."""

_BLOCK = 64
_START = (uint32(0x67452301), uint32(0xEFCDAB89), uint32(0x98BADCFE), uint32(0x10325476), uint32(0xC3D2E1F0))


@njit(cache=True, nogil=True)
def sha1_head(data: Bytes, start: int, stop: int, schedule: Schedule) -> int:
    """The first four bytes of the digest of `data[start:stop]` as a little-endian number.

    `schedule` is scratch space: uint32[SCHEDULE].
    """
    state = _START
    at = start
    while stop - at >= _BLOCK:
        for word in range(16):
            schedule[word] = _big_endian(data, at + 4 * word)
        state = _rounds(state, schedule)
        at += _BLOCK
    schedule[:16] = 0
    for place in range(stop - at + 1):
        byte = uint32(data[at + place]) if at + place < stop else uint32(0x80)
        schedule[place >> 2] |= byte << uint32(24 - 8 * (place & 3))
    if stop - at >= _BLOCK - 8:
        state = _rounds(state, schedule)
        schedule[:16] = 0
    bits = 8 * (stop - start)
    schedule[14], schedule[15] = uint32(bits >> 32), uint32(bits)
    head = _rounds(state, schedule)[0]
    swapped = (_rotate(head, 8) & uint32(0x00FF00FF)) | (_rotate(head, 24) & uint32(0xFF00FF00))
    return uint32(swapped)


@njit(cache=True, nogil=True)
def _big_endian(data: Bytes, at: int) -> int:
    value = uint32(0)
    for step in range(4):
        value = uint32(value << uint32(8)) | uint32(data[at + step])
    return value


@njit(cache=True, nogil=True)
def _rotate(value: int, by: int) -> int:
    return uint32(value << uint32(by)) | uint32(value >> uint32(32 - by))


@njit(cache=True, nogil=True)
def _rounds(state: State, schedule: Schedule) -> State:
    """The state after a block, which is the first 16 words of `schedule`."""
    for step in range(16, SCHEDULE):
        earlier = schedule[step - 3] ^ schedule[step - 8] ^ schedule[step - 14] ^ schedule[step - 16]
        schedule[step] = _rotate(earlier, 1)
    a, b, c, d, e = state
    for step in range(SCHEDULE):
        if step < 20:
            mixed = uint32((b & c | ~b & d) + uint32(0x5A827999))
        elif step < 40:
            mixed = uint32((b ^ c ^ d) + uint32(0x6ED9EBA1))
        elif step < 60:
            mixed = uint32((b & c | b & d | c & d) + uint32(0x8F1BBCDC))
        else:
            mixed = uint32((b ^ c ^ d) + uint32(0xCA62C1D6))
        turned = uint32(_rotate(a, 5) + mixed + e + schedule[step])
        a, b, c, d, e = turned, a, _rotate(b, 30), c, d
    p, q, r, s, t = state
    return uint32(p + a), uint32(q + b), uint32(r + c), uint32(s + d), uint32(t + e)
