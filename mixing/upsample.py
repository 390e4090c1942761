"""Upsampling: which papers are trained on more often than once, and which never, by what is known of them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, field_validator, model_validator

from lake import bundled
from lake.config import Settings
from mixing.split import stable_hash, within

JOURNALS = Path(__file__).parent / "journals"
TABLE_10 = "table10"
SALT = "upsample"
DATE = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2]))?")
"""Year and month that an ISO 8601 date of any precision begins with."""

MONTHS = 12
TYPES = {
    **dict.fromkeys(("Guideline", "Practice Guideline", "Patient Education Handout", "Meta-Analysis"), 1.0),
    **dict.fromkeys(("Systematic Review", "Clinical Trial, Phase IV"), 0.8),
    "Clinical Trial, Phase III": 0.6,
    **dict.fromkeys(("Randomized Controlled Trial", "Review", "Observational Study", "Comparative Study"), 0.5),
    **dict.fromkeys(("Clinical Trial, Phase II", "Clinical Study"), 0.4),
    "Clinical Trial, Phase I": 0.2,
    **dict.fromkeys(("Editorial", "Letter", "Comment"), 0.1),
}
"""Table 10's scores by publication type, as PubMed writes them. Case Reports and all others score nothing."""

Quantiles = Mapping[str, tuple[int, int]]
"""By year of publication, in four digits: the citations that bound the bottom and the top of the source's papers."""


class JournalList(Settings):
    """A YAML file of journals' names."""

    journals: tuple[str, ...]


