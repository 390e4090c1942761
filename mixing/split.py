"""Train or validation, and every other choice left to chance, by a stable hash: no state, no order, no neighbours."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)

Hashes = npt.NDArray[np.int64]


def stable_hash(keys: Iterable[str], salt: str) -> Hashes:
    """For each key 63 bits of the SHA-256 of salt and key: uniform, and the same on every machine for ever."""
    prefix = hashlib.sha256(salt.encode() + b"\x00")
    found = bytearray()
    for key in keys:
        state = prefix.copy()
        state.update(key.encode())
        found += state.digest()[:8]
    return (np.frombuffer(bytes(found), dtype=">u8") >> np.uint64(1)).astype(np.int64)


def within(hashes: Hashes, share: float | npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each hash is in the lowest `share` (0 to 1) of all there can be; a larger share only adds members."""
    # 53 bits are exact as a float; all 63 could round up to 1.
    return (hashes >> 10) / float(1 << 53) < share


def in_validation(clusters: Iterable[str], shares: float | npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.bool_]:
    """Whether documents are held out, given their duplicate clusters and the share that each cluster holds out.

    A cluster has one share, so all its documents fall on one side. Another document in the corpus changes nothing,
    unless it joins a cluster and becomes its smallest id, after which the cluster is named.
    """
    return within(stable_hash(clusters, f"split:{seed}"), shares)
