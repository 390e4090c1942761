"""The whole config: one section for each step that has settings, and what all steps share."""

from typing import Any, Self

from pyarrow.fs import FileSystem
from pydantic import Field, ValidationError, field_validator, model_validator

from dedup.decontaminate import DecontaminateSettings
from dedup.settings import DedupSettings
from eval.settings import EvaluateSettings
from gap.publish.settings import PublishSettings
from gap.serve.settings import ServeSettings
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings
from ingest.s2 import S2Settings
from ingest.web.crawl import CrawlSettings
from lake.config import Settings, explain, laid_over
from lake.error import UserError
from lake.paths import Folder, HomePath
from lake.values import Amount, Count, Name, Positive, Seed, SourceName, Text
from mixing.instructions.settings import InstructionSettings
from mixing.mixture import MixSettings
from mixing.shards import ShardSettings
from mixing.tokenizer.build import TokenizerSettings
from ray_jobs.cluster import RaySettings
from ray_jobs.import_base import shape_of_base
from spark_jobs.session import SparkSettings
from train.finetune import FinetuneSettings
from train.recipe import BaseSettings, ExportSettings, Recipe


class ExpectedSource(Settings):
    """What a source will hold after cleaning, train and validation together. `tokens` count the end of each document.

    `gap plan` uses it until the step `tokenizer` has counted, so that you can plan a corpus before its files are there.
    It is part of no fingerprint. `raw_gb` is the size of the files to fetch, as they lie in the data folder; if left
    out, it is estimated from the text.
    """

    documents: Amount
    tokens: Amount
    raw_gb: Positive | None = None


