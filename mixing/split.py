"""The split into train and validation, and the stable hash behind every random choice: no state, no order."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)

Hashes = npt.NDArray[np.int64]


def stable_hash(keys: Iterable[str], salt: str) -> Hashes:
    """63 bits of the SHA-256 of salt and key, for each key: uniform, and the same on every machine for ever."""
    prefix = hashlib.sha256(salt.encode() + b"\x00")
    digests = bytearray()
    for key in keys:
        state = prefix.copy()
        state.update(key.encode())
        digests += state.digest()[:8]
    return (np.frombuffer(bytes(digests), dtype=">u8") >> np.uint64(1)).astype(np.int64)


def within(hashes: Hashes, share: float | npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each hash is in the lowest `share` (0 to 1) of all possible hashes. A larger share only adds members."""
    # A float holds 53 bits exactly; all 63 could round up to 1.
    return (hashes >> 10) / float(1 << 53) < share


def in_validation(clusters: Iterable[str], shares: float | npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.bool_]:
    """Whether each document is held out, from its duplicate cluster and the share that the cluster holds out.

    A cluster has one share, so all its documents fall on one side. A new document moves no other, unless it becomes the
    smallest id of a cluster, which names the cluster.
    """
    return within(stable_hash(clusters, f"split:{seed}"), shares)
