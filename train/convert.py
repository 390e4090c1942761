"""Convert a model from Hugging Face's layout to Megatron's and back. Each way ends at the gate (train/gate.py)."""

from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lake.progress import progress
from train.families import names
from train.gate import hf_logits, megatron_logits, parity, same
from train.hf import SHARD_BYTES, Draft, Model, open_folder, write_configs
from train.lora import LoraSettings
from train.peft import Merged, by_target
from train.recipe import Llama
from train.store import Stored, alone, skeleton, store
from train.weights import EMBEDDING, OUTPUT, AsHf, AsMegatron, Finite, Rows, Weights, untrained

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


@dataclass(frozen=True)
class Tuned:
    """Adapters to merge: their settings, and the checkpoint of the training that they come from."""

    lora: LoraSettings
    checkpoint: Path


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
    checkpoint: Path,
    shape: Llama,
    to: Target,
    gate: Gate,
    label: str,
    shard_bytes: int = SHARD_BYTES,
    tuned: Tuned | None = None,
) -> Figures:
    """Write the Hugging Face folder of a Megatron checkpoint, without a tokenizer, and return the step's figures.

    Adapters that were `tuned` on this checkpoint are merged into its weights.

    Raises:
        UserError: a checkpoint is not one of this shape.
        ParityError: a weight is not finite, or the folder is not the checkpoint.
    """
    draft = Draft(to.folder, shard_bytes)
    with alone():
        stored: Weights = Stored(checkpoint, skeleton(shape, to.vocab_size, gate.tokens.shape[1]))
        merged: Figures = {}
        if tuned is not None:
            stored, merged = _merge(stored, tuned, shape, to.vocab_size, gate, label)
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
    return {"parameters": draft.parameters, "vocab_size": to.vocab_size, **_figures(gate, agreed, compared), **merged}


def _merge(
    base: Weights, tuned: Tuned, shape: Llama, vocab_size: int, gate: Gate, label: str
) -> tuple[Weights, Figures]:
    """Megatron's weights with the adapters in them, and how they compare to the adapters beside them.

    They are compared before the sums are rounded to the type of the weights, for that changes logits, too.
    """
    adapters = dict(Finite(Stored(tuned.checkpoint, skeleton(shape, vocab_size, gate.tokens.shape[1], tuned.lora))))
    targets = by_target(adapters, shape, tuned.lora)
    exact, rounded = (
        AsMegatron(Merged(AsHf(base, shape, vocab_size), targets, tuned.lora, to_type), shape, Rows(vocab_size))
        for to_type in (False, True)
    )
    both = ChainMap(adapters, base)  # type: ignore[arg-type]  # nothing is written to it
    beside = megatron_logits(both, shape, vocab_size, gate.tokens, tuned.lora)
    agreed = parity(beside, megatron_logits(exact, shape, vocab_size, gate.tokens)).check(gate.tolerance, label)
    return rounded, {"adapters": len(targets), "merge_logit_difference": agreed["max_logit_difference"]}


def _figures(gate: Gate, agreed: Mapping[str, float], compared: int) -> Figures:
    return {
        "sequences": len(gate.tokens),
        "tolerance": gate.tolerance,
        **agreed,
        "identical_tensors": compared,
    }
