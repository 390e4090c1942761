"""Tokenizer and shard on Ray: counts, shards, resuming, checks, and Megatron reading the result."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.dataset import Output
from lake.document import DOCUMENT, new_document
from lake.error import UserError
from lake.step import Account, Outcome, Step
from mixing.shards import ShardSettings, read_tokens
from mixing.tokenizer import END, FOLDER, Tokenizer, TokenizerSettings
from ray_jobs.cluster import RaySettings, start
from ray_jobs.count import tokenizer
from ray_jobs.tokenize import PlanError, check, compare, shard

pytestmark = pytest.mark.engine

SEED = 3
SETTINGS = TokenizerSettings.model_validate({"train": {"vocab_size": 400}})
PARTS = 0, 1, 3
WORDS = [
    "dose",
    "of",
    "the",
    "drug",
    "was",
    "given",
    "daily",
    "to",
    "every",
    "patient",
    "with",
    "fever",
    "and",
    "cough",
]


def text(source: str, n: int) -> str:
    words = [WORDS[(n * step + len(source)) % len(WORDS)] for step in range(1, 20 + n % 30)]
    return f"{source} {n}\n\n{' '.join(words)} [fig] Größe {n} {END} [/fig]"


def documents() -> dict[str, list[dict[str, Any]]]:
    made = {
        source: [new_document(source, str(n), text(source, n)) for n in range(count)]
        for source, count in (("papers", 50), ("replay", 9))
    }
    return {source: sorted(rows, key=lambda row: str(row["id"])) for source, rows in made.items()}


def plan_of(position: int, row: dict[str, Any]) -> dict[str, Any] | None:
    """Every seventh document is not in the plan, every fifth is held out, every third is repeated."""
    if position % 7 == 6:
        return None
    held = position % 5 == 4 and row["source"] == "papers"
    return {"split": "validation" if held else "train", "copies": 3 if position % 3 == 0 and not held else 1}


def clean_step(root: Path) -> Step:
    step = Step("clean", "spark", 1, {}, str(root))
    for source, rows in documents().items():
        for position, part in enumerate(PARTS):
            step.output.write_part("documents", part, pa.Table.from_pylist(rows[position::3], DOCUMENT), source)
        step.output.write_part("documents", 4, pa.Table.from_pylist([], DOCUMENT), source)
    accounts = {source: Account.of(len(rows)) for source, rows in documents().items()}
    step.complete(lambda: Outcome(accounts))
    return step


def tokenizer_step(root: Path, clean: Step) -> Step:
    step = Step("tokenizer", "ray", 1, {}, str(root), (clean,), follows="clean")
    step.complete(lambda: tokenizer(step, SETTINGS))
    return step


def mix_step(root: Path, counted: Step) -> Step:
    """A plan written by hand, with the mixture's table that the shard step compares itself with."""
    step = Step("mix", "spark", 1, {}, str(root), (counted,))
    tokens = {row["id"]: row["tokens"] for row in counted.output.scan("counts").to_table().to_pylist()}
    table = []
    for source, rows in documents().items():
        kept = [(row["id"], plan) for position, row in enumerate(rows) if (plan := plan_of(position, row))]
        planned = {id_: {"id": id_, **plan, "tokens": tokens[id_]} for id_, plan in kept}
        for name in counted.output.parts("counts", source):
            mine = counted.output.read_part("counts", name)["id"].to_pylist()
            part = pa.Table.from_pylist([planned[id_] for id_ in mine if id_ in planned], PLAN)
            step.output.write_part("plan", Output.part_place(name)[0], part, source)
        row = {"source": source}
        for split in ("train", "validation"):
            of = [one for one in planned.values() if one["split"] == split]
            row |= {f"{split}_documents": len(of), f"{split}_tokens": sum(o["copies"] * (o["tokens"] + 1) for o in of)}
        table.append(row)
    step.complete(
        lambda: Outcome(
            {row["source"]: Account.of(row["train_documents"] + row["validation_documents"]) for row in table},
            {"mixture": [*table, {"source": "total"}]},
        )
    )
    return step


PLAN = pa.schema([("id", pa.string()), ("split", pa.string()), ("copies", pa.int32()), ("tokens", pa.int32())])


@dataclass(frozen=True)
class Before:
    clean: Step
    counted: Step
    mix: Step

    def sharded(self, root: Path, name: str = "shard") -> Step:
        step = Step(name, "ray", 1, {}, str(root), (self.clean, self.counted, self.mix), follows="mix")
        step.complete(lambda: shard(step, ShardSettings(), SEED))
        return step


