"""Convert a model from Hugging Face's layout to Megatron's and back. Each way ends at the gate (train/gate.py)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lake.progress import progress
from train.families import names
from train.gate import hf_logits, megatron_logits, parity, same
from train.hf import SHARD_BYTES, Draft, Model, open_folder, write_configs
from train.recipe import Llama
from train.store import Stored, alone, skeleton, store
from train.weights import EMBEDDING, OUTPUT, AsHf, AsMegatron, Finite, Rows, untrained

Figures = dict[str, Any]


@dataclass(frozen=True)
class Gate:
    """What both ways are checked with: token ids [sequences, length], and the tolerance of the logits."""

    tokens: torch.Tensor
    tolerance: float


@dataclass(frozen=True)
class Target:
    """The Hugging Face folder to write: config.json and generation_config.json to start from, and the vocabulary."""

    folder: Path
    config: Mapping[str, Any]
    vocab_size: int
    eod: int | None = None
    pad: int | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)


def rows_of(base: Model, size: int, known: int, used: Collection[int]) -> Rows:
    """What becomes of the base's embeddings in a vocabulary of `size` ids, of which the base's tokenizer has `known`.

    Ids in `used` are those that the project gives a meaning; they start anew where the base never trained them.
    """
    of_family = names(base.shape)
    found: set[int] = set()
    for name in (EMBEDDING, OUTPUT):
        if name in of_family:
            found |= untrained(base.weights[of_family[name][0]])
    added = range(min(known, base.vocab_size), size)
    return Rows(size, frozenset(added) | (found & set(used)), frozenset(found))


def to_megatron(base: Model, folder: Path, rows: Rows, gate: Gate, label: str) -> Figures:
    """Write a Megatron checkpoint of the base to `folder`, a new one, and return the step's figures.

    Raises:
        UserError: the base cannot be converted; nothing was written.
        ParityError: the checkpoint is not the base.
    """
    base.check()
    shape, of_family = base.shape, names(base.shape)
    with alone():
        model = skeleton(shape, rows.size, gate.tokens.shape[1])
        types = {name: base.dtype(parts[0]) for name, parts in of_family.items()}
        with progress(f"{label}: weights", len(types), "tensors") as bar:
            store(folder, Finite(AsMegatron(base.weights, shape, rows)), model, types, bar)
        stored = Stored(folder, model)
        own = rows.trained(min(base.vocab_size, rows.size))
        tables = [part for name in (EMBEDDING, OUTPUT) for part in of_family.get(name, ())]
        compared = same(base.weights, AsHf(stored, shape, rows.size), own, tables)
        original, converted = (
            logits[..., : len(own)][..., own]
            for logits in (
                hf_logits(dict(base.config), base.weights, gate.tokens),
                megatron_logits(stored, shape, rows.size, gate.tokens),
            )
        )
        agreed = parity(original, converted).check(gate.tolerance, label)
    return {
        "parameters": shape.parameters(rows.size),
        "vocab_size": rows.size,
        "base_vocab_size": base.vocab_size,
        "fresh_rows": len(rows.fresh),
        "untrained_rows": len(rows.untrained),
        **_figures(gate, agreed, compared),
    }


def to_hf(
    checkpoint: Path, shape: Llama, to: Target, gate: Gate, label: str, shard_bytes: int = SHARD_BYTES
) -> Figures:
    """Write the Hugging Face folder of a Megatron checkpoint, without a tokenizer, and return the step's figures.

    Raises:
        UserError: the checkpoint is not one of this shape.
        ParityError: a weight is not finite, or the folder is not the checkpoint.
    """
    draft = Draft(to.folder, shard_bytes)
    with alone():
        stored = Stored(checkpoint, skeleton(shape, to.vocab_size, gate.tokens.shape[1]))
        weights = Finite(AsHf(stored, shape, to.vocab_size))
        with progress(f"{label}: weights", len(weights), "tensors") as bar:
            for name, weight in weights.items():
                draft.add(name, weight)
                bar.update()
        draft.close()
        dtype = stored[EMBEDDING].dtype
        write_configs(to.folder, to.config, to.generation, dtype, to.vocab_size, to.eod, to.pad)
        written = open_folder(to.folder)
        written.check()
        own = torch.ones(to.vocab_size, dtype=torch.bool)
        back = AsMegatron(written.weights, shape, Rows(to.vocab_size))
        compared = same(stored, back, own, (EMBEDDING, OUTPUT))
        agreed = parity(
            megatron_logits(stored, shape, to.vocab_size, gate.tokens),
            hf_logits(dict(written.config), written.weights, gate.tokens),
        ).check(gate.tolerance, label)
    return {"parameters": draft.parameters, "vocab_size": to.vocab_size, **_figures(gate, agreed, compared)}


def _figures(gate: Gate, agreed: Mapping[str, float], compared: int) -> Figures:
    return {
        "sequences": len(gate.tokens),
        "tolerance": gate.tolerance,
        **agreed,
        "identical_tensors": compared,
    }
