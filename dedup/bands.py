"""The cut of a signature into bands, which follows from the threshold and the recall."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bands:
    """`bands` groups of `rows` slots each. Two documents are candidates where all slots of a band agree."""

    bands: int
    rows: int

    @property
    def slots(self) -> int:
        """The length of a signature."""
        return self.bands * self.rows

    def recall(self, jaccard: float) -> float:
        """The probability that two documents of this Jaccard become candidates: the S curve 1 - (1 - J^rows)^bands."""
        return -math.expm1(self.bands * math.log1p(-(jaccard**self.rows))) if jaccard < 1 else 1.0

    def curve(self) -> dict[str, float]:
        """The S curve at twenty values of the Jaccard, for the manifest and the report."""
        return {f"{step / 20:.2f}": round(self.recall(step / 20), 6) for step in range(1, 21)}


def choose(threshold: float, recall: float, slots: int) -> Bands:
    """The cut with the most rows, hence the fewest false candidates, whose recall at the threshold is at least `recall`
    and which needs at most `slots` slots.

    Raises:
        ValueError: even one row per band needs more slots.
    """
    best: Bands | None = None
    for rows in range(1, slots + 1):
        if threshold**rows * slots < recall:
            # With so few agreeing, no number of bands up to `slots` suffices, nor does one with more rows.
            break
        bands = _enough(threshold**rows, recall)
        if bands * rows <= slots:
            best = Bands(bands, rows)
    if best is None:
        need = _enough(threshold, recall)
        raise ValueError(f"recall {recall} at threshold {threshold} needs at least {need} slots, not {slots}")
    return best


def _enough(agree: float, recall: float) -> int:
    """Bands needed so that any of them agrees with probability `recall`, where each does with probability `agree`."""
    if agree >= 1:
        return 1
    bands = max(1, math.ceil(math.log1p(-recall) / math.log1p(-agree)))
    return bands if -math.expm1(bands * math.log1p(-agree)) >= recall else bands + 1
