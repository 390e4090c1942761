"""Rows of embeddings that start anew, weights that are refused, and memory that does not grow with the model."""

import gc
import threading
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import FileSystemReader
from transformers import LlamaConfig, LlamaForCausalLM

from tests.train.tiny import MODELS, SIZES, VOCABULARY, sample, save
from train import checkpoint
from train.convert import Gate, Target, rows_of, to_hf, to_megatron
from train.gate import Parity, hf_logits, parity, same
from train.hf import Model, open_folder
from train.model import build
from train.recipe import Parallel, padded
from train.store import Stored, alone
from train.weights import ParityError, Rows, grown, untrained

GATE = Gate(sample(100), 1e-4)


def test_new_and_unused_rows_are_the_mean_of_the_trained() -> None:
    matrix = torch.randn(10, 4)
    rows = Rows(12, fresh=frozenset({3, 10, 11}), untrained=frozenset({3, 7}))
    result = grown(matrix, rows)
    trained = [0, 1, 2, 4, 5, 6, 8, 9]
    mean = matrix[trained].mean(0)
    assert result.shape == (padded(12), 4)
    for row in (3, 10, 11, 12, 127):
        assert torch.allclose(result[row], mean)
    for row in (*trained, 7):
        assert torch.equal(result[row], matrix[row])


