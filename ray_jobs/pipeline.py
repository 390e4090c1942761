"""The steps in order: which config, which inputs, which engine. The whole config and the whole way on one page."""

import os
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Self

from pyarrow.fs import FileSystem
from pydantic import Field, field_validator, model_validator

from dedup.decontaminate import DecontaminateSettings
from dedup.earlier import fingerprints
from dedup.settings import DedupSettings
from eval.generate import check_heads
from eval.questions import EvaluateSettings, Question, load_questions, question_table
from eval.questions import raw_files as question_files
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings, raw_files, rule_files
from ingest.s2 import S2Settings
from ingest.web.crawl import CrawlSettings
from lake.config import Settings
from lake.dataset import Output
from lake.error import UserError
from lake.files import digest
from lake.step import Manifest, Outcome, Step
from mixing.instructions.records import InstructionSettings
from mixing.mixture import MixSettings
from mixing.shards import ShardSettings
from mixing.tokenizer.build import TokenizerSettings, adopt, base_files
from ray_jobs.cluster import RaySettings
from ray_jobs.expect import Expected
from spark_jobs.session import Session, SparkSettings
from train.convert import ExportSettings
from train.recipe import Recipe

STEPS = (
    "read",
    "clean",
    "tokenizer",
    "dedup",
    "decontaminate",
    "mix",
    "shard",
    "pretrain",
    "export",
    "evaluate",
    "report",
)

ON_DISK = ("pretrain", "export")
"""The steps whose output Megatron and vLLM map into memory."""


class Pipeline(Settings):
    """The whole config: one section a step, named as the step.

    `data` is the folder of raw files and benchmarks, `lake` the folder or URI that takes every step's output. Where
    that is on object storage, `disk` is the folder, on a disk that all workers share, for checkpoints and models.
    `crawl` and `s2` are no steps: they say what `gap crawl` and `gap fetch` get into the data folder, where `read`
    finds it. `instructions` are the questions and answers of `gap instruct`, a step beside the others. `expected` is
    what each source will hold, by which `gap plan` reckons as long as it is not counted.
    `ray` and `spark` say how the engines run, which changes no output.
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
    expected: dict[str, Expected] = Field(default_factory=dict)
    clean: CleanSettings = Field(default_factory=CleanSettings)
    tokenizer: TokenizerSettings
    instructions: InstructionSettings | None = None
    dedup: DedupSettings = Field(default_factory=DedupSettings)
    decontaminate: DecontaminateSettings = Field(default_factory=DecontaminateSettings)
    mix: MixSettings
    shard: ShardSettings = Field(default_factory=ShardSettings)
    pretrain: Recipe
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

    @model_validator(mode="after")
    def _expects_all(self) -> Self:
        read = dict.fromkeys(one.source for one in self.read.inputs)
        if self.expected and (unknown := next((one for one in read if one not in self.expected), None)):
            raise ValueError(f"expected: no entry for {unknown}, which read.inputs has; give its documents and tokens")
        return self

    @model_validator(mode="after")
    def _asks_what_the_model_takes(self) -> Self:
        wanted, limit = self.evaluate.max_length, self.pretrain.sequence
        if wanted is not None and wanted > limit:
            raise ValueError(
                f"evaluate.max_length: {wanted} tokens, the model takes pretrain.sequence, {limit}; "
                f"set it to {limit} or less"
            )
        return self


DEDUP_VERSION = 4


def plan(config: Pipeline, blind: Collection[str] = ()) -> dict[str, Step]:
    """Every step in order, with its fingerprint; reads no more of the raw files than their digests.

    Steps in `blind` do without files that are missing. Their fingerprints, and those of the steps after them, are not
    the ones they will have.

    Raises:
        UserError: a raw file, a tokenizer, a benchmark or an earlier corpus is missing.
    """
    steps: dict[str, Step] = {}

    def add(name: str, engine: str, version: int, after: tuple[str, ...] = (), **more: Any) -> None:
        section = getattr(config, name, None)
        settings = section.model_dump(mode="json") if section is not None else {}
        settings |= more.pop("settings", {})
        inputs = tuple(steps[one] for one in after)
        lake = config.disk or config.lake if name in ON_DISK else config.lake
        steps[name] = Step(name, engine, version, settings, lake, inputs, **more)

    seed = {"seed": config.seed}
    there = [] if "read" in blind else raw_files(config.read, config.data)
    raw = [[position, path.name, digest(path)] for position, path in there]
    # A changed selector changes what is read of the same bytes.
    raw += [[path.name, digest(path)] for path in rule_files(config.read)]
    questions = [] if "evaluate" in blind else question_files(config.evaluate, config.data)
    asked = [[path.name, digest(path)] for path in questions]
    base = [] if "tokenizer" in blind else base_files(config.tokenizer)
    adopted = [[path.name, digest(path)] for path in base]
    # All questions are looked for, however few are asked later; their files are in `asked`.
    benchmarks = {"benchmarks": [one.name for one in config.evaluate.benchmarks]}
    add("read", "ray", 6, identity=raw)
    add("clean", "spark", 4, ("read",), follows="read")
    add("tokenizer", "ray", 4, ("clean",), follows="clean", identity=adopted or None)
    compared = fingerprints(config.dedup, DEDUP_VERSION)
    add("dedup", "spark", DEDUP_VERSION, ("clean",), follows="clean", identity=compared or None)
    add("decontaminate", "spark", 2, ("clean", "dedup"), follows="dedup", identity=asked, settings=benchmarks)
    add("mix", "spark", 3, ("clean", "tokenizer", "dedup", "decontaminate"), follows="decontaminate", settings=seed)
    add("shard", "ray", 3, ("clean", "tokenizer", "mix"), follows="mix", settings=seed)
    add("pretrain", "ray train", 1, ("tokenizer", "shard"), settings=seed)
    add("export", "ray + torch", 1, ("tokenizer", "shard", "pretrain"))
    add("evaluate", "ray + vllm", 1, ("export", "decontaminate"), identity=asked)
    add("report", "python", 4, tuple(steps), settings={"name": config.name})
    return steps


class Engines:
    """Spark and Ray, each started when the first step needs it."""

    def __init__(self, config: Pipeline) -> None:
        self._config = config
        self._spark: Session | None = None

    def __enter__(self) -> Self:
        return self

    @property
    def spark(self) -> Session:
        if self._spark is None:
            from spark_jobs.session import start

            self._spark = start(self._config.spark)
        return self._spark

    def ray(self) -> None:
        from ray_jobs.cluster import start

        start(self._config.ray)

    def __exit__(self, *_: object) -> None:
        if self._spark is not None:
            self._spark.stop()
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def work(step: Step, config: Pipeline, engines: Engines, questions: list[Question]) -> Outcome:
    """Run one step's function on its engine. Engines and the modules that need them are loaded here and no earlier."""
    if step.engine == "spark":
        from spark_jobs.watch import watch

        with watch(engines.spark, step.name):
            return _work(step, config, engines, questions)
    if step.engine.startswith("ray"):
        engines.ray()
    return _work(step, config, engines, questions)


