"""LoRA against peft: the same base, adapters and batch give the same loss, gradients and logits, in every layout."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader
from torch.nn import functional
from transformers import AutoModelForCausalLM

from lake.dataset import Output
from lake.error import UserError
from tests.train.ranks import Ranks, layout_name, layouts
from tests.train.test_layouts import Recorder, assembled
from tests.train.tiny import MODELS, VOCABULARY, save
from train import convert
from train.checkpoint import OPTIMIZER
from train.convert import Gate, Tuned, to_hf, to_megatron
from train.convert import Target as Folder
from train.data import Sample, Shards, Vocabulary
from train.families import ADAPTER_WEIGHTS
from train.flops import trained_weights
from train.gate import megatron_logits
from train.hf import open_folder
from train.history import CHECKPOINTS, folder_of
from train.loop import Job, Worker
from train.lora import TARGETS, A, B, LoraSettings, LoraTarget, is_adapter
from train.memory import adapters_of
from train.peft import Merged, by_target, to_peft
from train.recipe import Llama, Recipe
from train.store import Stored, alone, skeleton
from train.weights import ParityError, Rows

pytestmark = pytest.mark.filterwarnings("ignore")
LENGTH, TOTAL = 32, 4
SAVED, STEPS = 1, 3
LORA = LoraSettings(rank=3, alpha=5)
TOKENS = torch.randint(0, VOCABULARY, (TOTAL, LENGTH + 1), generator=torch.Generator().manual_seed(5))
GATE = Gate(TOKENS, 1e-4)
MASK = (torch.rand(TOTAL, LENGTH, generator=torch.Generator().manual_seed(6)) < 0.5).float()


class Given:
    """The batch, as training data without end."""

    def __getitem__(self, number: int) -> Sample:
        row, mask = TOKENS[number % TOTAL], MASK[number % TOTAL]
        return {"tokens": row[:-1], "labels": row[1:], "mask": mask}

    def spans(self, number: int) -> list[Any]:
        return []


class Second(Recorder):
    """Keeps the gradient of the second step, the first in which B is not 0."""

    def _update(self, step: int, loss: float) -> tuple[float, bool]:
        if step == SAVED:
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
            "steps": STEPS,
            "optimizer": {"lr": 1e-2, "weight_decay": 0},
            "validation": {"every": 10},
        }
    )


def learn(settings: Recipe, base: Path, folder: Path) -> dict[str, Any]:
    """Train from the newest checkpoint in `folder` to the last step, and save one after the first."""
    from megatron.core import parallel_state

    from train.cpu import cudaless
    from train.model import initialise, named_weights

    nothing = Shards(Output(str(folder)), {})
    job = Job(settings, 3, Vocabulary(VOCABULARY, 148, 149, "made here"), nothing, nothing, folder, base)
    with cudaless():
        initialise(settings.parallel, 3)
        worker = Second(job, Given())
        done = worker.start(folder / CHECKPOINTS)
        weights = {name: weight for chunk in worker.chunks for name, weight in named_weights(chunk)}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        for step in range(done, STEPS):
            worker.step(step)
            if step + 1 == SAVED:
                state = {"losses": worker.history.losses, "origin": worker.history.origin}
                worker.saver.save(SAVED, worker.chunks, worker.optimizer, worker.scheduler, state)
                worker.saver.finish()
        worker.batches.close()
        parallel_state.destroy_model_parallel()
    adapters = {name: weight for name, weight in weights.items() if is_adapter(name)}
    return {
        "losses": worker.history.losses,
        "gradients": worker.gradients,
        "last": {name: (*worker.gradients[name][:3], weight.detach().numpy()) for name, weight in adapters.items()},
        "weights": sum(weight.numel() for weight in adapters.values()),
        "adapters": set(adapters),
        "changed": {name for name, weight in weights.items() if not torch.equal(weight, before[name])},
        "with a gradient": {name for name in weights if hasattr(weights[name], "main_grad")},
    }


BASES = ("llama-2", "smollm2", "qwen2-tied")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a base in Hugging Face's layout and in Megatron's, by the name of the model."""
    return {name: imported(tmp_path_factory.mktemp(name), MODELS[name](), torch.float32) for name in BASES}


