"""The plan: every step of a run in order, each with its function, its settings and the steps it reads."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from dedup.earlier import fingerprints
from eval.protocol import protocol_file
from eval.questions import raw_files as question_files
from gap.config import Config
from gap.raw import ANSWERS, BASE, QUESTIONS, RAW, WEIGHTS
from gap.report import REPORT, ReportSettings
from ingest.inputs import raw_files, rule_files
from lake.config import S
from lake.files import digest
from lake.step import MISSING, Body, Step
from mixing.tokenizer.build import base_files
from ray_jobs.evaluate import EVALUATE
from ray_jobs.evaluate_checkpoints import EVALUATE_CHECKPOINTS
from ray_jobs.export import EXPORT
from ray_jobs.finetune import FINETUNE
from ray_jobs.import_base import IMPORT
from ray_jobs.import_base import files_of as base_model_files
from ray_jobs.instruct import INSTRUCT
from ray_jobs.instruct import identity as instruction_identity
from ray_jobs.pretrain import PRETRAIN
from ray_jobs.read import READ
from ray_jobs.shard import SHARD
from ray_jobs.tokenizer import TOKENIZER
from spark_jobs.clean import CLEAN
from spark_jobs.decontaminate import DECONTAMINATE
from spark_jobs.dedup import DEDUP
from spark_jobs.mix import MIX


def plan(config: Config, absent: Collection[str] = ()) -> dict[str, Step[Any]]:
    """Every step by its name, after those that it reads. Of the raw files nothing but their digests is looked at.

    `absent` has what may be missing, of RAW, BASE, WEIGHTS, QUESTIONS and ANSWERS. Steps that need it have no settled
    fingerprint.

    Raises:
        UserError: a raw file, a tokenizer, a base model, a benchmark or an earlier corpus is missing.
    """
    steps: dict[str, Step[Any]] = {}
    c, disk = config, config.disk or config.lake

    def add(
        name: str,
        body: Body[S],
        settings: S,
        inputs: Mapping[str, str],
        follows: str | None = None,
        lake: str = config.lake,
        **more: Any,
    ) -> None:
        read = {role: steps[of] for role, of in inputs.items()}
        steps[name] = Step(name, body, settings, lake, read, follows, **more)

    data = {"data": c.data}
    raw = MISSING if RAW in absent else raw_digests(c)
    base = MISSING if BASE in absent else digests(base_files(c.tokenizer)) or None
    questions = MISSING if QUESTIONS in absent else digests(question_files(c.evaluate, c.data))
    earlier = fingerprints(c.dedup, DEDUP.version) or None

    add("read", READ, c.read, {}, identity=raw, extra=data)
    add("clean", CLEAN, c.clean, {"documents": "read"}, "documents")
    add("tokenizer", TOKENIZER, c.tokenizer, {"documents": "clean"}, "documents", identity=base)
    add("dedup", DEDUP, c.dedup, {"documents": "clean"}, "documents", identity=earlier)
    # All questions are looked for, however few are asked later.
    asked = {"asked": c.evaluate, **data}
    kept = {"documents": "clean", "kept": "dedup"}
    add("decontaminate", DECONTAMINATE, c.decontaminate, kept, "kept", identity=questions, extra=asked)
    kept = {"documents": "clean", "tokenizer": "tokenizer", "clusters": "dedup", "kept": "decontaminate"}
    add("mix", MIX, c.mix, kept, "kept", seed=c.seed)
    text = {"documents": "clean", "tokenizer": "tokenizer", "mixture": "mix"}
    add("shard", SHARD, c.shard, text, "mixture", seed=c.seed)
    protocols = digests(sorted({protocol_file(benchmark.protocol) for benchmark in c.evaluate.benchmarks}))
    asked_of = questions if questions == MISSING else [questions, protocols]
    corpus = {"tokenizer": "tokenizer", "shards": "shard"}
    hits = {"hits": "decontaminate"}
    start = {}
    if c.base is not None:
        weights = MISSING if WEIGHTS in absent else digests(base_model_files(c.base))
        shape = {"model": c.pretrain.model}
        add("import", IMPORT, c.base, {"tokenizer": "tokenizer"}, lake=disk, identity=weights, extra=shape)
        add("evaluate-base", EVALUATE, c.evaluate, {"model": "import", **hits}, identity=asked_of, extra=data)
        start = {"base": "import"}
    if c.instructions is not None:
        rules: dict[str, Any] = {"asked": c.evaluate, "decontaminate": c.decontaminate, "dedup": c.dedup}
        lacking = {ANSWERS, QUESTIONS} & set(absent)
        answers = MISSING if lacking else instruction_identity(c.instructions, c.data, **rules)
        inputs = {"tokenizer": "tokenizer", **start}
        add("instruct", INSTRUCT, c.instructions, inputs, seed=c.seed, identity=answers, extra={**data, **rules})
    for which, recipe in c.recipes.items():
        # Documents are named where a step goes wrong.
        add(f"pretrain{which}", PRETRAIN, recipe, {**corpus, **start, "documents": "clean"}, lake=disk, seed=c.seed)
        add(f"export{which}", EXPORT, c.export, {**corpus, **start, "trained": f"pretrain{which}"}, lake=disk)
        inputs = {"model": f"export{which}", **hits}
        add(f"evaluate{which}", EVALUATE, c.evaluate, inputs, identity=asked_of, extra=data)
        if c.evaluate.checkpoints:
            inputs = {**corpus, **start, **hits, "trained": f"pretrain{which}"}
            each = {**data, "export": c.export}
            add(
                f"evaluate-checkpoints{which}",
                EVALUATE_CHECKPOINTS,
                c.evaluate,
                inputs,
                identity=asked_of,
                extra=each,
                lake=disk,
            )
    for which, tuning in c.tunings.items():
        origin = {"base": "import"} if tuning.start == "base" else {"continued": "pretrain"}
        rows = {"tokenizer": "tokenizer", "rows": "instruct", **origin}
        add(f"finetune{which}", FINETUNE, tuning, rows, lake=disk, seed=c.seed, extra={"model": c.pretrain.model})
        tuned = {"tokenizer": "tokenizer", "rows": "instruct", **start, "trained": f"finetune{which}"}
        add(f"export-finetune{which}", EXPORT, c.export, tuned, lake=disk)
        inputs = {"model": f"export-finetune{which}", **hits}
        add(f"evaluate-finetune{which}", EVALUATE, c.evaluate, inputs, identity=asked_of, extra=data)
    add("report", REPORT, ReportSettings(name=c.name), {name: name for name in steps})
    return steps


def digests(files: Iterable[Path]) -> list[list[str]]:
    return [[path.name, digest(path)] for path in files]


def raw_digests(config: Config) -> list[list[Any]]:
    """Of the raw files, and of the sites' files: a changed selector changes what is read of the same bytes."""
    raw = [[position, path.name, digest(path)] for position, path in raw_files(config.read, config.data)]
    return raw + digests(rule_files(config.read))
