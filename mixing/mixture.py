"""The mixture: from what the sources hold and what is asked for, how many tokens each gives and who is taken."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lake import bundled
from lake.config import Settings
from lake.error import UserError
from mixing.split import TRAIN, VALIDATION
from mixing.upsample import Upsampling

Int64s = npt.NDArray[np.int64]
MIXTURES = Path(__file__).parent / "mixtures"
NAMED = "mixture"
BUDGETS = ("keep", "tokens", "ratio")


class SourceMix(Settings):
    """What one source gives.

    `validation` is the share of its documents that is held out (a cluster of duplicates has that of its first
    document's source); the rest is for training, where at most one of these sets a budget: `keep`, a share of its train
    tokens; `tokens`, a number of them; `ratio`, a share of the train tokens of the whole mixture. A budget beyond the
    source's tokens repeats documents, at most `max_epochs` times; `tokens: 0` leaves the source out of training, not
    what it holds out.

    `upsample` makes the source anew before all else: its train documents count as often as their scores say, and those
    that it filters out are in neither split. A budget, `max_epochs` and `available` are of tokens so counted, and an
    epoch takes each document that often.
    """

    validation: float = Field(default=0, ge=0, lt=1)
    keep: float | None = Field(default=None, gt=0, le=1)
    tokens: int | None = Field(default=None, ge=0)
    ratio: float | None = Field(default=None, gt=0, lt=1)
    max_epochs: float = Field(default=1, ge=1, allow_inf_nan=False)
    upsample: Upsampling | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if sum(getattr(self, one) is not None for one in BUDGETS) > 1:
            raise ValueError("give at most one of keep, tokens and ratio")
        return self

    @property
    def left_out(self) -> bool:
        return self.tokens == 0


class MixSettings(Settings):
    """What every source of the corpus gives to training and validation, by the source's name.

    In its place a config can name one of the mixtures that the MEDITRON paper tried, as in `mix: gap-replay`, or the
    path of a YAML file. Keys beside the name are laid over that mixture: `{mixture: gap-replay, sources: {replay:
    {ratio: 0.02}}}`, or `mix.sources.replay.ratio=0.02` on the command line. A budget takes the place of the mixture's.
    """

    sources: dict[str, SourceMix] = Field(min_length=1)

    @classmethod
    def written_out(cls, given: Any) -> Any:
        return {NAMED: given} if isinstance(given, str) else given

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        given = cls.written_out(given)
        if not isinstance(given, dict) or NAMED not in given:
            return given
        if not isinstance(given[NAMED], str):
            raise ValueError(f"{NAMED} is a mixture's name or the path of a YAML file, not {given[NAMED]!r:.80}")
        ready = _ready(bundled.locate(given[NAMED], MIXTURES, "mixture")).model_dump()["sources"]
        sources = given.get("sources") or {}
        if isinstance(sources, dict):
            sources = ready | {source: _laid_over(ready.get(source, {}), one) for source, one in sources.items()}
        return {key: one for key, one in given.items() if key != NAMED} | {"sources": sources}

    @model_validator(mode="after")
    def _ratios(self) -> Self:
        given = [one for one in self.sources.values() if not one.left_out]
        ratios = [one.ratio for one in given if one.ratio is not None]
        if ratios and len(ratios) == len(given):
            if abs(sum(ratios) - 1) > 1e-9:
                raise ValueError(
                    f"where all sources but those of tokens: 0 have a ratio they add up to 1, not {sum(ratios):g}"
                )
        elif sum(ratios) >= 1:
            raise ValueError(f"ratios add up to {sum(ratios):g}, which leaves nothing for the other sources")
        return self


_OPEN: ContextVar[tuple[Path, ...]] = ContextVar("_OPEN", default=())
"""The files of mixtures that are being read, each named by the one before."""


def _ready(file: Path) -> MixSettings:
    """The mixture of a file, which may name another.

    Raises:
        UserError: the file is not a mixture's, or comes back to itself.
    """
    before, this = _OPEN.get(), file.resolve()
    if this in before:
        raise UserError(f"{file}: {NAMED}: it names itself, perhaps through others; name another or write sources")
    opened = _OPEN.set((*before, this))
    try:
        return bundled.read(file, MixSettings)
    finally:
        _OPEN.reset(opened)


def _laid_over(ready: dict[str, Any], own: Any) -> Any:
    """A source's keys with those of one's own in their place, where a budget of one's own ends the other kinds."""
    if not isinstance(own, dict):
        return own
    return ready | (dict.fromkeys(BUDGETS) if own.keys() & set(BUDGETS) else {}) | own


def check_sources(settings: MixSettings, sources: Iterable[str]) -> None:
    """Every source of the corpus must have an entry, or its documents would vanish without a verdict.

    Raises:
        UserError: one has none.
    """
    if unknown := sorted(set(sources) - settings.sources.keys()):
        raise UserError(f"mix.sources: no entry for {unknown[0]}, which the corpus has; add one")


@dataclass(frozen=True)
class Budget:
    """Train tokens of one source: how many it has, how many are wanted, how many it can give (ends included).

    What it has is counted after upsampling.
    """

    available: int
    wanted: int
    tokens: int

    @property
    def missing(self) -> int:
        """By how much what was asked for cannot be met."""
        return self.wanted - self.tokens


def budgets(settings: MixSettings, available: Mapping[str, int]) -> dict[str, Budget]:
    """The train tokens each source gives, from those it has once its validation documents are set apart.

    Sources with a ratio share one total with the others, which their own tokens, `keep` or `tokens` fix. Where all that
    are not left out have one, the total is the largest for which no source that has any lacks tokens.
    """
    held = {source: available.get(source, 0) for source in settings.sources}
    most = {source: round(one.max_epochs * held[source]) for source, one in settings.sources.items()}
    wanted = {source: _fixed(one, held[source]) for source, one in settings.sources.items() if one.ratio is None}
    ratios = {source: one.ratio for source, one in settings.sources.items() if one.ratio is not None}
    if all(settings.sources[source].left_out for source in wanted):
        total = min((most[source] / ratio for source, ratio in ratios.items() if most[source]), default=0)
    else:
        total = sum(min(tokens, most[source]) for source, tokens in wanted.items()) / (1 - sum(ratios.values()))
    wanted |= {source: round(ratio * total) for source, ratio in ratios.items()}
    return {
        source: Budget(held[source], wanted[source], min(wanted[source], most[source])) for source in settings.sources
    }


def _fixed(one: SourceMix, held: int) -> int:
    if one.tokens is not None:
        return one.tokens
    return held if one.keep is None else round(one.keep * held)


def copies(tokens: Int64s, before: Int64s, budget: Budget) -> npt.NDArray[np.int32]:
    """How often each document of a source is taken, so that the sum comes nearest to the source's budget.

    `tokens` are the documents' tokens, of an upsampled one those of its count of copies, all of which are taken each
    time; `before` are those of all documents ahead of them in the source's random order.
    Whole epochs take every document; what is left of the budget takes documents in that order for as long as each
    brings the sum nearer. A budget above zero takes at least one document.
    """
    if not budget.available or not budget.tokens:
        return np.zeros(tokens.size, dtype=np.int32)
    whole, rest = divmod(budget.tokens, budget.available)
    more = 2 * before + tokens < 2 * rest
    if not whole:
        more |= before == 0
    return whole + more.astype(np.int32)


@dataclass(frozen=True)
class Share:
    """What a split of a source came to: distinct documents, and tokens counted with their copies and ends."""

    documents: int = 0
    tokens: int = 0


def foresee(settings: MixSettings, held: Mapping[str, Share]) -> list[dict[str, Any]]:
    """The mixture's table while only the sums of each source are known: what it holds, train and validation together.

    A split and a budget are taken to hit documents of average length. Nothing is known yet of duplicates and of
    upsampling, so that both are left out.

    Raises:
        UserError: a source has no entry in the settings.
    """
    check_sources(settings, held)
    validation = {source: _part(one, settings.sources[source].validation) for source, one in held.items()}
    train = {
        source: Share(one.documents - validation[source].documents, one.tokens - validation[source].tokens)
        for source, one in held.items()
    }
    planned = budgets(settings, {source: one.tokens for source, one in train.items()})
    planned = {source: budget for source, budget in planned.items() if source in held or budget.wanted}
    shares = {(source, VALIDATION): one for source, one in validation.items()}
    for source, one in train.items():
        taken = _part(one, min(1.0, planned[source].tokens / one.tokens) if one.tokens else 0.0)
        shares[source, TRAIN] = Share(taken.documents, planned[source].tokens)
    return mixture_table(shares, planned)


def _part(whole: Share, share: float) -> Share:
    return Share(round(whole.documents * share), round(whole.tokens * share))


def mixture_table(shares: Mapping[tuple[str, str], Share], planned: Mapping[str, Budget]) -> list[dict[str, Any]]:
    """The mixture by source, then in total, in the shape of the MEDITRON paper's table 1 (arXiv 2311.16079).

    Counts are documents and tokens; `held_out` is validation's part of the documents, `share` a source's part of all
    train tokens, `epochs` how often a train token that the source has is trained on.
    """
    everything = sum(shares.get((source, TRAIN), Share()).tokens for source in planned)
    rows = [_row(source, shares, budget, everything) for source, budget in sorted(planned.items())]
    return [*rows, _total(rows)]


def _row(source: str, shares: Mapping[tuple[str, str], Share], budget: Budget, everything: int) -> dict[str, Any]:
    train, validation = (shares.get((source, split), Share()) for split in (TRAIN, VALIDATION))
    return _derived(
        {
            "source": source,
            "train_documents": train.documents,
            "validation_documents": validation.documents,
            "train_tokens": train.tokens,
            "validation_tokens": validation.tokens,
            "available_tokens": budget.available,
            "budget_tokens": budget.tokens,
            "missing_tokens": budget.missing,
        },
        everything,
    )


def _total(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"source": "total"}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
    return _derived(total, total["train_tokens"])


def _derived(row: dict[str, Any], everything: int) -> dict[str, Any]:
    documents = row["train_documents"] + row["validation_documents"]
    return row | {
        "held_out": row["validation_documents"] / documents if documents else 0.0,
        "share": row["train_tokens"] / everything if everything else 0.0,
        "epochs": row["train_tokens"] / row["available_tokens"] if row["available_tokens"] else 0.0,
    }
