"""Every family goes to Megatron and back without losing a bit, and any layout loads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.train.ranks import Ranks
from tests.train.tiny import MODELS, VOCABULARY, sample, save
from train import checkpoint
from train.convert import Gate, Target, to_hf, to_megatron
from train.cpu import cudaless
from train.hf import open_folder
from train.model import build, initialise
from train.recipe import Llama, Parallel
from train.weights import Rows, same_bits

pytestmark = pytest.mark.filterwarnings("ignore")
GATE = Gate(sample(), 1e-4)


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    return {name: weight for file in folder.glob("*.safetensors") for name, weight in load_file(file).items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_by_bit(tmp_path: Path, name: str) -> None:
    base = open_folder(save(tmp_path / "base", MODELS[name]()))
    figures = to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")
    assert figures["max_logit_difference"] < 1e-4
    assert figures["argmax_agreement"] == 1
    target = Target(tmp_path / "back", base.config, VOCABULARY, generation=base.generation)
    to_hf(tmp_path / "megatron", base.shape, target, GATE, "export", shard_bytes=20_000)
    before, after = loaded(tmp_path / "base"), loaded(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(same_bits(before[weight], after[weight]) for weight in before)
    assert len(list((tmp_path / "back").glob("model-*-of-*.safetensors"))) > 2
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "base" / file).read_text()) == json.loads((tmp_path / "back" / file).read_text())


@pytest.mark.parametrize("name", ["smollm2", "qwen2"])
def test_a_user_loads_what_was_written(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    base = open_folder(save(tmp_path / "base", model, torch.float32))
    to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")
    to_hf(tmp_path / "megatron", base.shape, Target(tmp_path / "back", base.config, VOCABULARY), GATE, "export")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    with torch.no_grad():
        assert torch.equal(written(GATE.tokens).logits, model(GATE.tokens).logits)


# Layouts -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    pool = Ranks(4, tmp_path_factory.mktemp("meetings"))
    yield pool
    pool.close()


@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (4, 1), (1, 2)])
@pytest.mark.parametrize("name", ["llama-3.1", "qwen2-tied"])
def test_any_layout_loads_the_checkpoint(tmp_path: Path, ranks: Ranks, name: str, tensor: int, pipeline: int) -> None:
    """With TP 4 two ranks share each of the two key-value groups."""
    base = open_folder(save(tmp_path / "base", MODELS[name]()))
    to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")
    layout = Parallel(tensor=tensor, pipeline=pipeline)
    computed = ranks.run(layout.workers, logits, str(tmp_path / "megatron"), base.shape, layout)[-1]
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
        expected = model(GATE.tokens).logits.numpy()
    assert abs(computed - expected).max() < 1e-4


def logits(folder: str, shape: Llama, layout: Parallel) -> Any:
    """The logits of the last stage; the stages before hand their activations over."""
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import gather_from_tensor_model_parallel_region

    with cudaless(), torch.no_grad():
        initialise(layout, 0)
        (model,) = build(shape, VOCABULARY, GATE.tokens.shape[1], layout, "float32")
        checkpoint.load_model(Path(folder), [model.eval()])
        if not parallel_state.is_pipeline_first_stage():
            received = torch.empty(GATE.tokens.shape[1], len(GATE.tokens), shape.hidden)
            dist.recv(received, dist.get_rank() - layout.tensor)
            model.set_input_tensor(received)
        output = model(GATE.tokens, None, None)
        if parallel_state.is_pipeline_last_stage():
            output = gather_from_tensor_model_parallel_region(output)[..., :VOCABULARY].numpy()
        else:
            output = dist.send(output, dist.get_rank() + layout.tensor)
        parallel_state.destroy_model_parallel()
        return output