def imported(folder: Path, model: Any, dtype: torch.dtype) -> Path:
    base = open_folder(save(folder / "hf", model, dtype))
    to_megatron(base, folder / "megatron", Rows(VOCABULARY), GATE, "import")
    return folder


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
    name: str,
    targets: tuple[LoraTarget, ...],
    layout: dict[str, Any],
    bases: dict[str, Path],
    tuned: dict[str, Any],
    ranks: Ranks,
    tmp_path: Path,
) -> None:
    lora = LORA.model_copy(update={"targets": targets})
    shape = open_folder(bases[name] / "hf").shape
    settings = recipe(shape, lora, layout)
    results = ranks.run(settings.parallel.workers, learn, settings, bases[name] / "megatron", tmp_path)
    to_peft(folder_of(tmp_path / CHECKPOINTS, SAVED), shape, lora, tmp_path / "peft", "somewhere")

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
    gradients = by_name(assembled(results), shape, lora)
    assert gradients.keys() == expected.keys()
    largest = max(np.abs(value).max() for value in expected.values())
    for key, value in expected.items():
        assert np.abs(value).max() > 0, key
        np.testing.assert_allclose(gradients[key], value, rtol=0, atol=1e-5 * largest, err_msg=key)
    norm = np.sqrt(sum((value**2).sum() for value in expected.values()))
    for result in results:
        row = result["losses"][SAVED]
        assert row["loss"] == pytest.approx(float(loss), rel=1e-5)
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-5)
        assert result["changed"] == result["with a gradient"] == result["adapters"]
        assert result["weights"] == adapters_of(shape, lora, settings.parallel)
    if targets == TARGETS:
        # B starts from 0, so A has no gradient in the first step and is still what was drawn.
        started = load_file(tuned[name]["folder"] / "peft" / ADAPTER_WEIGHTS)
        for key, matrix in load_file(tmp_path / "peft" / ADAPTER_WEIGHTS).items():
            assert f".{B}." in key or torch.equal(matrix, started[key]), key


def by_name(whole: dict[str, np.ndarray], shape: Llama, lora: LoraSettings) -> dict[str, np.ndarray]:
    """Whole matrices by the names that peft gives them."""
    pairs = by_target({name: torch.from_numpy(values) for name, values in whole.items()}, shape, lora)
    return {
        f"{name.removesuffix('weight')}{kind}.weight": matrix.numpy()
        for name, pair in pairs.items()
        for kind, matrix in zip((A, B), pair, strict=True)
    }


