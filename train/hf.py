"""Hugging Face folders: read their weights tensor by tensor, check them against the config, write them in shards."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from lake.error import UserError
from lake.files import replace
from train.families import CONFIG, GENERATION, KEYS, read_config, shape_of, sizes
from train.recipe import Llama
from train.weights import Weights

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
STACKED = re.compile(r"(?<=\.)([qkv]|gate|up)_proj(?=\.)")
HARMLESS = "rotary_emb.inv_freq"
"""The end of the names of buffers that old checkpoints hold and that every library computes anew."""


class HfFolder(Mapping[str, torch.Tensor]):
    """The weights of a folder of safetensors, read when asked for. Use it as a context manager.

    Raises:
        UserError: there are no safetensors, or the index names a file that is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._files: dict[str, Any] = {}
        self._open = ExitStack()
        for file in weight_files(folder):
            try:
                opened = self._open.enter_context(safe_open(file, framework="pt"))
            except (OSError, SafetensorError) as error:
                raise UserError(f"{file}: not safetensors: {' '.join(str(error).split())}") from None
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def described(self, name: str) -> tuple[tuple[int, ...], torch.dtype | None]:
        """Shape and type of a weight, None for a type that no map has; its values are not read."""
        part = self._files[name].get_slice(name)
        return tuple(part.get_shape()), TYPES.get(part.get_dtype())


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder.

    Raises:
        UserError: there are none, or one that the index names is missing.
    """
    if (index := folder / INDEX).is_file():
        try:
            held = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, AttributeError):
            raise UserError(f"{index}: not an index of safetensors") from None
        files = [folder / Path(name).name for name in sorted(set(held))]
    else:
        files = [folder / WEIGHTS]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; weights must be safetensors, single or with {INDEX}")
    return files


@dataclass(frozen=True)
class Model:
    """A Hugging Face model: its config.json, its weights, and generation_config.json where it has one."""

    config: Mapping[str, Any]
    weights: Weights
    where: str
    generation: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def shape(self) -> Llama:
        """Raises UserError as `shape_of`."""
        return shape_of(self.config, self.where)

    @property
    def vocab_size(self) -> int:
        return int(self.config["vocab_size"])

    def check(self) -> None:
        """Compare names and shapes of the weights with what the config says.

        Raises:
            UserError: the config is refused; or a weight is missing, is unknown or has another shape or type.
        """
        expected = sizes(self.shape, self.vocab_size)
        found = {name for name in self.weights if not name.endswith(HARMLESS)}
        types: dict[str, torch.dtype | None] = {}
        faults = [f"{name} is missing" for name in sorted(expected.keys() - found)]
        faults += [f"{name} is unknown" for name in sorted(found - expected.keys())]
        for name in sorted(expected.keys() & found):
            size, dtype = self._described(name)
            if size != expected[name]:
                faults.append(f"{name} has the shape {list(size)}, not {list(expected[name])}")
            # Megatron keeps a kind of weight of all layers in one tensor, queries, keys and values together.
            kind = re.sub(r"\.\d+\.", ".N.", name)
            if dtype is None or types.setdefault(STACKED.sub("", kind), dtype) != dtype:
                faults.append(f"{name} has another type than float32, bfloat16 or float16, or than in other layers")
        if faults:
            shown = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if len(faults) > 20 else "")
            raise UserError(f"{self.where}: these weights cannot be converted: {shown}")

    def _described(self, name: str) -> tuple[tuple[int, ...], torch.dtype | None]:
        if isinstance(self.weights, HfFolder):
            return self.weights.described(name)
        return tuple(self.weights[name].shape), self.weights[name].dtype

    def dtype(self, name: str) -> torch.dtype:
        """The type of a weight that `check` has seen."""
        dtype = self._described(name)[1]
        assert dtype is not None
        return dtype


def read_configs(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json, and generation_config.json or an empty one.

    Raises:
        UserError: as `read_config`.
    """
    generation = folder / GENERATION
    return read_config(folder), json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}


def open_folder(folder: Path) -> Model:
    """The model in a folder.

    Raises:
        UserError: as HfFolder and `read_config`.
    """
    config, generation = read_configs(folder)
    return Model(config, HfFolder(folder), str(folder / CONFIG), generation)


