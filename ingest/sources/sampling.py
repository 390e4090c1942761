"""A seeded sample of records. It depends on each record alone, not on its file, its place or the workers."""

from collections.abc import Iterable
from hashlib import blake2b

from ingest.raw_input import RawInput
from ingest.records import Record, Records, Unsampled
from lake.values import Seed, SomeShare

SIZE = 16
"""Bytes of a record's digest."""


class SampledInput(RawInput):
    """Inputs of which a random share is read.

    `keep` is the probability that a record is drawn; `seed` chooses another sample. Records that are not drawn get no
    decision but are counted, as `unsampled` in the figures of `read`. `limit` counts the drawn ones.
    """

    keep: SomeShare = 1.0
    seed: Seed = 1234

    @property
    def share(self) -> float:
        return self.keep

    @property
    def tables(self) -> frozenset[str]:
        return frozenset({"unsampled"})


def digest(data: bytes) -> str:
    """An id for a record that has none: 32 hex digits from its bytes."""
    return blake2b(data, digest_size=SIZE).hexdigest()


def draw(data: bytes, seed: int) -> float:
    """A record's number for a seed, from 0 to below 1. It is drawn where the number is below `keep`."""
    return int.from_bytes(blake2b(data, digest_size=8, key=str(seed).encode()[:64]).digest()) / 2**64


def sampled(drawn: Iterable[Record | None]) -> Records:
    """The records, with the number of those passed over in place of them (None)."""
    passed = 0
    for record in drawn:
        if record is None:
            passed += 1
            continue
        if passed:
            yield Unsampled(passed)
            passed = 0
        yield record
    if passed:
        yield Unsampled(passed)
