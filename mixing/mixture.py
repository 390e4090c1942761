"""The mixture: how many tokens each source gives, and how often each of its documents is taken."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lake import bundled
from lake.config import Settings
from lake.error import UserError
from lake.values import AmountOrNone, ShareBelowAll, SomeShare, SourceName
from mixing.split import TRAIN, VALIDATION
from mixing.upsample import Upsampling

Int64s = npt.NDArray[np.int64]
MIXTURES = Path(__file__).parent / "mixtures"
NAMED = "mixture"
BUDGETS = ("keep", "tokens", "ratio")


class SourceMix(Settings):
    """What one source gives.

    `validation` is the share of its documents that is held out. A cluster of duplicates takes the share of the source
    of the document that names it. All other documents are for training, where at most one key sets a budget: `keep`, a
    share of the source's train tokens; `tokens`, a number of tokens; `ratio`, a share of the train tokens of the whole
    mixture. A budget above the source's tokens repeats documents, at most `max_epochs` times. `tokens: 0` leaves the
    source out of training; it still holds documents out.

    `upsample` comes first: it copies each train document as often as its score says, and documents that it filters out
    are in neither split. Budgets and `max_epochs` count these copies, and an epoch takes all of them.
    """

    validation: ShareBelowAll = 0
    keep: SomeShare | None = None
    tokens: AmountOrNone | None = None
    ratio: Annotated[SomeShare, Field(lt=1)] | None = None
    max_epochs: Annotated[float, Field(ge=1, le=1e5)] = 1
    upsample: Upsampling | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if sum(getattr(self, budget) is not None for budget in BUDGETS) > 1:
            raise ValueError("give at most one of keep, tokens and ratio")
        return self

    @property
    def left_out(self) -> bool:
        return self.tokens == 0


class MixSettings(Settings):
    """What each source of the corpus gives to training and validation, by the source's name.

    A config may instead name a mixture of the MEDITRON paper, as in `mix: gap-replay`, or the path of a YAML file. Keys
    beside the name override that mixture: `{mixture: gap-replay, sources: {replay: {ratio: 0.02}}}`, or
    `mix.sources.replay.ratio=0.02` on the command line. A budget replaces the source's budget, of whatever kind.
    """

    sources: dict[SourceName, SourceMix] = Field(min_length=1)

    @classmethod
    def written_out(cls, value: Any) -> Any:
        return {NAMED: value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        value = cls.written_out(value)
        if not isinstance(value, dict) or NAMED not in value:
            return value
        if not isinstance(value[NAMED], str):
            raise ValueError(f"{NAMED} is a mixture's name or the path of a YAML file, not {value[NAMED]!r:.80}")
        try:
            ready = _ready(bundled.locate(value[NAMED], MIXTURES, "mixture")).model_dump()["sources"]
        except UserError as error:
            raise ValueError(str(error)) from None
        sources = value.get("sources") or {}
        if isinstance(sources, dict):
            sources = ready | {name: _overridden(ready.get(name, {}), keys) for name, keys in sources.items()}
        return {key: section for key, section in value.items() if key != NAMED} | {"sources": sources}

    @model_validator(mode="after")
    def _ratios(self) -> Self:
        trained = [source for source in self.sources.values() if not source.left_out]
        ratios = [source.ratio for source in trained if source.ratio is not None]
        if ratios and len(ratios) == len(trained):
            if abs(sum(ratios) - 1) > 1e-9:
                raise ValueError(
                    f"where all sources but those of tokens: 0 have a ratio they add up to 1, not {sum(ratios):g}"
                )
        elif sum(ratios) >= 1:
            raise ValueError(f"ratios add up to {sum(ratios):g}, which leaves nothing for the other sources")
        return self


_OPEN: ContextVar[tuple[Path, ...]] = ContextVar("_OPEN", default=())
"""The files that are being read, each named by the one before it."""


def _ready(file: Path) -> MixSettings:
    """The mixture of a file, which may name another.

    Raises:
        UserError: the file is not a mixture, or it names itself.
    """
    outer, resolved = _OPEN.get(), file.resolve()
    if resolved in outer:
        raise UserError(f"{file}: {NAMED}: it names itself, perhaps through others; name another or write sources")
    token = _OPEN.set((*outer, resolved))
    try:
        return bundled.read(file, MixSettings)
    finally:
        _OPEN.reset(token)


def _overridden(ready: dict[str, Any], keys: Any) -> Any:
    """A source's keys with `keys` in their place. A budget among `keys` removes budgets of the other kinds."""
    if not isinstance(keys, dict):
        return keys
    return ready | (dict.fromkeys(BUDGETS) if keys.keys() & set(BUDGETS) else {}) | keys


def check_sources(settings: MixSettings, sources: Iterable[str]) -> None:
    """Every source of the corpus must have an entry, or its documents would leave without a decision.

    Raises:
        UserError: one has none.
    """
    if unknown := sorted(set(sources) - settings.sources.keys()):
        raise UserError(f"mix.sources: no entry for {unknown[0]}, which the corpus has; add one")