@pytest.fixture(scope="module")
def before(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Before:
    root = tmp_path_factory.mktemp("before")
    clean = clean_step(root)
    counted = tokenizer_step(root, clean)
    return Before(clean, counted, mix_step(root, counted))


@pytest.fixture(scope="module")
def step(before: Before, tmp_path_factory: pytest.TempPathFactory) -> Step:
    return before.sharded(tmp_path_factory.mktemp("shard"))


def content(step: Step) -> dict[str, bytes]:
    root = step.output.local()
    names = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in names}


def test_every_clean_document_is_counted(before: Before) -> None:
    made = Tokenizer.load(before.counted.output.local(FOLDER))
    rows = before.counted.output.scan("counts").to_table().to_pylist()
    texts = {row["id"]: row["text"] for rows in documents().values() for row in rows}
    assert {row["id"]: row["tokens"] for row in rows} == {id_: made.encode([one])[0].size for id_, one in texts.items()}
    manifest = before.counted.manifest()
    assert manifest.total.entered == len(texts)
    assert manifest.figures["tokens"] == sum(row["tokens"] for row in rows)
    assert manifest.figures["fingerprint"] == made.fingerprint
    assert before.counted.output.parts("counts") == before.clean.output.parts("documents")


def test_training_on_a_sample_is_bounded_and_repeatable(before: Before, tmp_path: Path) -> None:
    small = TokenizerSettings.model_validate({"train": {"vocab_size": 400, "sample_mb": 0.004}})
    found = []
    for name in ("one", "two"):
        step = Step(name, "ray", 1, {}, str(tmp_path), (before.clean,))
        found.append(tokenizer(step, small).figures["fingerprint"])
    assert found[0] == found[1]
    assert found[0] != before.counted.manifest().figures["fingerprint"]


def test_an_adopted_tokenizer_counts_alike(before: Before, tmp_path: Path) -> None:
    step = Step("adopted", "ray", 1, {}, str(tmp_path), (before.clean,))
    tokenizer(step, TokenizerSettings(path=str(before.counted.output.local(FOLDER))))
    mine = {name: data for name, data in content(step).items() if name.startswith("counts")}
    assert mine == {name: data for name, data in content(before.counted).items() if name.startswith("counts")}


def test_the_index_leads_to_every_copy(step: Step, before: Before) -> None:
    made = Tokenizer.load(before.counted.output.local(FOLDER))
    rows = step.output.scan("index").to_table().to_pylist()
    wanted = {}
    for of_source in documents().values():
        for position, row in enumerate(of_source):
            if plan := plan_of(position, row):
                wanted |= {(row["id"], plan["split"], copy): row["text"] for copy in range(plan["copies"])}
    found = {}
    for row in rows:
        *ids, end = read_tokens(step.output.local("shards", row["shard"]), row["offset"], row["tokens"])
        assert end == made.eod
        assert row["shard"].startswith(f"{row['split']}-{row['source']}-")
        found[row["id"], row["split"], row["copy"]] = made.decode(ids)
    assert found == wanted


def test_accounts_and_figures(step: Step) -> None:
    manifest = step.manifest()
    assert set(manifest.accounts) == {"papers", "replay"}
    assert manifest.total.dropped == {}
    shards = manifest.figures["shards"]
    assert [one["name"] for one in shards] == sorted(one["name"] for one in shards)
    assert {one["name"] for one in shards} == {path.stem for path in step.output.local("shards").glob("*.idx")}
    assert {one["split"] for one in shards if one["source"] == "replay"} == {"train"}
    for split in ("train", "validation"):
        total = sum(one["tokens"] for one in shards if one["split"] == split)
        assert total == sum(manifest.figures["tokens"][split].values())


def test_documents_are_shuffled_within_a_shard(step: Step) -> None:
    rows = step.output.scan("index").to_table().to_pylist()
    mine = sorted((row for row in rows if row["shard"] == "train-papers-00000"), key=lambda row: row["document"])
    order = [row["id"] for row in mine]
    assert order != sorted(order)
    assert [row["offset"] for row in mine] == [0, *np.cumsum([row["tokens"] for row in mine]).tolist()[:-1]]