class AgeScores(Settings):
    """Scores by a paper's age at the reference date: younger than `young` years, up to `old` years, older."""

    young: NonNegativeFloat = 5.5
    old: NonNegativeFloat = 10.0
    scores: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (1.0, 0.2, 0.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.young > self.old:
            raise ValueError(f"young is {self.young:g} years and old {self.old:g}; young is the smaller one")
        return self


class CitationScores(Settings):
    """Scores by citations among the source's papers of the same year: the `top` share, the middle, the `bottom` share.

    Of papers with equally many citations all have the lower score, so one that is never cited is at the bottom.
    """

    top: float = Field(default=0.25, ge=0, le=0.5)
    bottom: float = Field(default=0.25, ge=0, le=0.5)
    scores: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (1.0, 0.5, 0.0)


class Upsampling(Settings):
    """Scores of papers, of which a paper has 1 + their sum as copies. The defaults are table 10 of the MEDITRON paper
    (arXiv 2311.16079), which `table10` stands for.

    Names are matched whatever their case and punctuation. A category that is given replaces the default's whole.

    Attributes:
        reference: Year and month at which a paper's age is taken.
        types: Score of each publication type; a paper of several has the sum.
        journals: Journals that count as reviewed: names, or the list `known` that comes with the project, or the path
            of a YAML file of one's own.
        journal: Score of a paper in one of them.
        age: Counted only where the categories above come to more than 0.
        citations: Likewise.
        drop_types: A paper of one of these publication types is filtered out.
        drop_mesh: Likewise with one of these MeSH headings.
    """

    reference: str = Field(default="2023-07", pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    types: dict[str, NonNegativeFloat] = Field(default_factory=lambda: dict(TYPES))
    journals: tuple[str, ...] = Field(default="known", validate_default=True)
    journal: NonNegativeFloat = 1.0
    age: AgeScores = Field(default_factory=AgeScores)
    citations: CitationScores = Field(default_factory=CitationScores)
    drop_types: tuple[str, ...] = ("Observational Study, Veterinary", "Retracted Publication", "Preprint")
    drop_mesh: tuple[str, ...] = ("Animals",)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given != TABLE_10:
                raise ValueError(f"{given}: give {TABLE_10}, or the keys that differ from it")
            return {}
        return given

    @field_validator("journals", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """The names themselves, so that they are part of the step's fingerprint."""
        if isinstance(given, str):
            return bundled.read(bundled.locate(given, JOURNALS, "list of journals"), JournalList).journals
        return given


@dataclass(frozen=True, slots=True)
class Scored:
    """What a paper's score is made of; where it is filtered out, `categories` is the one it is filtered out for."""

    score: float
    categories: tuple[str, ...]
    filtered_out: bool = False


class Scorer:
    """Scores the papers of one source."""

    def __init__(self, settings: Upsampling, quantiles: Quantiles) -> None:
        """`quantiles` are those of the source's papers; a year that is not among them has no citations to compare."""
        self._settings = settings
        self._quantiles = quantiles
        self._types = {plain(name): (name, score) for name, score in settings.types.items()}
        self._journals = {plain(name) for name in settings.journals}
        self._drops = {plain(name): name for name in settings.drop_types}
        self._drops_mesh = {plain(name): f"MeSH {name}" for name in settings.drop_mesh}
        self._reference = _months(settings.reference)

    def score(
        self,
        types: Sequence[str] | None,
        mesh: Sequence[str] | None,
        journal: str | None,
        published: str | None,
        citations: int | None,
    ) -> Scored:
        """The score of a paper, from these fields of its `meta`."""
        mine, headings = [plain(name) for name in types or ()], [plain(name) for name in mesh or ()]
        against = [self._drops[name] for name in mine if name in self._drops]
        against += [self._drops_mesh[name] for name in headings if name in self._drops_mesh]
        if against:
            return Scored(0.0, (against[0],), filtered_out=True)
        found = {self._types[name] for name in mine if name in self._types}
        if journal is not None and plain(journal) in self._journals:
            found.add(("reviewed journal", self._settings.journal))
        if sum(score for _, score in found) > 0:
            found |= {self._age(published), self._cited(published, citations)}
        names = tuple(sorted(name for name, _ in found))
        # Scores are decimal fractions, of which sums in binary are a little off.
        return Scored(round(math.fsum(score for _, score in found), 9), names)

    def _age(self, published: str | None) -> tuple[str, float]:
        if year_of(published) is None:
            return "age unknown", 0.0
        settings = self._settings.age
        months = self._reference - _months(published)
        place = 0 if months < settings.young * MONTHS else 1 if months <= settings.old * MONTHS else 2
        return ("age young", "age middle", "age old")[place], settings.scores[place]

    def _cited(self, published: str | None, citations: int | None) -> tuple[str, float]:
        bounds = self._quantiles.get(year_of(published) or "")
        if citations is None or bounds is None:
            return "citations unknown", 0.0
        bottom, top = bounds
        place = 0 if citations > top else 1 if citations > bottom else 2
        return ("citations top", "citations middle", "citations bottom")[place], self._settings.citations.scores[place]


def counts(ids: Iterable[str], scored: Sequence[Scored]) -> npt.NDArray[np.int32]:
    """How often each paper is in the upsampled source: 1 + its score, rounded at random in proportion to the fraction,
    by a hash of its id alone, so the same in every run; 0 where it is filtered out.
    """
    scores = np.array([one.score for one in scored], dtype=np.float64)
    whole = np.floor(scores)
    more = within(stable_hash(ids, SALT), scores - whole)
    stays = np.array([not one.filtered_out for one in scored], dtype=np.bool_)
    return np.where(stays, 1 + whole + more, 0).astype(np.int32)


def year_of(published: str | None) -> str | None:
    """The four digits of the year that an ISO 8601 date of any precision begins with."""
    found = DATE.match(published or "")
    return found[1] if found else None


def _months(published: str | None) -> float:
    """Months since the year 0. Of a year alone it is the middle; a day is not looked at."""
    found = DATE.match(published or "")
    assert found is not None
    return int(found[1]) * MONTHS + (int(found[2]) if found[2] else (MONTHS + 1) / 2)


@lru_cache(maxsize=1 << 16)
def plain(name: str) -> str:
    """A name by its words alone: `Clinical Trial, Phase IV` is `clinical trial phase iv`, and so is any other way to
    write it; `The` before it counts for nothing, and `&` is `and`.
    """
    return " ".join(re.findall(r"\w+", name.casefold().replace("&", " and "))).removeprefix("the ")
