"""Upsampling: how often a paper is trained on, by its publication type, journal, age and citations."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from lake import bundled
from lake.config import Settings
from lake.error import UserError
from lake.values import Score, Share, Text
from mixing.split import stable_hash, within

JOURNALS = Path(__file__).parent / "journals"
TABLE_10 = "table10"
SALT = "upsample"
DATE = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2]))?")
"""The year and the month, if any, at the beginning of an ISO 8601 date."""

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
"""Scores of table 10 by publication type, as PubMed writes it. Case Reports and all other types score 0."""

Quantiles = Mapping[str, tuple[int, int]]
"""By four-digit year of publication: the most citations of a paper at the bottom, and of one that is not at the top."""


class JournalList(Settings):
    """A YAML file with names of journals."""

    journals: tuple[str, ...]


class AgeScores(Settings):
    """Scores by a paper's age at the reference date: younger than `young` years, up to `old` years, older."""

    young: Score = 5.5
    old: Score = 10.0
    scores: tuple[Score, Score, Score] = (1.0, 0.2, 0.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.young > self.old:
            raise ValueError(f"young is {self.young:g} years and old {self.old:g}; young must not be above old")
        return self


class CitationScores(Settings):
    """Scores by citations among the source's papers of the same year: the `top` share, the middle, the `bottom` share.

    Papers with equally many citations all get the lower score, so a paper without citations is at the bottom.
    """

    top: Annotated[Share, Field(le=0.5)] = 0.25
    bottom: Annotated[Share, Field(le=0.5)] = 0.25
    scores: tuple[Score, Score, Score] = (1.0, 0.5, 0.0)


class Upsampling(Settings):
    """Scores of papers. A paper gets 1 + the sum of its scores as copies. The defaults, also called `table10`, are
    those of table 10 of the MEDITRON paper (arXiv 2311.16079).

    Case and punctuation of names do not matter. A category in the config replaces the whole default of that category.

    Attributes:
        reference: Year and month at which a paper's age is taken.
        types: Score of each publication type; a paper with several types gets the sum.
        journals: Journals that count as reviewed: their names, or `known` for the project's list, or the path of a
            YAML file.
        journal: Score of a paper in one of these journals.
        age: Scores by age. They count only where the scores above sum to more than 0.
        citations: Scores by citations. They count likewise.
        drop_types: Papers of these publication types are filtered out.
        drop_mesh: Papers with these MeSH headings are filtered out.
    """

    reference: str = Field(default="2023-07", pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    types: dict[Text, Score] = Field(default_factory=lambda: dict(TYPES))
    journals: tuple[Text, ...] = Field(default="known", validate_default=True)
    journal: Score = 1.0
    age: AgeScores = Field(default_factory=AgeScores)
    citations: CitationScores = Field(default_factory=CitationScores)
    drop_types: tuple[Text, ...] = ("Observational Study, Veterinary", "Retracted Publication", "Preprint")
    drop_mesh: tuple[Text, ...] = ("Animals",)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value != TABLE_10:
                raise ValueError(f"{value}: give {TABLE_10}, or the keys that differ from it")
            return {}
        return value

    @field_validator("journals", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """The names themselves, so that they are part of the step's fingerprint."""
        try:
            if isinstance(value, str):
                return bundled.read(bundled.locate(value, JOURNALS, "list of journals"), JournalList).journals
        except UserError as error:
            raise ValueError(str(error)) from None
        return value


@dataclass(frozen=True, slots=True)
class Scored:
    """A paper's score and the categories behind it: for a paper that is filtered out, the category that did it."""

    score: float
    categories: tuple[str, ...]
    filtered_out: bool = False


class Scorer:
    """Scores the papers of one source."""

    def __init__(self, settings: Upsampling, quantiles: Quantiles) -> None:
        """`quantiles` are those of the source. In a year without quantiles, citations are unknown."""
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
        kinds, headings = [plain(name) for name in types or ()], [plain(name) for name in mesh or ()]
        dropped = [self._drops[name] for name in kinds if name in self._drops]
        dropped += [self._drops_mesh[name] for name in headings if name in self._drops_mesh]
        if dropped:
            return Scored(0.0, (dropped[0],), filtered_out=True)
        scores = {self._types[name] for name in kinds if name in self._types}
        if journal is not None and plain(journal) in self._journals:
            scores.add(("reviewed journal", self._settings.journal))
        if sum(score for _, score in scores) > 0:
            scores |= {self._age(published), self._cited(published, citations)}
        names = tuple(sorted(name for name, _ in scores))
        # Binary sums of decimal fractions are a little off.
        return Scored(round(math.fsum(score for _, score in scores), 9), names)

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
    """How often each paper is in the upsampled source: 1 + its score, or 0 where it is filtered out.

    A fraction is the chance of one more copy. The hash of the id decides, so every run gives the same counts.
    """
    scores = np.array([paper.score for paper in scored], dtype=np.float64)
    whole = np.floor(scores)
    more = within(stable_hash(ids, SALT), scores - whole)
    stays = np.array([not paper.filtered_out for paper in scored], dtype=np.bool_)
    return np.where(stays, 1 + whole + more, 0).astype(np.int32)


def year_of(published: str | None) -> str | None:
    """The four-digit year of an ISO 8601 date of any precision."""
    date = DATE.match(published or "")
    return date[1] if date else None


def _months(published: str | None) -> float:
    """Months since the year 0. A year alone counts as its middle, and days are ignored."""
    date = DATE.match(published or "")
    assert date is not None
    return int(date[1]) * MONTHS + (int(date[2]) if date[2] else (MONTHS + 1) / 2)


@lru_cache(maxsize=1 << 16)
def plain(name: str) -> str:
    """A name reduced to its words: `Clinical Trial, Phase IV` becomes `clinical trial phase iv`. `&` becomes `and`, and
    a leading `The` is dropped.
    """
    return " ".join(re.findall(r"\w+", name.casefold().replace("&", " and "))).removeprefix("the ")