def open_gguf(file: Path) -> Model:
    """The model in a GGUF file, its weights dequantized to float32 and in memory.

    Raises:
        UserError: transformers cannot read the file, or it would leave out some of its tensors; they are named.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import get_gguf_hf_weights_map, load_gguf_checkpoint

    config = gguf_config(file)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    try:
        from gguf import GGUFReader
        from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

        processor = TENSOR_PROCESSORS.get(config["model_type"], TensorProcessor)(config=config)
        known = get_gguf_hf_weights_map(model, processor)
        # Llama 3's stretched positions, for one, are a tensor in a GGUF file.
        lost = [tensor.name for tensor in GGUFReader(str(file)).tensors if tensor.name not in known]
        weights = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=model)["tensors"]
    except Exception as error:  # noqa: BLE001 - transformers may raise anything at a broken file
        raise UserError(f"{file}: transformers cannot read it: {' '.join(str(error).split())}") from None
    if lost:
        raise UserError(f"{file}: this model cannot be converted: {'; '.join(f'{name} is unknown' for name in lost)}")
    if config["tie_word_embeddings"]:
        weights.pop("lm_head.weight", None)
    return Model(config, weights, str(file))


def gguf_config(file: Path) -> dict[str, Any]:
    """The config of a GGUF file as a folder of plain weights would have it.

    Raises:
        UserError: transformers cannot read the file.
    """
    from transformers import AutoConfig

    try:
        read = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - as above
        raise UserError(f"{file}: transformers cannot read it: {' '.join(str(error).split())}") from None
    plain: dict[str, Any] = read.to_diff_dict()
    for of_the_file in ("quantization_config", "_model_name_or_path", "unk_token_id"):
        plain.pop(of_the_file, None)
    whole = read.to_dict()
    # The rest of the keys may be left out where they are transformers' defaults; these may not.
    needed = {key: whole[key] for key in (*KEYS, "vocab_size", "rope_parameters") if key in whole}
    # The file has it in float32, which makes 1e-5 a number with ten digits.
    epsilon = float(f"{whole['rms_norm_eps']:.6g}")
    return plain | needed | {"rms_norm_eps": epsilon, "dtype": "float32"}


class Draft:
    """Writes a folder's weights shard by shard, so that no more than a shard is in memory."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._limit = folder, shard_bytes
        self._held: dict[str, torch.Tensor] = {}
        self._bytes = 0
        self._shards: list[list[str]] = []
        self._total = 0
        self.parameters = 0
        folder.mkdir(parents=True)

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self._held and self._bytes + tensor.nbytes > self._limit:
            self._flush()
        # Its own memory: safetensors refuses parts of a larger tensor, and those would keep the whole alive.
        self._held[name] = tensor.clone(memory_format=torch.contiguous_format)
        self._bytes += tensor.nbytes
        self.parameters += tensor.numel()

    def _flush(self) -> None:
        from safetensors.torch import save_file

        name = f".shard-{len(self._shards)}"
        save_file(self._held, self._folder / name, metadata={"format": "pt"})
        self._shards.append(list(self._held))
        self._total += self._bytes
        self._held, self._bytes = {}, 0

    def close(self) -> None:
        """Write the last shard, give the shards their names, and write the index if there are several."""
        self._flush()
        count = len(self._shards)
        names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
        names = [WEIGHTS] if count == 1 else names
        for number, name in enumerate(names):
            (self._folder / f".shard-{number}").rename(self._folder / name)
        if count > 1:
            places = {held: name for name, shard in zip(names, self._shards, strict=True) for held in shard}
            write_json(self._folder / INDEX, {"metadata": {"total_size": self._total}, "weight_map": places})


def write_json(file: Path, value: Any) -> None:
    replace(file, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def write_configs(
    folder: Path,
    config: Mapping[str, Any],
    generation: Mapping[str, Any],
    dtype: torch.dtype,
    vocab_size: int,
    eod: int | None = None,
    pad: int | None = None,
) -> None:
    """Write config.json and, where the base has one, generation_config.json.

    They are the base's but for the type of the weights, the size of the vocabulary, and the tokens that end and pad,
    where these are given and differ. A base may name several tokens that end a text; they stay if `eod` is one of them.
    """
    kept = dict(config)
    kept.pop("torch_dtype", None)
    new = {"dtype": str(dtype).removeprefix("torch."), "vocab_size": vocab_size}
    write_json(folder / CONFIG, kept | new | _tokens(kept, eod, pad))
    if generation:
        write_json(folder / GENERATION, dict(generation) | _tokens(generation, eod, pad))


def _tokens(config: Mapping[str, Any], eod: int | None, pad: int | None) -> dict[str, Any]:
    if eod is None:
        return {}
    ends = config.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [ends]
    return {"eos_token_id": ends if eod in listed else eod, "pad_token_id": pad}