@dataclass(frozen=True)
class Budget:
    """Train tokens of one source, ends included: how many it has after upsampling, was asked for, and gives."""

    available: int
    requested: int
    tokens: int

    @property
    def missing(self) -> int:
        """How many requested tokens the source cannot give."""
        return self.requested - self.tokens


def budgets(settings: MixSettings, available: Mapping[str, int]) -> dict[str, Budget]:
    """The train tokens that each source gives, from those `available` without its validation documents.

    Sources without a ratio fix the total of the mixture: all their tokens, or what `keep` or `tokens` says. Where every
    source that trains has a ratio, the total is the largest for which none of them lacks tokens; empty ones do not
    count.
    """
    held = {name: available.get(name, 0) for name in settings.sources}
    most = {name: round(source.max_epochs * held[name]) for name, source in settings.sources.items()}
    requested = {name: _fixed(source, held[name]) for name, source in settings.sources.items() if source.ratio is None}
    ratios = {name: source.ratio for name, source in settings.sources.items() if source.ratio is not None}
    if all(settings.sources[name].left_out for name in requested):
        total = min((most[name] / ratio for name, ratio in ratios.items() if most[name]), default=0)
    else:
        total = sum(min(tokens, most[name]) for name, tokens in requested.items()) / (1 - sum(ratios.values()))
    requested |= {name: round(ratio * total) for name, ratio in ratios.items()}
    return {name: Budget(held[name], requested[name], min(requested[name], most[name])) for name in settings.sources}


def _fixed(source: SourceMix, held: int) -> int:
    if source.tokens is not None:
        return source.tokens
    return held if source.keep is None else round(source.keep * held)


def copies(tokens: Int64s, before: Int64s, budget: Budget) -> npt.NDArray[np.int32]:
    """How often each document of a source is taken, so that the sum comes nearest to the source's budget: [documents].

    `tokens` are the tokens of each document with all its upsampled copies, and `before` those of all documents before
    it in the source's random order. Whole epochs take every document. The rest of the budget takes documents in that
    order as long as each brings the sum nearer. A budget above zero takes at least one document.
    """
    if not budget.available or not budget.tokens:
        return np.zeros(tokens.size, dtype=np.int32)
    whole, rest = divmod(budget.tokens, budget.available)
    more = 2 * before + tokens < 2 * rest
    if not whole:
        more |= before == 0
    return whole + more.astype(np.int32)


@dataclass(frozen=True)
class Amount:
    """Distinct documents, and their tokens with copies and ends."""

    documents: int = 0
    tokens: int = 0


def amounts(counts: Iterable[tuple[str, str, int, int]]) -> dict[tuple[str, str], Amount]:
    """Sums by source and split of rows of source, split, documents and tokens."""
    sums: dict[tuple[str, str], Amount] = {}
    for source, split, documents, tokens in counts:
        amount = sums.get((source, split), Amount())
        sums[source, split] = Amount(amount.documents + documents, amount.tokens + tokens)
    return sums


def forecast(settings: MixSettings, held: Mapping[str, Amount]) -> list[dict[str, Any]]:
    """The mixture's table from the sums of each source, train and validation together.

    It assumes documents of average length, and leaves out duplicates and upsampling, which are not known yet.

    Raises:
        UserError: a source has no entry in the settings.
    """
    check_sources(settings, held)
    validation = {source: _part(amount, settings.sources[source].validation) for source, amount in held.items()}
    train = {
        source: Amount(amount.documents - validation[source].documents, amount.tokens - validation[source].tokens)
        for source, amount in held.items()
    }
    planned = budgets(settings, {source: amount.tokens for source, amount in train.items()})
    planned = {source: budget for source, budget in planned.items() if source in held or budget.requested}
    amounts = {(source, VALIDATION): amount for source, amount in validation.items()}
    for source, amount in train.items():
        taken = _part(amount, min(1.0, planned[source].tokens / amount.tokens) if amount.tokens else 0.0)
        amounts[source, TRAIN] = Amount(taken.documents, planned[source].tokens)
    return mixture_table(amounts, planned)


def _part(whole: Amount, share: float) -> Amount:
    return Amount(round(whole.documents * share), round(whole.tokens * share))


def mixture_table(amounts: Mapping[tuple[str, str], Amount], planned: Mapping[str, Budget]) -> list[dict[str, Any]]:
    """The mixture by source, then in total, in the shape of the MEDITRON paper's table 1 (arXiv 2311.16079).

    `amounts` are by source and split. Of the columns, `held_out` is validation's share of the documents, `share` the
    source's share of all train tokens, and `epochs` how often an available train token is trained on.
    """
    everything = sum(amounts.get((source, TRAIN), Amount()).tokens for source in planned)
    rows = [_row(source, amounts, budget, everything) for source, budget in sorted(planned.items())]
    return [*rows, _total(rows)]


def _row(source: str, amounts: Mapping[tuple[str, str], Amount], budget: Budget, everything: int) -> dict[str, Any]:
    train, validation = (amounts.get((source, split), Amount()) for split in (TRAIN, VALIDATION))
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
