"""Text with its place on a PDF's page."""

from dataclasses import dataclass


@dataclass(slots=True)
class Piece:
    """Text on one baseline without a wide gap. In points; `bottom` and `top` are heights above the page's foot."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2