class Config(Settings):
    """What a run is.

    `data` is the folder of raw files and benchmarks. `lake` is the folder or URI that takes every step's output. Where
    the lake is on object storage, `disk` is the folder for checkpoints and models, on a disk that all workers share.
    `ray` and `spark` say how the engines run, which changes no output.

    `base` is the model to continue from. Then the tokenizer is that model's, so `tokenizer` may be left out, and so may
    `pretrain.model`, which is read from the base's config.

    `crawl` and `s2` say what `gap crawl` and `gap fetch` bring into the data folder, where `read` finds it.
    `instructions` are questions and answers for fine-tuning. `expected` is what each source will hold: `gap plan`
    reckons with it until the tokens are counted. `expected_vocabulary` is likewise the number of ids, until the
    tokenizer is there; if left out, that of Llama 2 is taken.

    Each of the `variants` is another training, exported and evaluated like the first: `pretrain` with some keys laid
    over, as in `variants: {slow: {optimizer: {lr: 1.0e-4}}}`.

    `finetune` trains the model of `pretrain`, or its base, on the answers of `instructions`. Each of `tuned` is another
    fine-tuning, with some keys of `finetune` laid over, as in `tuned: {lora: {lora: {rank: 16}}}`.

    `publish` says where `gap publish` puts what, `serve` how `gap serve` runs the models. No step reads them.
    """

    name: Text
    data: HomePath
    lake: Folder
    disk: Folder | None = None
    seed: Seed = 1234
    ray: RaySettings = Field(default_factory=RaySettings)
    spark: SparkSettings = Field(default_factory=SparkSettings)
    crawl: CrawlSettings | None = None
    s2: S2Settings = Field(default_factory=S2Settings)
    read: ReadSettings
    expected: dict[SourceName, ExpectedSource] = Field(default_factory=dict)
    expected_vocabulary: Count | None = None
    clean: CleanSettings = Field(default_factory=CleanSettings)
    base: BaseSettings | None = None
    tokenizer: TokenizerSettings
    instructions: InstructionSettings | None = None
    dedup: DedupSettings = Field(default_factory=DedupSettings)
    decontaminate: DecontaminateSettings = Field(default_factory=DecontaminateSettings)
    mix: MixSettings
    shard: ShardSettings = Field(default_factory=ShardSettings)
    pretrain: Recipe
    variants: dict[Name, Recipe] = Field(default_factory=dict)
    finetune: FinetuneSettings | None = None
    tuned: dict[Name, FinetuneSettings] = Field(default_factory=dict)
    export: ExportSettings = Field(default_factory=ExportSettings)
    evaluate: EvaluateSettings
    publish: PublishSettings = Field(default_factory=PublishSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)

    @field_validator("lake", "disk")
    @classmethod
    def _opens(cls, folder: str | None) -> str | None:
        if folder is None or "://" not in folder:
            return folder
        try:
            FileSystem.from_uri(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} cannot be opened: {' '.join(str(error).split())}") from None
        return folder

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, given: Any) -> Any:
        """What a base implies, and the variants with all keys of `pretrain`."""
        if not isinstance(given, dict):
            return given
        given = _with_base(given)
        for section, origin in (("variants", "pretrain"), ("tuned", "finetune")):
            if isinstance(given.get(section), dict):
                first = given.get(origin) or {}
                given = given | {
                    section: {
                        name: laid_over(first, {} if keys is None else keys) for name, keys in given[section].items()
                    }
                }
        return given

    @model_validator(mode="after")
    def _speaks_as_the_base(self) -> Self:
        if self.base is None:
            return self
        place = self.base.path or self.base.package
        if (self.tokenizer.path, self.tokenizer.package) != (self.base.path, self.base.package):
            raise ValueError(
                f"tokenizer: the weights of a base know its own tokenizer only, {place}; leave out where it comes from"
            )
        if "base" in self.variants:
            raise ValueError("variants.base: evaluate-base is the evaluation of the base itself; take another name")
        return self

    @model_validator(mode="after")
    def _pretrains_all_weights(self) -> Self:
        if any(recipe.lora is not None for recipe in self.recipes.values()):
            raise ValueError("pretrain.lora: adapters are for finetune; leave the key out")
        return self

    @model_validator(mode="after")
    def _tunes_on_answers(self) -> Self:
        if self.tuned and self.finetune is None:
            raise ValueError("tuned: they are laid over finetune, which is missing")
        for which, tuning in self.tunings.items():
            if self.instructions is None:
                raise ValueError("finetune: it trains on the answers of instructions; add that section")
            if tuning.start == "base" and self.base is None:
                raise ValueError(
                    f"finetune{which}.start: there is no base; add a section base, or start from continued"
                )
        return self

    @model_validator(mode="after")
    def _names_no_step_twice(self) -> Self:
        tuned = [f"finetune{which}".removeprefix("-") for which in self.tunings]
        if twice := next((name for name in self.variants if name in tuned), None):
            raise ValueError(f"variants.{twice}: export-{twice} is the export of a fine-tuning; take another name")
        return self

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

    @model_validator(mode="after")
    def _shares_whole_heads(self) -> Self:
        tensor = self.evaluate.tensor
        for which, recipe in self.recipes.items():
            section = f"variants.{which.removeprefix('-')}" if which else "pretrain"
            for key in ("heads", "ffn"):
                if (size := getattr(recipe.model, key)) % tensor:
                    raise ValueError(f"evaluate.tensor: {tensor} must divide {section}.model.{key}, {size}")
            # Where there are more GPUs than key-value heads, several share one.
            if (heads := recipe.model.kv_heads) % tensor and tensor % heads:
                raise ValueError(
                    f"evaluate.tensor: {tensor} must divide {section}.model.kv_heads, {heads}, or be a multiple of it"
                )
        return self

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Every training by the suffix of its steps' names, which the first has none of."""
        return {"": self.pretrain} | {f"-{name}": recipe for name, recipe in self.variants.items()}

    @property
    def tunings(self) -> dict[str, FinetuneSettings]:
        """Every fine-tuning, likewise."""
        first = {} if self.finetune is None else {"": self.finetune}
        return first | {f"-{name}": tuning for name, tuning in self.tuned.items()}


def _with_base(given: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's place and the model's architecture, taken from the base where the config leaves them out.

    Raises:
        UserError: the architecture is to be read from a base that is missing or cannot be converted.
    """
    base = given.get("base")
    if not isinstance(base, dict):
        return given
    tokenizer, recipe = given.get("tokenizer") or {}, given.get("pretrain")
    if isinstance(tokenizer, dict) and not tokenizer.keys() & {"train", "path", "package"}:
        given = given | {"tokenizer": tokenizer | {key: base[key] for key in ("path", "package") if key in base}}
    if isinstance(recipe, dict) and "model" not in recipe:
        try:
            model = shape_of_base(BaseSettings.model_validate(base)).model_dump()
        except ValidationError as error:
            raise UserError(f"base.{explain(error, BaseSettings)}") from None
        given = given | {"pretrain": recipe | {"model": model}}
    return given
