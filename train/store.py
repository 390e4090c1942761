"""Megatron's distributed checkpoints, read and written tensor by tensor, for models larger than the memory.

Megatron writes what it holds in memory. Here torch's writer asks for each tensor when it comes to it. The result is
what Megatron would have written on one rank, so `checkpoint.load_model` reads it in any layout.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import (
    CheckpointException,
    ChunkStorageMetadata,
    DefaultLoadPlanner,
    DefaultSavePlanner,
    FileSystemReader,
    FileSystemWriter,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint import save as torch_save
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    ReadItem,
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from tqdm import tqdm

from lake.error import UserError
from train.cpu import cudaless
from train.lora import LoraSettings, trained
from train.model import build, initialise
from train.recipe import Llama, Parallel
from train.weights import Weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state
    from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
    from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensorFactory
    from megatron.core.models.gpt import GPTModel

INDEX, COMMON = ".metadata", "common.pt"


def is_checkpoint(folder: Path) -> bool:
    return (folder / INDEX).is_file()


@contextmanager
def alone() -> Iterator[None]:
    """Megatron with this process as its only rank, on a machine with or without CUDA."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with cudaless():
            initialise(Parallel(), 0)
            try:
                yield
            finally:
                parallel_state.destroy_model_parallel()
    finally:
        dist.destroy_process_group()


def skeleton(shape: Llama, vocab_size: int, sequence: int, lora: LoraSettings | None = None) -> GPTModel:
    """The model of one rank without memory for its weights; Megatron must be up, as in `alone`."""
    with torch.device("meta"):
        (model,) = build(shape, vocab_size, sequence, Parallel(), "float32", lora=lora)
    return model.eval()


@dataclass(frozen=True)
class Place:
    """Where a weight lies: `key` names a tensor of shape `whole`, whose part at `offset` it is.

    Megatron stacks the layers' weights in one tensor with a leading axis for the layer.
    """

    key: str
    whole: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def chunk(self) -> ChunkStorageMetadata:
        """The part with its leading axis."""
        leading = (1,) * (len(self.whole) - len(self.size))
        return ChunkStorageMetadata(torch.Size(self.offset), torch.Size(leading + self.size))


def places(model: GPTModel) -> tuple[dict[str, Place], list[str]]:
    """The place of each weight by its name, and the keys of Megatron's empty extra states, which it wants to find."""
    found, extra = {}, []
    sizes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    for name, sharded in model.sharded_state_dict().items():
        if isinstance(sharded, ShardedObject):
            extra.append(sharded.unique_key)
            continue
        # A factory makes two halves of gate and up; the first says where both lie.
        one = sharded.build()[0] if isinstance(sharded, ShardedTensorFactory) else sharded
        found[name] = Place(one.key, tuple(one.global_shape), tuple(one.global_offset), sizes[name])
    return found, extra


class Stored(Mapping[str, torch.Tensor]):
    """The weights of a checkpoint that any layout wrote, by the names that they have on one rank.

    A model with adapters has a checkpoint of the adapters alone.

    Raises:
        UserError: the folder is no checkpoint, or not of this model.
    """

    def __init__(self, folder: Path, model: GPTModel) -> None:
        if not is_checkpoint(folder):
            raise UserError(f"{folder}: no Megatron checkpoint in torch's distributed format; it has no {INDEX}")
        self._reader = FileSystemReader(folder)
        self._metadata: Metadata = self._reader.read_metadata()
        self._reader.set_up_storage_reader(self._metadata, is_coordinator=True)
        self._places = trained(places(model)[0])
        faults = []
        for name, place in self._places.items():
            known = self._metadata.state_dict_metadata.get(place.key)
            if not isinstance(known, TensorStorageMetadata):
                faults.append(f"{name} is missing")
            elif tuple(known.size) != place.whole:
                faults.append(f"{place.key} has the shape {list(known.size)}, not {list(place.whole)}")
        if faults:
            raise UserError(f"{folder}: a checkpoint of another model: {'; '.join(dict.fromkeys(faults))}")

    def __getitem__(self, name: str) -> torch.Tensor:
        place = self._places[name]
        known = self._metadata.state_dict_metadata[place.key]
        target = torch.empty(place.chunk.sizes, dtype=known.properties.dtype)
        items = create_read_items_for_chunk_list(place.key, known, [place.chunk])
        self._reader.read_data(LoadPlan(items), _Into(target)).wait()
        return target.view(place.size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Into(DefaultLoadPlanner):
    """Reads the parts of one tensor."""

    def __init__(self, target: torch.Tensor) -> None:
        super().__init__()
        self._target = target

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        part = self._target
        for axis, (start, length) in enumerate(zip(read_item.dest_offsets, read_item.lengths, strict=True)):
            part = part.narrow(axis, start, length)
        return part

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None: ...


def store(folder: Path, weights: Weights, model: GPTModel, dtypes: Mapping[str, torch.dtype], bar: tqdm) -> None:
    """Write a checkpoint of the model's weights; `dtypes` has the type of each, which all layers share."""
    writer, planner = FileSystemWriter(folder, thread_count=1), _Lazy(weights, model, dtypes, bar)
    try:
        torch_save({}, storage_writer=writer, planner=planner, no_dist=True)
    except CheckpointException as error:
        # torch wraps what reading a weight raised.
        raise next(iter(error.failures.values()))[0] from None
    torch.save({}, folder / COMMON)
    save_config(CheckpointingConfig("torch_dist", 1), str(folder))


class _Lazy(DefaultSavePlanner):
    """A plan of all weights, each of which is made when it is written."""

    def __init__(self, weights: Weights, model: GPTModel, dtypes: Mapping[str, torch.dtype], bar: tqdm) -> None:
        super().__init__(flatten_state_dict=False)
        found, self._extra = places(model)
        self._weights, self._dtypes, self._bar = weights, dtypes, bar
        self._places = {MetadataIndex(place.key, place.chunk.offsets): (name, place) for name, place in found.items()}

    def create_local_plan(self) -> SavePlan:
        items = [self._item(index, name, place) for index, (name, place) in self._places.items()]
        items += [WriteItem(index=MetadataIndex(key), type=WriteItemType.BYTE_IO) for key in self._extra]
        self.plan = SavePlan(items)
        return self.plan

    def _item(self, index: MetadataIndex, name: str, place: Place) -> WriteItem:
        data = TensorWriteData(place.chunk, TensorProperties(dtype=self._dtypes[name]), torch.Size(place.whole))
        return WriteItem(index=index, type=WriteItemType.SHARD, tensor_data=data)

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        if write_item.type == WriteItemType.BYTE_IO:
            empty = io.BytesIO()
            torch.save([None], empty)
            return empty
        name, place = self._places[MetadataIndex(write_item.index.fqn, write_item.index.offset)]
        self._bar.update()
        return self._weights[name].reshape(place.chunk.sizes).contiguous()
