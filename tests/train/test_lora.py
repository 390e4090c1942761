"""LoRA against peft: the same base, adapters and batch give the same loss, gradients and logits, in every layout."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from lake.dataset import Output
from tests.train.ranks import Ranks, layout_name
from tests.train.test_layouts import Recorder, assembled
from tests.train.tiny import MODELS, VOCABULARY, save
from train.convert import Gate, to_megatron
from train.data import Sample, Shards, Vocabulary
from train.hf import open_folder
from train.history import CHECKPOINTS, folder_of
from train.loop import Job, Worker
from train.lora import TARGETS, A, B, LoraSettings, is_adapter
from train.peft import by_target, to_peft
from train.recipe import Llama, Recipe
from train.weights import Rows

pytestmark = pytest.mark.filterwarnings("ignore")
LENGTH, TOTAL = 32, 4
TOKENS = torch.randint(0, VOCABULARY, (TOTAL, LENGTH + 1), generator=torch.Generator().manual_seed(5))
MASK = (torch.rand(TOTAL, LENGTH, generator=torch.Generator().manual_seed(6)) < 0.5).float()


class Given:
    """The batch, as training data without end."""

    def __getitem__(self, number: int) -> Sample:
        row, mask = TOKENS[number % TOTAL], MASK[number % TOTAL]
        return {"tokens": row[:-1], "labels": row[1:], "mask": mask}

    def spans(self, number: int) -> list[Any]:
        return []


class Later(Recorder):
    """Keeps the gradient of the last step."""

    def _update(self, step: int, loss: float) -> tuple[float, bool]:
        self.gradients = self._whole_gradients()
        return Worker._update(self, step, loss)


def recipe(shape: Llama, lora: LoraSettings, layout: dict[str, Any]) -> Recipe:
    layout = dict(layout)
    return Recipe.model_validate(
        {
            "model": shape,
            "lora": lora,
            "recompute": layout.pop("recompute", "none"),
            "parallel": layout,
            "sequence": LENGTH,
            "batch": {"total": TOTAL, "micro": 1},
            "steps": 4,
            "optimizer": {"lr": 1e-2, "weight_decay": 0},
            "validation": {"every": 10},
        }
    )


def learn(settings: Recipe, base: Path, folder: Path) -> dict[str, Any]:
    """Do two steps, with a checkpoint between them. From B = 0, only the second has all gradients."""
    from megatron.core import parallel_state

    from train.cpu import cudaless
    from train.model import initialise, named_weights

    nothing = Shards(Output(str(folder)), {})
    job = Job(settings, 3, Vocabulary(VOCABULARY, 148, 149, "made here"), nothing, nothing, folder, base)
    with cudaless():
        initialise(settings.parallel, 3)
        worker = Later(job, Given())
        worker.start(folder / CHECKPOINTS)
        weights = {name: weight for chunk in worker.chunks for name, weight in named_weights(chunk)}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        worker.step(0)
        worker.saver.save(1, worker.chunks, worker.optimizer, worker.scheduler, {})
        worker.saver.finish()
        worker.step(1)
        worker.batches.close()
        parallel_state.destroy_model_parallel()
    return {
        "loss": worker.history.losses[1]["loss"],
        "norm": worker.history.losses[1]["grad_norm"],
        "gradients": worker.gradients,
        "changed": {name for name, weight in weights.items() if not torch.equal(weight, before[name])},
        "with gradient": {
            name for name, weight in weights.items() if hasattr(weight, "main_grad") or weight.grad is not None
        },
        "adapters": {name for name in weights if is_adapter(name)},
    }


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a base in Hugging Face's layout and in Megatron's, by the name of the model."""
    made = {}
    for name in ("llama-2", "smollm2", "qwen2-tied"):
        made[name] = folder = tmp_path_factory.mktemp(name)
        base = open_folder(save(folder / "hf", MODELS[name](), torch.float32))
        to_megatron(base, folder / "megatron", Rows(VOCABULARY), Gate(TOKENS, 1e-4), "import")
    return made


def with_peft(base: Path, adapter: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base / "hf", dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)


@pytest.mark.parametrize(
    ("name", "targets", "layout"),
    [
        ("llama-2", TARGETS, {"tensor": 2}),
        ("smollm2", TARGETS, {}),
        ("smollm2", TARGETS, {"tensor": 4, "sequence_parallel": True}),
        ("smollm2", TARGETS, {"tensor": 2, "data": 2, "distributed_optimizer": True}),
        ("smollm2", ("o_proj", "down_proj"), {"pipeline": 2, "interleave": 2, "recompute": "full"}),
        ("qwen2-tied", ("q_proj", "v_proj", "up_proj"), {"tensor": 2, "sequence_parallel": True, "pipeline": 2}),
    ],
    ids=lambda value: layout_name(value) if isinstance(value, dict) else "",
)
def test_loss_and_gradients_are_those_of_peft(
    name: str, targets: tuple[str, ...], layout: dict[str, Any], bases: dict[str, Path], ranks: Ranks, tmp_path: Path
) -> None:
    lora = LoraSettings.model_validate({"rank": 3, "alpha": 5, "targets": targets})
    shape = open_folder(bases[name] / "hf").shape
    settings = recipe(shape, lora, layout)
    results = ranks.run(settings.parallel.workers, learn, settings, bases[name] / "megatron", tmp_path)
    to_peft(folder_of(tmp_path / CHECKPOINTS, 1), shape, lora, tmp_path / "peft", "somewhere")

    model = with_peft(bases[name], tmp_path / "peft")
    logits = model(TOKENS[:, :-1]).logits
    losses = functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten(), reduction="none")
    loss = (losses * MASK.flatten()).sum() / MASK.sum()
    loss.backward()
    expected = {
        name.removeprefix("base_model.model.").replace(".default.", "."): weight.grad.numpy()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    assert {key.split(".")[-3] for key in expected} == set(targets)
    whole = {key: torch.from_numpy(value) for key, value in assembled(results).items()}
    pairs = by_target(whole, shape, lora)
    gradients = {
        f"{key.removesuffix('weight')}{kind}.weight": matrix.numpy()
        for key, pair in pairs.items()
        for kind, matrix in zip((A, B), pair, strict=True)
    }
    assert gradients.keys() == expected.keys()
    largest = max(np.abs(value).max() for value in expected.values())
    for key, value in expected.items():
        assert np.abs(value).max() > 0, key
        np.testing.assert_allclose(gradients[key], value, rtol=0, atol=1e-5 * largest, err_msg=key)
    norm = np.sqrt(sum((value**2).sum() for value in expected.values()))
    for result in results:
        assert result["loss"] == pytest.approx(float(loss), rel=1e-5)
        assert result["norm"] == pytest.approx(norm, rel=1e-5)
        assert result["changed"] == result["with gradient"] == result["adapters"]
