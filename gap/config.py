"""The whole config: one section for each step that has settings, and what all steps share."""

from pathlib import Path
from typing import Any, Self

from pyarrow.fs import FileSystem
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from dedup.decontaminate import DecontaminateSettings
from dedup.settings import DedupSettings
from eval.questions import EvaluateSettings
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings
from ingest.s2 import S2Settings
from ingest.web.crawl import CrawlSettings
from lake.config import Name, Settings, laid_over
from mixing.instructions.records import InstructionSettings
from mixing.mixture import MixSettings
from mixing.shards import ShardSettings
from mixing.tokenizer.build import TokenizerSettings
from ray_jobs.cluster import RaySettings
from spark_jobs.session import SparkSettings
from train.recipe import BaseSettings, ExportSettings, Recipe


class ExpectedSource(Settings):
    """What a source will hold after cleaning, train and validation together. `tokens` count the end of each document.

    `gap plan` uses it until the step `tokenizer` has counted, so that you can plan a corpus before its files are there.
    It is part of no fingerprint. `raw_gb` is the size of the files to fetch, as they lie in the data folder; if left
    out, it is estimated from the text.
    """

    documents: PositiveInt
    tokens: PositiveInt
    raw_gb: PositiveFloat | None = None


class Config(Settings):
    """What a run is.

    `data` is the folder of raw files and benchmarks. `lake` is the folder or URI that takes every step's output. Where
    the lake is on object storage, `disk` is the folder for checkpoints and models, on a disk that all workers share.
    `ray` and `spark` say how the engines run, which changes no output.

    `crawl` and `s2` say what `gap crawl` and `gap fetch` bring into the data folder, where `read` finds it.
    `instructions` are questions and answers for fine-tuning. `expected` is what each source will hold: `gap plan`
    reckons with it until the tokens are counted. `expected_vocabulary` is likewise the number of ids, until the
    tokenizer is there; if left out, that of Llama 2 is taken. `base` is the model from which training starts.

    Each of the `variants` is another training, exported and evaluated like the first: `pretrain` with some keys laid
    over, as in `variants: {slow: {optimizer: {lr: 1.0e-4}}}`.
    """

    name: str
    data: str
    lake: str
    disk: str | None = None
    seed: int = 1234
    ray: RaySettings = Field(default_factory=RaySettings)
    spark: SparkSettings = Field(default_factory=SparkSettings)
    crawl: CrawlSettings | None = None
    s2: S2Settings = Field(default_factory=S2Settings)
    read: ReadSettings
    expected: dict[str, ExpectedSource] = Field(default_factory=dict)
    expected_vocabulary: PositiveInt | None = None
    clean: CleanSettings = Field(default_factory=CleanSettings)
    tokenizer: TokenizerSettings
    instructions: InstructionSettings | None = None
    dedup: DedupSettings = Field(default_factory=DedupSettings)
    decontaminate: DecontaminateSettings = Field(default_factory=DecontaminateSettings)
    mix: MixSettings
    shard: ShardSettings = Field(default_factory=ShardSettings)
    base: BaseSettings | None = None
    pretrain: Recipe
    variants: dict[Name, Recipe] = Field(default_factory=dict)
    export: ExportSettings = Field(default_factory=ExportSettings)
    evaluate: EvaluateSettings

    @field_validator("lake", "disk")
    @classmethod
    def _absolute(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        if "://" not in folder:
            return str(Path(folder).resolve())
        try:
            FileSystem.from_uri(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} cannot be opened: {' '.join(str(error).split())}") from None
        return folder

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, given: Any) -> Any:
        """The variants with all keys of `pretrain`."""
        if not isinstance(given, dict) or not isinstance(given.get("variants"), dict):
            return given
        recipe = given.get("pretrain")
        return given | {"variants": {name: laid_over(recipe, keys or {}) for name, keys in given["variants"].items()}}

    @model_validator(mode="after")
    def _expects_all(self) -> Self:
        sources = dict.fromkeys(raw.source for raw in self.read.inputs)
        if self.expected and (unknown := next((name for name in sources if name not in self.expected), None)):
            raise ValueError(f"expected: no entry for {unknown}, which read.inputs has; give its documents and tokens")
        return self

    @model_validator(mode="after")
    def _asks_what_the_models_take(self) -> Self:
        asked = self.evaluate.max_length
        sequences = {"pretrain": self.pretrain.sequence}
        sequences |= {f"variants.{name}": recipe.sequence for name, recipe in self.variants.items()}
        shortest = min(sequences, key=lambda section: sequences[section])
        if asked is not None and asked > (limit := sequences[shortest]):
            raise ValueError(
                f"evaluate.max_length: {asked} tokens, the model takes {shortest}.sequence, {limit}; "
                f"set it to {limit} or less"
            )
        return self

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Every training by the suffix of its steps' names, which the first has none of."""
        return {"": self.pretrain} | {f"-{name}": recipe for name, recipe in self.variants.items()}