def test_rows_beyond_the_vocabulary_are_cut() -> None:
    """Qwen2.5's matrices have more rows than its tokenizer has ids."""
    matrix = torch.randn(200, 4)
    result = grown(matrix, Rows(140, fresh=frozenset(range(130, 140))))
    assert torch.equal(result[:130], matrix[:130])
    assert torch.allclose(result[130:], matrix[:130].mean(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_were_never_trained_are_found(dtype: torch.dtype) -> None:
    matrix = torch.randn(50, 16).to(dtype)
    matrix[4] = 0
    matrix[9] = 0.25
    matrix[[20, 21, 30]] = torch.randn(16).to(dtype)
    matrix[40] = torch.randn(16).to(dtype) * 1e-23
    assert untrained(matrix) == {4, 9, 20, 21, 30, 40}


def test_only_used_rows_are_replaced_and_the_others_stay(tmp_path: Path) -> None:
    model = MODELS["llama-2"]()
    folder = save(tmp_path / "base", model, torch.float32, "1GB")
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["model.embed_tokens.weight"][[140, 141, 142]] = 0
    save_file(weights, file)
    base = open_folder(folder)
    rows = rows_of(base, 153, known=150, used=[141, 150, 151, 152])
    assert rows == Rows(153, frozenset({141, 150, 151, 152}), frozenset({140, 141, 142}))
    figures = to_megatron(base, tmp_path / "megatron", rows, GATE, "import")
    assert (figures["fresh_rows"], figures["untrained_rows"], figures["base_vocab_size"]) == (4, 3, 150)
    target = Target(tmp_path / "model", base.config, 153, eod=7, pad=152)
    to_hf(tmp_path / "megatron", base.shape, target, GATE, "export")
    written = open_folder(tmp_path / "model")
    table = written.weights["model.embed_tokens.weight"]
    assert table.shape == (153, 32)
    assert torch.equal(table[141], table[150])
    assert not table[140].any()
    assert (written.config["eos_token_id"], written.config["pad_token_id"]) == (7, 152)


def test_a_list_of_ends_stays_if_it_has_the_end_of_document(tmp_path: Path) -> None:
    base = open_folder(save(tmp_path / "base", MODELS["smollm2"]()))
    to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")
    for eod, expected in ((9, [8, 9]), (7, 7)):
        folder = tmp_path / f"end-{eod}"
        generation = {"eos_token_id": [8, 9], "temperature": 0.6}
        to_hf(
            tmp_path / "megatron",
            base.shape,
            Target(folder, base.config, VOCABULARY, eod, 2, generation),
            GATE,
            "export",
        )
        assert open_folder(folder).generation == {"eos_token_id": expected, "pad_token_id": 2, "temperature": 0.6}


# What is not the same model ------------------------------------------------------------------------------------------


def test_a_difference_that_is_no_number_fails() -> None:
    logits = torch.zeros(1, 2, 3)
    broken = logits.clone()
    broken[0, 1, 2] = float("nan")
    with pytest.raises(ParityError, match="logits differ by up to nan"):
        parity(logits, broken).check(1e-3, "export")
    with pytest.raises(ParityError):
        Parity(2e-3, 1.0).check(1e-3, "export")


def test_a_weight_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    folder = save(tmp_path / "base", MODELS["llama-2"](), torch.float32, "1GB")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"][3, 4] = float("inf")
    save_file(weights, folder / "model.safetensors")
    base = open_folder(folder)
    with pytest.raises(ParityError, match=r"decoder.layers.2.mlp.linear_fc2.weight has values that are not finite"):
        to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")


def test_one_changed_bit_is_seen(tmp_path: Path) -> None:
    weights = load_file(save(tmp_path, MODELS["llama-2"](), torch.bfloat16, "1GB") / "model.safetensors")
    other = {name: weight.clone() for name, weight in weights.items()}
    everything = torch.ones(VOCABULARY, dtype=torch.bool)
    assert same(weights, other, everything, ()) == len(weights)
    other["model.norm.weight"].view(torch.int16)[0] ^= 1
    with pytest.raises(ParityError, match=r"the round trip changes model\.norm\.weight"):
        same(weights, other, everything, ())


@pytest.mark.parametrize(
    "change",
    [{"rope_factor": None}, {"rope_base": 10_000}, {"norm_eps": 1e-2}],
    ids=lambda change: next(iter(change)),
)
def test_the_gate_sees_an_architecture_that_is_not_the_base(tmp_path: Path, change: dict[str, Any]) -> None:
    model = MODELS["llama-3.1"]()
    base = open_folder(save(tmp_path / "base", model, torch.float32))
    wrong = Model(base.config, base.weights, base.where)
    wrong.__dict__["shape"] = base.shape.model_copy(update=change)
    with pytest.raises(ParityError, match="import: logits differ by up to"):
        to_megatron(wrong, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")


# Against whole models ------------------------------------------------------------------------------------------------


def test_streamed_logits_are_those_of_the_whole_model(tmp_path: Path) -> None:
    model = MODELS["qwen2-tied"]()
    base = open_folder(save(tmp_path, model, torch.float32))
    with torch.no_grad():
        assert torch.equal(hf_logits(dict(base.config), base.weights, GATE.tokens), model(GATE.tokens).logits)


def test_what_megatron_saves_is_what_is_stored(tmp_path: Path) -> None:
    """A checkpoint that Megatron wrote has the same tensors, in one rank's layout, as one that was streamed."""
    base = open_folder(save(tmp_path / "base", MODELS["qwen2"](), torch.float32))
    to_megatron(base, tmp_path / "streamed", Rows(VOCABULARY), GATE, "import")
    with alone():
        from megatron.core import dist_checkpointing

        (model,) = build(base.shape, VOCABULARY, 64, Parallel(), "float32")
        checkpoint.load_model(tmp_path / "streamed", [model])
        (tmp_path / "saved").mkdir()
        dist_checkpointing.save({"model": model.sharded_state_dict()}, str(tmp_path / "saved"))
        streamed, saved = (
            FileSystemReader(tmp_path / name).read_metadata().state_dict_metadata for name in ("streamed", "saved")
        )
        assert streamed.keys() == saved.keys()
        assert [getattr(entry, "size", None) for entry in streamed.values()] == [
            getattr(saved[key], "size", None) for key in streamed
        ]
        one, other = (Stored(tmp_path / name, model) for name in ("streamed", "saved"))
        assert same(one, other, torch.ones(128, dtype=torch.bool), ()) == len(one)


def test_memory_holds_a_few_matrices_and_not_the_model(tmp_path: Path) -> None:
    """A model of 150 MB goes to Megatron and back, both gates included, in a third of that."""
    to_megatron(open_folder(save(tmp_path / "tiny", MODELS["llama-2"]())), tmp_path / "m", Rows(VOCABULARY), GATE, "")
    config = LlamaConfig(
        **SIZES | {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 8}
    )
    base = open_folder(save(tmp_path / "base", LlamaForCausalLM(config), torch.bfloat16, "20MB"))
    size = sum(file.stat().st_size for file in (tmp_path / "base").glob("*.safetensors"))
    assert size > 120e6
    with Watched() as memory:
        to_megatron(base, tmp_path / "megatron", Rows(VOCABULARY), GATE, "import")
        target = Target(tmp_path / "back", base.config, VOCABULARY)
        to_hf(tmp_path / "megatron", base.shape, target, GATE, "export", shard_bytes=20_000_000)
    assert memory.growth < size / 3


class Watched:
    """The most memory that the process held of its own, in bytes, above what it held at the start."""

    def __enter__(self) -> Self:
        gc.collect()
        self.start = self.peak = self._own()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.002):
            self.peak = max(self.peak, self._own())

    @staticmethod
    def _own() -> int:
        """Without the mapped files, which the system drops when it needs their memory."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))

    @property
    def growth(self) -> int:
        return self.peak - self.start
