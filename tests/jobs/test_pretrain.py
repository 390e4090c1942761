"""Pretraining on Ray Train, and export: layouts agree, a killed run loses nothing, the export is the trained model."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.steps import stand_in
from lake.step import Manifest, Outcome, Step
from mixing.shards import FOLDER_OF_SHARDS, write
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.export import EXPORT, Like, write_model
from ray_jobs.pretrain import PRETRAIN
from tests.jobs.processes import ray_workers
from train.convert import Gate
from train.families import config_of
from train.history import CHECKPOINTS, checkpoints, newest, read_state
from train.recipe import ExportSettings, Recipe
from train.weights import ParityError

pytestmark = pytest.mark.engine

SEED = 7
STEPS = 60
SENTENCE = "a dose of the drug was given daily to every patient with fever and cough until the night sweats stopped"
WORDS = SENTENCE.split()


def recipe(tensor: int = 1, data: int = 1, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128},
            "parallel": {"tensor": tensor, "data": data},
            "sequence": 48,
            "batch": {"total": 8, "micro": 2},
            "steps": STEPS,
            "optimizer": {"lr": 3e-3, "warmup": 5},
            "validation": {"every": 20, "sequences": 5},
            "checkpoints": {"every": 10},
        }
        | changes
    )


def sentences(chance: np.random.Generator) -> str:
    start, stride = chance.integers(0, len(WORDS)), chance.integers(1, 4)
    return " ".join(WORDS[(start + stride * step) % len(WORDS)] for step in range(chance.integers(8, 40)))


@dataclass(frozen=True)
class Before:
    """The finished steps that training and export read."""

    documents: Step[Any]
    tokenizer: Step[Any]
    shards: Step[Any]

    @property
    def inputs(self) -> dict[str, Step[Any]]:
        return {"tokenizer": self.tokenizer, "shards": self.shards}

    def pretrain(self, root: Path, settings: Recipe) -> Step[Recipe]:
        inputs = {**self.inputs, "documents": self.documents}
        return Step("pretrain", PRETRAIN, settings, str(root), inputs, seed=SEED)

    def trained(self, root: Path, settings: Recipe) -> Step[Recipe]:
        step = self.pretrain(root, settings)
        step.run()
        return step

    def exported(self, trained: Step[Recipe], root: Path, **settings: Any) -> Step[ExportSettings]:
        inputs = {**self.inputs, "trained": trained}
        step = Step("export", EXPORT, ExportSettings(**settings), str(root), inputs)
        step.run()
        return step


@pytest.fixture(scope="module")
def before(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Before:
    root = tmp_path_factory.mktemp("before")
    chance = np.random.default_rng(3)
    texts = [sentences(chance) for _ in range(300)]
    made = train(texts, TokenizerSettings.model_validate({"train": {"vocab_size": 350}}))
    tokenizer = stand_in("tokenizer", root)
    made.save(tokenizer.output.local(FOLDER))
    tokenizer.complete(Outcome)
    shards = stand_in("shard", root, {"tokenizer": tokenizer})
    rows = []
    for split, source, chosen in (
        ("train", "papers", texts[:150]),
        ("train", "replay", texts[150:250]),
        ("validation", "papers", texts[250:]),
        # Less than a sequence: its one sequence is padded, and the padding must not count.
        ("validation", "abstracts", texts[:1]),
    ):
        folder, name = shards.output.local(FOLDER_OF_SHARDS), f"{split}-{source}-00000"
        written = write(folder, name, iter(made.encode(chosen)), made.vocab_size, made.eod)
        rows.append({"split": split, "source": source, "name": name, "tokens": written.tokens})
    shards.complete(lambda: Outcome(figures={"shards": rows}))
    return Before(stand_in("clean", root), tokenizer, shards)


@pytest.fixture(scope="module")
def whole(before: Before, tmp_path_factory: pytest.TempPathFactory) -> Step[Recipe]:
    """An undisturbed run with tensor parallelism."""
    return before.trained(tmp_path_factory.mktemp("whole"), recipe(tensor=2))


def losses(manifest: Manifest) -> list[float]:
    return [row["loss"] for row in manifest.figures["losses"]]


def test_loss_falls_and_each_step_has_its_row(whole: Step[Recipe]) -> None:
    figures = whole.manifest().figures
    by_step = losses(whole.manifest())
    assert [row["step"] for row in figures["losses"]] == list(range(1, STEPS + 1))
    assert by_step[0] == pytest.approx(np.log(384), abs=0.5)
    assert np.mean(by_step[-5:]) < by_step[0] - 2
    assert max(row["lr"] for row in figures["losses"]) == figures["losses"][4]["lr"] == pytest.approx(3e-3)
    assert figures["tokens"] == STEPS * 8 * 48
    assert figures["resumed_from"] == []


def test_validation_loss_of_each_source_falls(whole: Step[Recipe]) -> None:
    rows = whole.manifest().figures["validation"]
    assert [row["step"] for row in rows] == [0, 20, 40, 60]
    assert all(set(row["sources"]) == {"papers", "abstracts"} for row in rows)
    for source in ("papers", "abstracts"):
        assert rows[-1]["sources"][source]["loss"] < rows[0]["sources"][source]["loss"] - 2


def test_a_worker_killed_in_training_is_replaced_and_the_losses_are_the_same(
    whole: Step[Recipe], before: Before, tmp_path: Path
) -> None:
    step = before.pretrain(tmp_path, recipe(tensor=2))
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(_kill_a_worker_after, step.output.local("progress.json"), 15, over)
        try:
            step.run()
        finally:
            over.set()
    assert killed.result()
    assert step.manifest().figures["resumed_from"][-1] >= 10
    assert losses(step.manifest()) == losses(whole.manifest())


def _kill_a_worker_after(progress: Path, steps: int, over: threading.Event) -> bool:
    """Kill a worker as soon as so many steps are done. Returns False if the training is over before."""
    while not over.wait(0.01):
        if progress.is_file() and json.loads(progress.read_text())["step"] >= steps:
            ray_workers("ray::RayTrainWorker")[0].kill()
            return True
    return False


def test_a_run_that_lost_its_last_steps_ends_with_the_same_weights(
    whole: Step[Recipe], before: Before, tmp_path: Path
) -> None:
    step = before.pretrain(tmp_path, recipe(tensor=2))
    shutil.copytree(whole.output.local(), step.output.local())
    step.output.local("manifest.json").unlink()
    shutil.rmtree(step.output.local("checkpoints", f"step-{STEPS:08d}"))
    (step.output.local("checkpoints") / f".step-{STEPS:08d}").mkdir()
    step.run()
    assert step.manifest().figures["resumed_from"] == [STEPS - 10]
    assert losses(step.manifest()) == losses(whole.manifest())
    assert len(list(step.output.local("checkpoints").iterdir())) == 2
    state = read_state(step.output.local("checkpoints", f"step-{STEPS:08d}"))
    assert state["validation"] == whole.manifest().figures["validation"]


@pytest.fixture(scope="module")
def exported(before: Before, whole: Step[Recipe], tmp_path_factory: pytest.TempPathFactory) -> Step[ExportSettings]:
    return before.exported(whole, tmp_path_factory.mktemp("export"))


def test_the_export_is_a_model_that_transformers_loads(exported: Step[ExportSettings], whole: Step[Recipe]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = exported.output.local("model")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    figures = exported.manifest().figures
    assert figures["max_logit_difference"] < 1e-3
    assert figures["argmax_agreement"] == 1
    assert figures["parameters"] == whole.manifest().figures["parameters"] == model.num_parameters()
    assert len(tokenizer) == model.config.vocab_size == figures["vocab_size"]
    assert set(figures["files"]) == {path.name for path in folder.iterdir()}
    prompt = tokenizer("a dose of the drug", return_tensors="pt")
    text = tokenizer.decode(model.generate(**prompt, max_new_tokens=8)[0])
    assert len(set(text.split()) & set(WORDS)) >= 5


def test_a_model_that_fails_the_gate_is_not_exported(before: Before, whole: Step[Recipe], tmp_path: Path) -> None:
    made, shape = Tokenizer.of(before.tokenizer.output), whole.settings.model
    last = newest(checkpoints(whole.output.local(CHECKPOINTS))).checkpoint
    assert last is not None
    like = Like(config_of(shape, made.vocab_size, 48), {}, {})
    # No difference is as small as that.
    gate = Gate(torch.arange(40)[None], tolerance=-1)
    with pytest.raises(ParityError, match=r"logits differ by up to .*; the rejected model is in .*\.model"):
        write_model(last, shape, made, like, gate, tmp_path / "model", "export")
    assert not (tmp_path / "model").exists()


def test_tied_weights_and_another_precision_are_exported(before: Before, tmp_path: Path) -> None:
    shape = recipe().model.model_copy(update={"tied": True})
    small = {"steps": 3, "sequence": 16, "batch": {"total": 2, "micro": 2}, "optimizer": {"lr": 1e-3}}
    trained = before.trained(tmp_path, recipe(model=shape, precision="bfloat16", **small))
    step = before.exported(trained, tmp_path)
    figures = step.manifest().figures
    assert figures["config"]["tie_word_embeddings"]
    assert figures["config"]["dtype"] == "bfloat16"
    assert Tokenizer.load(step.output.local("model")).vocab_size == figures["vocab_size"]