def test_killed_anywhere_it_resumes_to_the_same_bytes(step: Step, before: Before, tmp_path: Path) -> None:
    other = Step("shard", "ray", 1, {}, str(tmp_path), step.inputs, follows="mix")
    root = other.output.local()
    shutil.copytree(step.output.local(), root)
    (root / "manifest.json").unlink()
    untouched = root / "shards" / "train-papers-00000.bin"
    written_at = untouched.stat().st_mtime_ns
    # The worker of part 1 died after its index was lost, of part 3 between .bin and .idx; both left temporary files.
    (root / "index" / "source=papers" / "part-00001.parquet").unlink()
    for gone in ("index/source=papers/part-00003.parquet", "written/source=papers/part-00003.parquet"):
        (root / gone).unlink()
    (root / "shards" / "train-papers-00003.idx").unlink()
    (root / "shards" / ".train-papers-00003.bin.0123abcd").write_bytes(b"half")
    (root / "shards" / "train-papers-00003.bin").write_bytes(b"other")
    other.complete(lambda: shard(other, ShardSettings(), SEED))
    assert content(other) == content(step)
    assert untouched.stat().st_mtime_ns == written_at
    assert other.manifest().figures == step.manifest().figures


def test_a_shard_corrupted_meanwhile_is_named(step: Step, tmp_path: Path) -> None:
    other = Step("shard", "ray", 1, {}, str(tmp_path), step.inputs)
    shutil.copytree(step.output.local(), other.output.local())
    file = other.output.local("shards", "train-replay-00001.bin")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"train-replay-00001\.bin: corrupt"):
        shard(other, ShardSettings(), SEED)


def test_a_shard_of_other_documents_is_told(step: Step) -> None:
    (one, *_) = step.manifest().figures["shards"]
    figures = step.manifest().figures
    folder = step.output.local("shards")
    check(folder, one, figures["vocab_size"], figures["end_of_document"])
    with pytest.raises(UserError, match="not the shard that was written"):
        check(folder, one | {"documents": one["documents"] + 1}, figures["vocab_size"], figures["end_of_document"])


def test_an_empty_plan_is_told(before: Before, tmp_path: Path) -> None:
    empty = Step("mix", "spark", 2, {}, str(tmp_path))
    nothing = {"source": "papers", "train_documents": 0, "validation_documents": 0}
    empty.complete(lambda: Outcome(figures={"mixture": [nothing]}))
    with pytest.raises(UserError, match="keeps no document"):
        shard(Step("shard", "ray", 1, {}, str(tmp_path), (before.clean, before.counted, empty)), ShardSettings(), SEED)


def test_tokens_that_were_not_planned_fail_the_step(step: Step) -> None:
    planned = step.input("mix").read_json("manifest.json")["figures"]["mixture"][:-1]
    compare(planned, step.manifest().figures["tokens"])
    with pytest.raises(PlanError, match=r"papers: .* train tokens were written"):
        compare([planned[0] | {"train_tokens": 5}], step.manifest().figures["tokens"])


def test_megatron_trains_on_the_shards(step: Step, before: Before, tmp_path: Path) -> None:
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

    made = Tokenizer.load(before.counted.output.local(FOLDER))
    figures = step.manifest().figures

    class ForMegatron:
        eod, pad, vocab_size = made.eod, made.pad, made.vocab_size
        unique_identifiers = {"class": "ForMegatron", "fingerprint": made.fingerprint}  # noqa: RUF012

    def blend(split: str) -> tuple[list[str], list[float]]:
        mine = [one for one in figures["shards"] if one["split"] == split]
        return [str(step.output.local("shards", one["name"])) for one in mine], [float(one["tokens"]) for one in mine]

    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=64,
        blend_per_split=[blend("train"), blend("validation"), None],
        path_to_cache=str(tmp_path),
        tokenizer=ForMegatron(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        mid_level_dataset_surplus=0.005,
    )
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        train, validation, test = BlendedMegatronDatasetBuilder(GPTDataset, [20, 4, 0], lambda: True, config).build()
    finally:
        torch.distributed.destroy_process_group()
    assert test is None
    assert len(train) >= 20
    assert len(validation) >= 4
    tokens = np.concatenate([train[n]["tokens"].numpy() for n in range(20)])
    assert tokens.max() < made.vocab_size
    assert made.eod in tokens
    assert "patient" in made.decode(tokens)


def test_one_cpu_writes_the_same_bytes(step: Step, before: Before, tmp_path: Path) -> None:
    import ray

    ray.shutdown()
    start(RaySettings(cpus=1))
    try:
        counted = Step("tokenizer", "ray", 2, {}, str(tmp_path), (before.clean,))
        counted.complete(lambda: tokenizer(counted, SETTINGS))
        assert content(counted) == content(before.counted)
        assert content(before.sharded(tmp_path)) == content(step)
    finally:
        ray.shutdown()
        start(RaySettings(cpus=2))
