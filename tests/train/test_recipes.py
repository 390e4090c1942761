"""The ready recipes build: the ranks of two replicas, of 64 or 128 in all, by Megatron's classes, without a GPU."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gap.config import Config
from gap.fits import RESERVED
from lake.config import load
from train.gpus import GPUS
from train.memory import Memory, weights_of
from train.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
LLAMA_2, LLAMA_3 = 32_000, 128_256


def recipe(name: str) -> Recipe:
    return load(ROOT / "configs" / f"{name}.yaml", [], Config).pretrain


def ranks(name: str, ids: int) -> list[dict[str, Any]]:
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "train" / "fake_ranks.py", ROOT / "configs" / f"{name}.yaml", str(ids)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return [json.loads(line) for line in made.stdout.splitlines()]


@pytest.mark.parametrize(
    ("name", "ids", "workers", "parameters"),
    [
        ("meditron-7b", LLAMA_2, 64, 6_738_415_616),
        ("meditron-70b", LLAMA_2, 128, 68_976_648_192),
        ("llama-3-8b", LLAMA_3, 64, 8_030_261_248),
    ],
)
def test_every_rank_of_a_replica_is_built(name: str, ids: int, workers: int, parameters: int) -> None:
    given = recipe(name)
    parallel = given.parallel
    built = {(row["tensor"], row["pipeline"], row["data"]): row for row in ranks(name, ids)}
    replicas = (0, parallel.data - 1)
    assert set(built) == set(product(range(parallel.tensor), range(parallel.pipeline), replicas))
    assert parallel.workers == workers
    for copy in replicas:
        rows = [(tensor, row) for (tensor, _, data), row in built.items() if data == copy]
        # Tensor parallelism repeats the norms.
        assert sum(row["matrices"] + row["norms"] * (tensor == 0) for tensor, row in rows) == parameters
    assert given.model.parameters(ids) == parameters
    for (_, stage, _), row in built.items():
        assert row["matrices"] + row["norms"] == weights_of(given.model, ids, parallel, stage)
        assert row["bytes"] == Memory.of_stage(given, ids, stage).weights


@pytest.mark.parametrize(
    ("name", "layout", "lr", "tokens"),
    [
        ("meditron-7b", (4, 1, 16, 10, 1600, 2048), 3e-4, 48e9),
        ("meditron-70b", (8, 8, 2, 2, 512, 4096), 1.5e-4, 48e9),
        ("llama-3-8b", (2, 1, 32, 1, 512, 8192), 3e-5, 48e9),
    ],
)
def test_recipes_are_those_of_the_paper(name: str, layout: tuple[int, ...], lr: float, tokens: float) -> None:
    given = recipe(name)
    parallel, batch, adamw = given.parallel, given.batch, given.optimizer
    sizes = (parallel.tensor, parallel.pipeline, parallel.data, batch.micro, batch.total, given.sequence)
    assert (sizes, adamw.lr) == (layout, lr)
    assert given.tokens == pytest.approx(tokens, rel=0.01)
    assert (adamw.betas, adamw.eps, adamw.weight_decay, adamw.clip) == ((0.9, 0.95), 1e-5, 0.1, 1.0)
    assert (given.precision, parallel.sequence_parallel) == ("bfloat16", True)
    if name.startswith("meditron"):
        assert (adamw.min_lr, adamw.warmup, given.document_mask) == (1e-6, 2000, False)
    assert Memory.of(given, LLAMA_3).total < GPUS[given.gpu].memory


@pytest.mark.parametrize(
    ("name", "workers", "epochs", "lr"),
    [("meditron-7b", 8, 3, 2e-5), ("meditron-70b", 64, 3, 2e-5), ("llama-3-8b", 8, 2, 1e-5)],
)
def test_tunings_fit_and_are_those_of_the_paper(name: str, workers: int, epochs: int, lr: float) -> None:
    config = load(ROOT / "configs" / f"{name}-tuned.yaml", [], Config)
    assert config.instructions is not None
    recipes = {
        which: tuning.recipe(config.pretrain.model, 64_000, config.instructions.sequence)
        for which, tuning in config.tunings.items()
    }
    given = recipes[""]
    assert (given.parallel.workers, given.batch.total, given.steps) == (workers, 64, 1000 * epochs)
    assert (given.optimizer.lr, given.optimizer.min_lr, given.optimizer.warmup) == (
        lr,
        pytest.approx(lr / 10),
        100 * epochs,
    )
    for recipe in recipes.values():
        assert Memory.of(recipe, LLAMA_3).total < GPUS[recipe.gpu].memory - RESERVED


@pytest.mark.parametrize("name", ["meditron-7b", "meditron-70b", "llama-3-8b"])
def test_all_train_on_the_corpus_of_gap_replay(name: str) -> None:
    whole, config = (load(ROOT / "configs" / f"{file}.yaml", [], Config) for file in ("gap-replay", name))
    own = {"name", "base", "tokenizer", "expected_vocabulary", "pretrain", "publish"}
    assert config.model_dump(exclude=own) == whole.model_dump(exclude=own)
    assert config.base is not None
    assert config.tokenizer.path == config.base.path


def test_one_override_sets_the_base_and_its_tokenizer() -> None:
    config = load(ROOT / "configs" / "meditron-7b.yaml", ["base.path=weights"], Config)
    assert config.base is not None
    assert (config.base.path, config.tokenizer.path) == ("weights", "weights")
