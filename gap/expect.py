"""What the sources hold and what the mixture makes of it: planned, else counted, else as expected, else estimated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveFloat, PositiveInt

from eval.numbers import percent
from gap.raw import GB, Raw, present, to_come
from lake.config import Settings
from lake.step import Kind, Step, Steps, of_kind
from mixing.mixture import Amount, MixSettings, SourceMix, forecast

if TYPE_CHECKING:
    from gap.config import Config

BYTES_PER_TOKEN = 3.9
"""Of text under a tokenizer of Llama 2's kind, ends of documents included: 3.8 papers, 3.9 abstracts, 4.1 pages. `gap
run configs/nih.yaml data=../shared/data tokenizer='{package: mistral_common/data/tokenizer.model.v1}' tokenizer`."""

BYTES_PER_DOCUMENT = 3_500
"""Of guideline pages in ../shared/data, where nothing else is known."""

Origin = Literal["planned", "counted", "expected", "estimated"]


class Expected(Settings):
    """What a source will hold after cleaning, train and validation together; `tokens` with the end of each document.

    `gap plan` reckons with it until the step `tokenizer` has counted, so that a corpus can be planned before it is
    there. It decides nothing else: no fingerprint has it. `raw_gb` is the size of the files to fetch, as they lie in
    the data folder; left out, it is guessed from the text.
    """

    documents: PositiveInt
    tokens: PositiveInt
    raw_gb: PositiveFloat | None = None


@dataclass(frozen=True)
class Foreseen:
    """What `gap plan` reckons with.

    `held` is what the sources hold before deduplication and `origin` how that is known; `raw` are their raw files.
    `mixture` is the mixture's table, with the origin `planned` the one of the step `mix`.
    """

    held: Mapping[str, Amount]
    origin: Origin
    raw: Mapping[str, Raw]
    mixture: list[dict[str, Any]]

    @property
    def documents(self) -> int:
        return sum(one.documents for one in self.held.values())

    @property
    def text(self) -> float:
        """Bytes."""
        return sum(one.tokens for one in self.held.values()) * BYTES_PER_TOKEN


def look_ahead(config: "Config", steps: Steps, lacking: frozenset[str]) -> Foreseen:
    """`lacking` are the sources whose raw files are not there; they must be among those the config expects.

    Raises:
        UserError: a source has no entry in `mix.sources`.
    """
    raw = present(config)
    origin: Origin
    (tokenizer,), (mix,) = of_kind(steps, Kind.TOKENIZER), of_kind(steps, Kind.MIXTURE)
    if tokenizer.done:
        held, origin = counted(tokenizer), "counted"
    elif config.expected:
        held = {source: Amount(one.documents, one.tokens) for source, one in config.expected.items() if source in raw}
        origin = "expected"
    else:
        held = {source: _estimate(one) for source, one in raw.items()}
        origin = "estimated"
    for source in lacking:
        own = tuple(one for one in config.read.inputs if one.source == source)
        size = config.expected[source].raw_gb
        raw[source] = to_come(own, held[source].tokens * BYTES_PER_TOKEN, None if size is None else size * GB)
    if mix.done:
        return Foreseen(held, "planned", raw, mix.manifest().figures["mixture"])
    return Foreseen(held, origin, raw, forecast(config.mix, held))


def counted(tokenizer: Step[Any]) -> dict[str, Amount]:
    """What the sources hold by the count of the step `tokenizer`, each document with its end."""
    manifest = tokenizer.manifest()
    tokens: dict[str, int] = manifest.figures["tokens_by_source"]
    documents = {source: manifest.accounts[source].kept for source in tokens}
    return {source: Amount(documents[source], tokens[source] + documents[source]) for source in tokens}


def _estimate(raw: Raw) -> Amount:
    return Amount(round(raw.text / BYTES_PER_DOCUMENT), round(raw.text / BYTES_PER_TOKEN))


def shortfalls(mix: MixSettings, mixture: list[dict[str, Any]]) -> list[str]:
    """One line for each source that cannot give what is asked of it: by how much, and what would help."""
    return [_shortfall(mix.sources[row["source"]], row) for row in mixture[:-1] if row["missing_tokens"]]


def _shortfall(one: SourceMix, row: Mapping[str, Any]) -> str:
    key, missing, given = f"mix.sources.{row['source']}", row["missing_tokens"], row["budget_tokens"]
    wanted = given + missing
    asked = f"that ratio {one.ratio:g} asks for" if one.ratio is not None else "asked for"
    said = f"{key}: {missing:,} tokens ({percent(missing / wanted)}) are lacking of the {wanted:,} {asked}"
    if not given:
        return f"{said}, for the source has none; add data, or leave it out with '{key}={{tokens: 0}}'"
    epochs = math.ceil(100 * wanted / row["available_tokens"]) / 100
    lower = f"ratio={_floor(row['share']):g}" if one.ratio is not None else f"tokens={given}"
    return f"{said}; repeat documents with {key}.max_epochs={epochs:g}, ask for less with {key}.{lower}, or add data"


def _floor(share: float) -> float:
    """To three figures."""
    unit = 10.0 ** (math.floor(math.log10(share)) - 2)
    return math.floor(share / unit) * unit
