"""How much the sources hold and what the mixture takes: planned, else counted, else expected, else estimated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from eval.numbers import percent
from gap.config import Config
from gap.raw import GB, Raw, present, to_come
from lake.step import Kind, Step, Steps, of_kind
from mixing.mixture import Amount, MixSettings, SourceMix, forecast

BYTES_PER_TOKEN = 3.9
"""Bytes of text, ends of documents included, for a tokenizer like Llama 2's: 3.8 in papers, 3.9 in abstracts, 4.1 in
pages. Measured by `gap run configs/nih.yaml data=../shared/data tokenizer='{package:
mistral_common/data/tokenizer.model.v1}' tokenizer`."""

BYTES_PER_DOCUMENT = 3_500
"""The mean of the guideline pages in ../shared/data, used if nothing else is known."""

Origin = Literal["planned", "counted", "expected", "estimated"]


@dataclass(frozen=True)
class Foreseen:
    """The amounts that `gap plan` computes with.

    `held` is what the sources hold before deduplication, `origin` says how that is known. `raw` are their raw files.
    `mixture` is the mixture's table; if the origin is `planned`, it comes from the step `mix`.
    """

    held: Mapping[str, Amount]
    origin: Origin
    raw: Mapping[str, Raw]
    mixture: list[dict[str, Any]]

    @property
    def documents(self) -> int:
        return sum(amount.documents for amount in self.held.values())

    @property
    def text(self) -> float:
        """Bytes."""
        return sum(amount.tokens for amount in self.held.values()) * BYTES_PER_TOKEN


def look_ahead(config: Config, steps: Steps, lacking: frozenset[str]) -> Foreseen:
    """Predict the mixture. `lacking` are the sources without raw files; `config.expected` must name them all.

    Raises:
        UserError: a source has no entry in `mix.sources`.
    """
    raw = present(config)
    origin: Origin
    (tokenizer,), (mix,) = of_kind(steps, Kind.TOKENIZER), of_kind(steps, Kind.MIXTURE)
    if tokenizer.done:
        held, origin = counted(tokenizer), "counted"
    elif config.expected:
        expected = {source: amount for source, amount in config.expected.items() if source in raw}
        held = {source: Amount(amount.documents, amount.tokens) for source, amount in expected.items()}
        origin = "expected"
    else:
        texts = {source: files.text for source, files in raw.items()}
        held = {name: Amount(round(n / BYTES_PER_DOCUMENT), round(n / BYTES_PER_TOKEN)) for name, n in texts.items()}
        origin = "estimated"
    for source in lacking:
        inputs = tuple(settings for settings in config.read.inputs if settings.source == source)
        size = config.expected[source].raw_gb
        raw[source] = to_come(inputs, held[source].tokens * BYTES_PER_TOKEN, None if size is None else size * GB)
    if mix.done:
        return Foreseen(held, "planned", raw, mix.manifest().figures["mixture"])
    return Foreseen(held, origin, raw, forecast(config.mix, held))


def counted(tokenizer: Step[Any]) -> dict[str, Amount]:
    """What the sources hold as the step `tokenizer` counted it. Tokens include the end of each document."""
    manifest = tokenizer.manifest()
    tokens: dict[str, int] = manifest.figures["tokens_by_source"]
    documents = {source: manifest.accounts[source].kept for source in tokens}
    return {source: Amount(documents[source], tokens[source] + documents[source]) for source in tokens}


def shortfalls(mix: MixSettings, mixture: list[dict[str, Any]]) -> list[str]:
    """One line for each source that has too few tokens for the mixture: how many are missing, and what would help."""
    return [_shortfall(mix.sources[row["source"]], row) for row in mixture[:-1] if row["missing_tokens"]]


def _shortfall(mixed: SourceMix, row: Mapping[str, Any]) -> str:
    key, missing, budget = f"mix.sources.{row['source']}", row["missing_tokens"], row["budget_tokens"]
    requested = budget + missing
    ratio = f"that ratio {mixed.ratio:g} asks for" if mixed.ratio is not None else "asked for"
    message = f"{key}: {missing:,} of the {requested:,} tokens {ratio} are missing ({percent(missing / requested)})"
    if not budget:
        return f"{message}, because the source has none; add data, or leave it out with '{key}={{tokens: 0}}'"
    epochs = math.ceil(100 * requested / row["available_tokens"]) / 100
    lower = f"ratio={_floor(row['share']):g}" if mixed.ratio is not None else f"tokens={budget}"
    return f"{message}; repeat documents with {key}.max_epochs={epochs:g}, ask for less with {key}.{lower}, or add data"


def _floor(share: float) -> float:
    """Round down to three figures."""
    unit = 10.0 ** (math.floor(math.log10(share)) - 2)
    return math.floor(share / unit) * unit
