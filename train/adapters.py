"""LoRA in Megatron's linear layers, right for every layout of the workers.

The wide sides are cut as the layer's weight is: a column-parallel layer cuts the rows of B, a row-parallel one the
columns of A. The other matrix is whole on every rank of the group. What crosses between the ranks is A x alone, of
`rank` values for each token; its backward pass adds up what the ranks' parts give. So the gradient of a whole matrix is
the same on every rank. With sequence parallelism a rank sees its part of the sequence, and the matrix is marked, as
norms are: Megatron adds up its gradient.
"""

import warnings
from typing import Any

import torch
from torch.nn import Parameter
from torch.nn.functional import linear

from train.lora import LAYERS, A, B, LoraSettings
from train.recipe import Llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core.tensor_parallel import (
        ColumnParallelLinear,
        RowParallelLinear,
        copy_to_tensor_model_parallel_region,
        gather_from_sequence_parallel_region,
        reduce_from_tensor_model_parallel_region,
        reduce_scatter_to_sequence_parallel_region,
        set_tensor_model_parallel_attributes,
    )
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_layer import TransformerLayerSubmodules
    from megatron.core.utils import make_tp_sharded_tensor_for_checkpoint


def adapt(layer: TransformerLayerSubmodules, shape: Llama, lora: LoraSettings) -> None:
    """Put adapters into the linear layers of a transformer layer that hold targets."""
    attention, mlp = layer.self_attention.submodules, layer.mlp.submodules
    group = (shape.heads // shape.kv_heads, 1, 1)
    heads = torch.arange(3, device="cpu").repeat_interleave(torch.tensor(group, device="cpu") * shape.head_size)
    if lora.within("linear_qkv"):
        attention.linear_qkv = ModuleSpec(
            Column, {"lora": lora, "layer": "linear_qkv", "owners": heads.repeat(shape.kv_heads)[None]}
        )
    if lora.within("linear_proj"):
        attention.linear_proj = ModuleSpec(Row, {"lora": lora})
    if lora.within("linear_fc1"):
        stacked = torch.arange(2, device="cpu")[:, None].expand(2, shape.ffn)
        mlp.linear_fc1 = ModuleSpec(Column, {"lora": lora, "layer": "linear_fc1", "owners": stacked})
    if lora.within("linear_fc2"):
        mlp.linear_fc2 = ModuleSpec(Row, {"lora": lora})


class Column(ColumnParallelLinear):
    """A column-parallel layer that stacks several matrices, with an adapter for each that is a target.

    `owners` [stacks, rows] says which matrix a row of the whole layer belongs to; ranks cut each stack.

    `lora_A` [targets · rank, in] has the targets' A, one on the other. `lora_B` [stacks, rows / ranks, rank] has the
    layer's rows in the layer's order, since ranks may cut queries, keys and values anywhere. Rows of matrices that are
    no targets are there and stay zero.
    """

    def __init__(self, *args: Any, lora: LoraSettings, layer: str, owners: torch.Tensor, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.scale = lora.scale
        targets = torch.tensor([LAYERS[layer].index(target) for target in lora.within(layer)], device="cpu")
        mine = owners.chunk(self.tp_group.size(), 1)[self.tp_group.rank()]
        self.register_buffer("owned", mine.flatten()[:, None] == targets, persistent=False)
        dtype = self.config.params_dtype
        self.lora_A = Parameter(torch.empty(len(targets) * lora.rank, self.input_size, dtype=dtype))
        self.lora_A.sequence_parallel = self.config.sequence_parallel
        self.lora_B = Parameter(torch.empty(*mine.shape, lora.rank, dtype=dtype))
        set_tensor_model_parallel_attributes(self.lora_B, True, 1, 1)

    def forward(self, input_: torch.Tensor, *args: Any, **keys: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        output, bias = super().forward(input_, *args, **keys)
        narrow = linear(input_, self.lora_A)
        if self.sequence_parallel:
            narrow = gather_from_sequence_parallel_region(narrow, group=self.tp_group)
        else:
            narrow = copy_to_tensor_model_parallel_region(narrow, group=self.tp_group)
        # A row reads what the A of its own matrix gives.
        wide = (self.lora_B.flatten(0, 1)[:, None] * self.owned[..., None]).flatten(1)
        return _added(output, narrow, wide, self.scale), bias

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: Any = (), metadata: Any = None) -> dict[str, Any]:
        state = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        return state | _cut(self, B, prefix, sharded_offsets, metadata)


class Row(RowParallelLinear):
    """A row-parallel layer with an adapter: `lora_A` [rank, in / ranks] and `lora_B` [1, out, rank]."""

    def __init__(self, *args: Any, lora: LoraSettings, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.scale = lora.scale
        dtype = self.config.params_dtype
        self.lora_A = Parameter(torch.empty(lora.rank, self.input_size_per_partition, dtype=dtype))
        set_tensor_model_parallel_attributes(self.lora_A, True, 1, 1)
        self.lora_B = Parameter(torch.empty(1, self.output_size, lora.rank, dtype=dtype))
        self.lora_B.sequence_parallel = self.config.sequence_parallel

    def forward(self, input_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        output, bias = super().forward(input_)
        narrow = linear(input_, self.lora_A)
        if self.sequence_parallel:
            narrow = reduce_scatter_to_sequence_parallel_region(narrow, group=self.tp_group)
        else:
            narrow = reduce_from_tensor_model_parallel_region(narrow, group=self.tp_group)
        return _added(output, narrow, self.lora_B[0], self.scale), bias

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: Any = (), metadata: Any = None) -> dict[str, Any]:
        state = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        return state | _cut(self, A, prefix, sharded_offsets, metadata)


def _added(output: torch.Tensor, narrow: torch.Tensor, wide: torch.Tensor, scale: float) -> torch.Tensor:
    """output + scale · narrow @ wide.T, in one kernel."""
    added = torch.addmm(output.flatten(0, 1), narrow.flatten(0, 1), wide.t(), alpha=scale)
    return added.view_as(output)


def _cut(module: Any, name: str, prefix: str, offsets: Any, metadata: Any) -> dict[str, Any]:
    """The place of the parameter that the ranks cut along its second axis."""
    key = prefix + name
    groups = {"tp_group": module.tp_group, "dp_cp_group": metadata["dp_cp_group"]}
    return {
        key: make_tp_sharded_tensor_for_checkpoint(
            module.get_parameter(name), key, 1, prepend_offsets=offsets, **groups
        )
    }