@pytest.fixture(scope="module")
def tuned(ranks: Ranks, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By the name of the base: what one worker does, its folder, and the adapters as peft loads them."""
    made = {}
    for name, base in bases.items():
        folder, shape = tmp_path_factory.mktemp("tuned"), open_folder(base / "hf").shape
        (result,) = ranks.run(1, learn, recipe(shape, LORA, {}), base / "megatron", folder)
        saved = folder_of(folder / CHECKPOINTS, SAVED)
        figures = to_peft(saved, shape, LORA, folder / "peft", "somewhere")
        assert figures["parameters"] == trained_weights(shape, LORA)
        made[name] = result | {
            "folder": folder,
            "saved": saved,
            "shape": shape,
            "peft": with_peft(base, folder / "peft"),
        }
    return made


@pytest.mark.parametrize("name", BASES)
def test_logits_are_those_of_peft(name: str, bases: dict[str, Path], tuned: dict[str, Any]) -> None:
    shape, ids = tuned[name]["shape"], TOKENS[:, :-1]
    with alone(), torch.no_grad():
        base = Stored(bases[name] / "megatron", skeleton(shape, VOCABULARY, LENGTH))
        adapters = Stored(tuned[name]["saved"], skeleton(shape, VOCABULARY, LENGTH, LORA))
        ours = megatron_logits({**base, **adapters}, shape, VOCABULARY, ids, LORA)
        without = megatron_logits(base, shape, VOCABULARY, ids)
        theirs = tuned[name]["peft"](ids).logits
    assert (ours - theirs).abs().max() < 1e-5
    assert (ours - without).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "dtype"), [("llama-2", torch.float32), ("smollm2", torch.bfloat16), ("qwen2-tied", torch.float32)]
)
def test_a_merged_folder_is_the_model_of_peft(
    name: str, dtype: torch.dtype, bases: dict[str, Path], tuned: dict[str, Any], tmp_path: Path
) -> None:
    base, saved = bases[name], tuned[name]["saved"]
    if dtype != torch.float32:
        base = tmp_path / "base"
        imported(base, MODELS[name](), dtype)
    source = open_folder(base / "hf")
    to = Folder(tmp_path / "merged", source.config, VOCABULARY)
    figures = to_hf(base / "megatron", source.shape, to, GATE, "export", tuned=Tuned(LORA, saved))
    assert figures["adapters"] == 4 * len(TARGETS)
    assert figures["merge_logit_difference"] < 1e-5
    expected = with_peft(base, tuned[name]["folder"] / "peft").merge_and_unload()
    assert {weight.dtype for weight in load_file(tmp_path / "merged" / "model.safetensors").values()} == {dtype}
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    if dtype == torch.float32:
        with torch.no_grad():
            assert (merged(TOKENS).logits - expected(TOKENS).logits).abs().max() < 1e-5
    for (key, one), (_, other) in zip(merged.named_parameters(), expected.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=torch.finfo(dtype).eps, atol=1e-6, msg=key)


def test_a_wrong_merge_is_refused(
    bases: dict[str, Path], tuned: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, saved, shape = bases["smollm2"], tuned["smollm2"]["saved"], tuned["smollm2"]["shape"]
    other = LORA.model_copy(update={"alpha": LORA.alpha + 1})
    monkeypatch.setattr(convert, "Merged", lambda of, pairs, _, rounded: Merged(of, pairs, other, rounded))
    to = Folder(tmp_path / "merged", open_folder(base / "hf").config, VOCABULARY)
    with pytest.raises(ParityError, match="logits differ"):
        to_hf(base / "megatron", shape, to, GATE, "export", tuned=Tuned(LORA, saved))


def test_adapters_of_another_kind_are_refused(tuned: dict[str, Any], tmp_path: Path) -> None:
    saved, shape = tuned["smollm2"]["saved"], tuned["smollm2"]["shape"]
    for change in ({"rank": 4}, {"targets": ("q_proj",)}):
        with pytest.raises(UserError, match="checkpoint of another model"):
            to_peft(saved, shape, LORA.model_copy(update=change), tmp_path / "peft", "somewhere")


def test_a_checkpoint_holds_adapters_and_their_optimizer_alone(tuned: dict[str, Any]) -> None:
    held = set(FileSystemReader(tuned["smollm2"]["saved"]).read_metadata().state_dict_metadata)
    weights = {key for key in held if not key.startswith(OPTIMIZER)}
    assert len(weights) == 4 * len((A, B)), "Megatron stacks the layers"
    assert all(is_adapter(key) for key in weights)
    moments = {f"{OPTIMIZER}.{kind}.{key}" for key in weights for kind in ("exp_avg", "exp_avg_sq")}
    assert held == weights | moments


@pytest.mark.parametrize("layout", layouts({}, {"tensor": 2, "sequence_parallel": True}, {"pipeline": 2, "data": 2}))
def test_any_layout_goes_on_from_the_checkpoint(
    layout: dict[str, Any], ranks: Ranks, bases: dict[str, Path], tuned: dict[str, Any], tmp_path: Path
) -> None:
    expected = tuned["smollm2"]
    shutil.copytree(expected["folder"] / CHECKPOINTS, tmp_path / CHECKPOINTS)
    settings = recipe(expected["shape"], LORA, layout)
    results = ranks.run(settings.parallel.workers, learn, settings, bases["smollm2"] / "megatron", tmp_path)
    losses, whole = [row["loss"] for row in results[0]["losses"]], assembled(results, "last")
    assert len(losses) == STEPS
    assert losses == pytest.approx([row["loss"] for row in expected["losses"]], rel=2e-6)
    for name, values in assembled([expected], "last").items():
        if layout:
            np.testing.assert_allclose(whole[name], values, rtol=0, atol=1e-4, err_msg=name)
        else:
            assert np.array_equal(whole[name], values), name


def test_settings() -> None:
    given = LoraSettings.model_validate({"targets": ["v_proj", "q_proj", "q_proj"]})
    assert given.targets == ("q_proj", "v_proj")
    assert given.scale == 2
    assert given.within("linear_qkv") == ("q_proj", "v_proj")
    assert given.within("linear_fc1") == ()
    for wrong in ({"targets": []}, {"targets": ["lm_head"]}, {"rank": 0}, {"alpha": 0}):
        with pytest.raises(ValidationError):
            LoraSettings.model_validate(wrong)


def test_a_recipe_without_lora_keeps_its_fingerprint() -> None:
    shape = Llama.model_validate({"layers": 1, "hidden": 8, "heads": 2, "kv_heads": 1, "ffn": 8})
    settings = recipe(shape, LORA, {})
    assert settings.model_dump()["lora"]["rank"] == LORA.rank
    assert "lora" not in settings.model_copy(update={"lora": None}).model_dump()
