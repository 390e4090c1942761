"""Builds every rank of a config's training without a GPU and without its memory, and prints what each holds.

Runs as `python fake_ranks.py CONFIG IDS` in a process of its own, since process groups belong to a process.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from gap.config import Config
from lake.config import load
from train.cpu import cudaless
from train.model import DTYPES, GPTModel, TransformerConfig, get_gpt_layer_local_spec, parallel_state, tensor_parallel
from train.recipe import Recipe, padded


def build(recipe: Recipe, ids: int) -> list[GPTModel]:
    shape, parallel = recipe.model, recipe.parallel
    config = TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.ffn,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_heads,
        kv_channels=shape.head_size,
        normalization="RMSNorm",
        activation_func=torch.nn.functional.silu,
        gated_linear_unit=True,
        add_bias_linear=False,
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        params_dtype=DTYPES[recipe.precision],
        pipeline_dtype=DTYPES[recipe.precision],
        bf16=True,
        use_cpu_initialization=True,
    )
    model = GPTModel(
        config=config,
        transformer_layer_spec=get_gpt_layer_local_spec(normalization="RMSNorm"),
        vocab_size=padded(ids),
        max_sequence_length=recipe.sequence,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        share_embeddings_and_output_weights=shape.tied,
        position_embedding_type="rope",
    )
    return [model.to(DTYPES[recipe.precision])]


def ranks(recipe: Recipe, ids: int) -> Iterator[dict[str, Any]]:
    """Of each rank: its place in the layout and its weights, those of norms apart."""
    parallel = recipe.parallel
    for rank in range(parallel.workers):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=parallel.workers)
        parallel_state.initialize_model_parallel(
            parallel.tensor,
            parallel.pipeline,
            parallel.interleave if parallel.interleave > 1 else None,
            create_gloo_process_groups=False,
        )
        data, tensor = parallel_state.get_data_parallel_rank(), parallel_state.get_tensor_model_parallel_rank()
        place = {"tensor": tensor, "pipeline": parallel_state.get_pipeline_model_parallel_rank(), "data": data}
        tensor_parallel.model_parallel_cuda_manual_seed(1)
        with torch.device("meta"):
            weights = dict(build(recipe, ids)[0].named_parameters())
        assert all(weight.is_meta for weight in weights.values())
        norms = sum(weight.numel() for name, weight in weights.items() if "norm" in name)
        yield place | {
            "norms": norms,
            "matrices": sum(weight.numel() for weight in weights.values()) - norms,
            "bytes": sum(weight.nbytes for weight in weights.values()),
        }
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


if __name__ == "__main__":
    with cudaless():
        for row in ranks(load(sys.argv[1], [], Config).pretrain, int(sys.argv[2])):
            print(json.dumps(row))
