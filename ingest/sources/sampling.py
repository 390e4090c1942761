"""A seeded sample of records that depends on each record alone: not on its file, its order or the number of workers."""

from collections.abc import Iterable
from hashlib import blake2b

from pydantic import Field

from ingest.raw_input import RawInput
from ingest.records import Metadata, Records, Rejected, Unsampled
from lake.document import Document

SIZE = 16
"""Bytes of a record's digest."""


class SampledInput(RawInput):
    """Inputs of which a random share is read.

    `keep` is the probability of a record, from 0 to 1; `seed` chooses another sample. Records that are not drawn have
    no decision: they are counted, as `unsampled` in the figures of `read`. `limit` counts those drawn.
    """

    keep: float = Field(default=1.0, gt=0, le=1)
    seed: int = 1234

    @property
    def share(self) -> float:
        return self.keep

    @property
    def tables(self) -> frozenset[str]:
        return frozenset({"unsampled"})


def digest(data: bytes) -> str:
    """A name for a record that has none: 32 hex digits of its bytes."""
    return blake2b(data, digest_size=SIZE).hexdigest()


def draw(data: bytes, seed: int) -> float:
    """The number from 0 to below 1 that a record has with a seed; it is drawn where that is below `keep`."""
    found = blake2b(data, digest_size=8, key=str(seed).encode()[:64]).digest()
    return int.from_bytes(found) / 2**64


def sampled(found: Iterable[Document | Rejected | Metadata | None]) -> Records:
    """The same records, with the number of those passed over (None) in place of them."""
    passed = 0
    for record in found:
        if record is None:
            passed += 1
            continue
        if passed:
            yield Unsampled(passed)
            passed = 0
        yield record
    if passed:
        yield Unsampled(passed)
