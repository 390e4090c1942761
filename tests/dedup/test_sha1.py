"""SHA-1 is hashlib's."""

import hashlib
import random

import numpy as np
import pytest

from dedup.sha1 import SCHEDULE, sha1_head


@pytest.mark.parametrize("sizes", [range(200), range(8_000, 8_003)])
def test_the_first_four_bytes_for_every_length_around_a_block(sizes: range) -> None:
    schedule = np.full(SCHEDULE, 0xFFFFFFFF, np.uint32)
    source = random.Random(1)
    for size in sizes:
        data = source.randbytes(size)
        around = np.frombuffer(b"\xff\x01" + data + b"\xfe", np.uint8)
        expected = hashlib.sha1(data).digest()[:4]
        assert int(sha1_head(around, 2, 2 + size, schedule)).to_bytes(4, "little") == expected, size
