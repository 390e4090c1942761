"""Weights as mappings from names to tensors that are read one at a time, in Megatron's layout and in Hugging Face's.

A mapping wraps another: `AsMegatron(HfFolder(…), …)` are the weights of a Hugging Face folder under Megatron's names.
A tensor is made when it is asked for, so that memory holds a matrix and not a model.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from train.families import names
from train.recipe import Llama, padded

Weights = Mapping[str, torch.Tensor]

EMBEDDING, OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
"""Megatron's names of the two matrices with a row for each token."""

NEXT_TO_NOTHING = 1e-16
"""A row whose values are all this small was never trained. Llama 3 has such rows; the bound is Unsloth's."""


class ParityError(Exception):
    """The converted model is not the original, or is broken; the step is not committed."""


@dataclass(frozen=True)
class Rows:
    """What becomes of the rows of the base's embeddings: the model gets `size` of them.

    Rows in `fresh` start from the mean of the others: tokens that the base does not have, and those of it that are used
    though they were never trained. `untrained` rows do not count in the mean.
    """

    size: int
    fresh: frozenset[int] = frozenset()
    untrained: frozenset[int] = frozenset()

    def trained(self, rows: int) -> torch.Tensor:
        """Which of the first `rows` rows came from the base and are still its own, a mask of shape [rows]."""
        mask = torch.ones(rows, dtype=torch.bool)
        mask[[row for row in self.fresh if row < rows]] = False
        mask[self.size :] = False
        return mask


class AsMegatron(Mapping[str, torch.Tensor]):
    """Hugging Face weights under Megatron's names, the vocabulary padded. The inverse of `AsHf`."""

    def __init__(self, weights: Weights, shape: Llama, rows: Rows) -> None:
        self._weights, self._shape, self._rows = weights, shape, rows
        self._names = names(shape)

    def __getitem__(self, name: str) -> torch.Tensor:
        parts = [self._weights[part] for part in self._names[name]]
        if name in (EMBEDDING, OUTPUT):
            return grown(parts[0], self._rows)
        if len(parts) == 3:
            groups = [part.view(self._shape.kv_heads, -1, *part.shape[1:]) for part in parts]
            return torch.cat(groups, dim=1).flatten(0, 1)
        return torch.cat(parts) if len(parts) == 2 else parts[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class AsHf(Mapping[str, torch.Tensor]):
    """Megatron's weights under Hugging Face's names; rows that pad the vocabulary are cut. The inverse of `AsMegatron`.

    Megatron stacks queries, keys and values by key-value group: the query heads of the group, its key, its value. It
    stacks the gate of a feed-forward layer on the matrix that it gates.
    """

    def __init__(self, weights: Weights, shape: Llama, vocab_size: int) -> None:
        self._weights, self._shape, self._vocab_size = weights, shape, vocab_size
        self._places = {part: (of, at) for of, parts in names(shape).items() for at, part in enumerate(parts)}
        self._parts = {of: len(parts) for of, parts in names(shape).items()}
        self._last: tuple[str, torch.Tensor] | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        of, at = self._places[name]
        stacked = self._stacked(of)
        if of in (EMBEDDING, OUTPUT):
            return stacked[: self._vocab_size]
        if self._parts[of] == 3:
            heads = (self._shape.heads // self._shape.kv_heads, 1, 1)
            grouped = stacked.view(self._shape.kv_heads, sum(heads), self._shape.head_size, *stacked.shape[1:])
            return grouped.split(heads, dim=1)[at].flatten(0, 2)
        return stacked.chunk(2)[at] if self._parts[of] == 2 else stacked

    def _stacked(self, name: str) -> torch.Tensor:
        """The last matrix is kept, for its parts are asked for one after the other."""
        if self._last is None or self._last[0] != name:
            self._last = None
            self._last = name, self._weights[name]
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Finite(Mapping[str, torch.Tensor]):
    """The same weights; one that has a NaN or an infinity raises ParityError with its name."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> torch.Tensor:
        weight = self._weights[name]
        if not bool(torch.isfinite(weight).all()):
            raise ParityError(f"{name} has values that are not finite")
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def grown(matrix: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Embeddings of shape [padded(rows.size), hidden], from those of the base.

    Fresh rows are the mean of the trained ones, and so are the rows that pad the vocabulary: rows of zeros would be
    tokens with a logit of zero, which is above all others in some models.
    """
    known = min(len(matrix), rows.size)
    counted = rows.trained(len(matrix))
    counted[[row for row in rows.untrained if row < len(matrix)]] = False
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for start in range(0, len(matrix), 4096):
        total += matrix[start : start + 4096][counted[start : start + 4096]].double().sum(0)
    mean = (total / counted.sum()).to(matrix.dtype)
    result = mean.repeat(padded(rows.size), 1)
    own = rows.trained(known)
    result[:known][own] = matrix[:known][own]
    return result


def untrained(matrix: torch.Tensor) -> set[int]:
    """Rows of embeddings [vocabulary, hidden] that training never touched: constant, next to zero, or with a twin.

    Two tokens that occur in a text never end up with the same bits.
    """
    twins: defaultdict[bytes, list[int]] = defaultdict(list)
    found: set[int] = set()
    for number, row in enumerate(matrix):
        data = row.contiguous().view(torch.uint8).numpy()
        twins[hashlib.blake2b(data, digest_size=16).digest()].append(number)
    for same in twins.values():
        if len(same) > 1:
            found.update(same)
    constant = (matrix == matrix[:, :1]).all(1) | (matrix.abs().amax(1) <= NEXT_TO_NOTHING)
    return found | set(constant.nonzero().flatten().tolist())


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have one type, one shape and the same bits; a NaN equals itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))