def _work(step: Step, config: Pipeline, engines: Engines, questions: list[Question]) -> Outcome:
    match step.name:
        case "read":
            from ray_jobs.read import read

            return read(step, config.read, config.data)
        case "clean":
            from spark_jobs.clean import clean

            return clean(step, config.clean, engines.spark)
        case "tokenizer":
            from ray_jobs.count import tokenizer

            return tokenizer(step, config.tokenizer)
        case "dedup":
            from spark_jobs.dedup import dedup

            return dedup(step, config.dedup, engines.spark)
        case "decontaminate":
            from spark_jobs.decontaminate import decontaminate

            return decontaminate(step, config.decontaminate, engines.spark, question_table(questions))
        case "mix":
            from spark_jobs.mix import mix

            return mix(step, config.mix, engines.spark, config.seed)
        case "shard":
            from ray_jobs.tokenize import shard

            return shard(step, config.shard, config.seed)
        case "pretrain":
            from ray_jobs.pretrain import pretrain

            return pretrain(step, config.pretrain, config.seed)
        case "export":
            from ray_jobs.export import export

            return export(step, config.export, config.pretrain)
        case "evaluate":
            from ray_jobs.evaluate import evaluate

            return evaluate(step, config.evaluate, questions)
        case "report":
            from ray_jobs.cards import report

            return report(step, config.name, [one.manifest() for one in step.inputs])
    raise AssertionError(step.name)


def wanted(names: tuple[str, ...]) -> tuple[str, ...]:
    """The steps to run, in order: all, or those named and what they need.

    Raises:
        UserError: a name is not a step.
    """
    for name in names:
        if name not in STEPS:
            raise UserError(f"{name}: no such step; the steps are {', '.join(STEPS)}")
    return STEPS[: max(STEPS.index(name) for name in names) + 1] if names else STEPS


def run(
    config: Pipeline,
    steps: dict[str, Step],
    names: tuple[str, ...],
    said: Callable[[Step, Manifest | None, bool], None],
) -> None:
    """Run what is not done yet of the steps that `plan` gave, up to those named. `said` hears of each step before (no
    manifest) and after, and whether it was new.

    Raises:
        UserError: a benchmark, tokenizer or shard is missing or broken, the lake cannot be written, or the model could
            not be evaluated here; found before any engine starts.
    """
    chosen = [steps[name] for name in wanted(names)]
    to_do = {step.name: step for step in chosen if not step.done}
    questions = load_questions(config.evaluate, config.data)
    if config.tokenizer.train is None and "tokenizer" in to_do:
        adopt(config.tokenizer)
    check(steps)
    if "evaluate" in to_do:
        check_attention(config)
    for folder in {step.lake for step in to_do.values()}:
        Output(folder).check_writable("disk" if folder == config.disk else "lake")
    with Engines(config) as engines:
        for step in chosen:
            if step.done:
                said(step, step.manifest(), False)
                continue
            said(step, None, True)
            said(step, step.complete(partial(work, step, config, engines, questions)), True)


def check(steps: dict[str, Step]) -> None:
    """Look at the shards that are there, for a broken one costs hours when training or export meets it.

    Raises:
        UserError: a shard's index does not open or does not fit its data.
    """
    from mixing.shards import FOLDER_OF_SHARDS, read_index_in

    shard = steps["shard"]
    if shard.done and not (steps["pretrain"].done and steps["export"].done):
        for one in shard.manifest().figures["shards"]:
            read_index_in(shard.output.below(FOLDER_OF_SHARDS), one["name"])


def check_attention(config: Pipeline) -> None:
    """Look whether vLLM could run the model that is to be trained. A cluster that runs already may have GPUs elsewhere.

    Raises:
        UserError: its heads need a GPU, and this machine has none.
    """
    if config.ray.address != "local" or os.environ.keys() & {"RAY_JOB_ID", "RAY_ADDRESS"}:
        return
    try:
        check_heads({"head_dim": config.pretrain.model.head_size})
    except UserError:
        # Asked last, for it takes seconds to import.
        import torch

        if not torch.cuda.is_available():
            raise
