"""Check shards: are they what was written, does Megatron read them, do they hold the documents' text?"""

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Output
from lake.error import UserError
from lake.files import sha256
from lake.step import Step
from mixing.reshard import packed_lengths
from mixing.shards import FOLDER_OF_SHARDS, Index, ShardSettings, read_index, verify_shard, without_remedy
from mixing.split import stable_hash
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.cluster import each

SHARD_NAME = re.compile(r"[^-]+-.+-\d+")
SAMPLE = 100
"""Documents of each shard to decode and compare with their text."""

PARTS_READ = 8
"""The most parts of the clean documents to read for the texts of a shard."""

MOST_LOST = 0.5
"""The largest share of decoded documents that may have lost text. A good tokenizer may lack ids for rare characters,
which few documents hold; a tokenizer that loses blanks, line ends or case does so in nearly every document."""


class Verdict(Enum):
    """What a document's ids decode to: exactly its text; a text with the same NFKC, from tokenizers that normalise; a
    different text, though the document encodes to these ids; or they are wrong ids.
    """

    EXACT = "exact"
    ALIKE = "alike"
    LOST = "lost"
    WRONG = "wrong"


@dataclass(frozen=True)
class Checked:
    """A checked shard. Of its `sampled` documents, `exact` decode exactly to their text. The others have the right ids,
    but the tokenizer does not restore every text; `lost` differ even in NFKC.
    """

    shard: str
    faults: tuple[str, ...]
    documents: int
    tokens: int
    sampled: int = 0
    exact: int = 0
    lost: int = 0


@dataclass(frozen=True)
class WrittenCheck:
    """Checks a step's shards against its manifest and index table, without the rest of the lake.

    `vocab_size` and `eod` are the tokenizer's; `pack` is the setting that the shards were written with.
    """

    output: Output
    vocab_size: int
    eod: int
    pack: int | None

    def check(self, written: dict[str, Any]) -> Checked:
        """Check a shard, a row of the step's figures: structure, ids, ends, places, SHA-256, sampled text."""
        name = written["name"]
        files = [file for kind in ("bin", "idx") if self.output.exists(FOLDER_OF_SHARDS, file := f"{name}.{kind}")]
        with self.output.local_copy(FOLDER_OF_SHARDS, files) as folder:
            return self._check(folder / name, written)

    def _check(self, prefix: Path, written: dict[str, Any]) -> Checked:
        faults: list[str] = []
        verdicts: Counter[Verdict] = Counter()
        try:
            places = self._places(written)
            self._compare(prefix, places, written)
            verdicts = self._texts(prefix, places)
        except UserError as error:
            fault = without_remedy(error)
            faults.append(fault if prefix.name in fault else f"{prefix.name}: {fault}")
        faults += [
            f"{file}: its SHA-256 differs from the manifest's"
            for kind in ("bin", "idx")
            if (file := prefix.with_name(f"{prefix.name}.{kind}")).is_file()
            and sha256(file) != written[f"{kind}_sha256"]
        ]
        exact, lost = verdicts[Verdict.EXACT], verdicts[Verdict.LOST]
        counts = written["documents"], written["tokens"], verdicts.total(), exact, lost
        return Checked(written["name"], tuple(faults), *counts)

    def _places(self, written: dict[str, Any]) -> pa.Table:
        rows = index_rows(self.output, written["name"])
        if rows is None:
            raise UserError(f"{written['name']}: its part of the index table is missing")
        return rows

    def _compare(self, prefix: Path, places: pa.Table, written: dict[str, Any]) -> None:
        """Check structure, ids and ends, and that manifest, index table and shard agree."""
        lengths = places["tokens"].to_numpy()
        index = verify_shard(prefix, self.vocab_size, self.eod, lengths if self.pack else None)
        if (places.num_rows, index.tokens) != (written["documents"], written["tokens"]):
            raise UserError(f"{prefix}: not the shard that was written: documents or tokens differ from the manifest's")
        cut = packed_lengths(index.tokens, self.pack) if self.pack else lengths
        if not np.array_equal(index.lengths, cut):
            fault = f"its sequences are not {self.pack} tokens each" if self.pack else "lengths differ from its index's"
            raise UserError(f"{prefix}: not the shard that was written: {fault}")
        starts = np.cumsum(lengths) - lengths
        numbered = np.array_equal(places["document"].to_numpy(), np.arange(places.num_rows))
        if not numbered or not np.array_equal(places["offset"].to_numpy(), starts):
            raise UserError(f"{prefix}: the index table does not lead to its documents")
        if not _megatron_reads(prefix, index):
            raise UserError(f"{prefix}: megatron-core reads it differently; is megatron-core 0.16 installed?")

    def _texts(self, prefix: Path, places: pa.Table) -> Counter[Verdict]:
        """Verdicts on decoded documents. There is no text here to compare with."""
        return Counter()


@dataclass(frozen=True)
class ShardCheck(WrittenCheck):
    """Checks shards in their lake, with tokenizer and clean text: it also decodes `sample` documents of each shard."""

    clean: Output
    made: Output
    sample: int = SAMPLE

    @classmethod
    def of(cls, step: Step[ShardSettings], sample: int = SAMPLE) -> "ShardCheck":
        """The check of a shard step, done or not."""
        clean, made = step.input("documents").output, step.input("tokenizer").output
        tokenizer = Tokenizer.of(made)
        return cls(step.output, tokenizer.vocab_size, tokenizer.eod, step.settings.pack, clean, made, sample)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.of(self.made)

    def _texts(self, prefix: Path, places: pa.Table) -> Counter[Verdict]:
        """Decode a sample that is the same in every run."""
        rows = self._sampled(prefix.name, places)
        data = prefix.with_name(prefix.name + ".bin")
        tokens = np.memmap(data, read_index(prefix).dtype, mode="r")
        verdicts: list[Verdict] = []
        for part in sorted({row["part"] for row in rows}):
            group = [row for row in rows if row["part"] == part]
            texts = self._clean(Output.part_name(part, group[0]["source"]), {row["id"] for row in group})
            verdicts += [
                self._verdict(tokens[row["offset"] :][: row["tokens"] - 1], texts.get(row["id"])) for row in group
            ]
        wrong = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict is Verdict.WRONG]
        if wrong:
            first = min(wrong, key=lambda row: row["document"])
            more = f" (and {len(wrong) - 1} more of {len(rows)} checked)" if len(wrong) > 1 else ""
            raise UserError(f"{data}: document {first['document']} is not the text of {first['id']}{more}")
        return Counter(verdicts)

    def _sampled(self, shard: str, places: pa.Table) -> list[dict[str, Any]]:
        """Places of `sample` documents, sorted by part, from as few parts as possible. Hashes choose both."""
        parts, counts = np.unique(places["part"].to_numpy(), return_counts=True)
        random = np.argsort(stable_hash((f"{shard}:{part}" for part in parts.tolist()), "verify"), kind="stable")
        enough = 1 + int(np.searchsorted(np.cumsum(counts[random]), self.sample))
        chosen = parts[random[: min(enough, PARTS_READ)]]
        rows = places.filter(pc.is_in(places["part"], pa.array(chosen)))
        copies = zip(rows["id"].to_pylist(), rows["copy"].to_pylist(), strict=True)
        hashes = stable_hash((f"{id_}:{copy}" for id_, copy in copies), "verify")
        return rows.take(np.argsort(hashes, kind="stable")[: self.sample]).sort_by("part").to_pylist()

    def _clean(self, part: str, ids: set[str]) -> dict[str, str]:
        rows = _read(self.clean, "documents", part, ["id", "text"])
        rows = rows.filter(pc.is_in(rows["id"], pa.array(ids, pa.string())))
        return dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))

    def _verdict(self, ids: npt.NDArray[Any], text: str | None) -> Verdict:
        if text is None:
            return Verdict.WRONG
        decoded = self.tokenizer.decode(ids)
        if decoded == text:
            return Verdict.EXACT
        if not np.array_equal(self.tokenizer.encode([text])[0], ids):
            return Verdict.WRONG
        decoded, text = unicodedata.normalize("NFKC", decoded), unicodedata.normalize("NFKC", text)
        return Verdict.ALIKE if decoded == text else Verdict.LOST


def part_of(shard: str) -> str:
    """The part of the index table for a shard."""
    source, _, part = shard.partition("-")[2].rpartition("-")
    return Output.part_name(int(part), source)


def index_rows(output: Output, shard: str) -> pa.Table | None:
    """The rows of the index table for a shard, in the order of its documents; None if the part is missing.

    Raises:
        UserError: the part of the table is corrupt.
    """
    if not SHARD_NAME.fullmatch(shard) or not output.exists("index", part_of(shard)):
        return None
    rows = _read(output, "index", part_of(shard))
    return rows.filter(pc.equal(rows["shard"], shard)).sort_by("document")


def _read(output: Output, table: str, part: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return output.read_part(table, part, columns)
    except (pa.ArrowException, OSError) as error:
        fault = " ".join(str(error).split())
        raise UserError(f"{output.path(table, part)}: missing or corrupt: {fault}") from None


def _megatron_reads(prefix: Path, index: Index) -> bool:
    """Whether megatron-core reads the same sequences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDataset
    theirs = IndexedDataset(str(prefix))
    last = np.memmap(prefix.with_name(prefix.name + ".bin"), index.dtype, mode="r")[-int(index.lengths[-1]) :]
    same = np.array_equal(theirs.sequence_lengths, index.lengths) and np.array_equal(theirs[len(theirs) - 1], last)
    return bool(same and len(theirs.document_indices) == len(theirs) + 1)


def check_all(job: ShardCheck, shards: list[dict[str, Any]], step: str) -> Iterator[Checked]:
    """Check shards, rows of the step's figures, in Ray tasks."""
    return each(lambda row: job.check(row), shards, step, "shards")


def lossy(checked: Sequence[Checked]) -> str | None:
    """The fault of a tokenizer that loses text: more than MOST_LOST of all decoded documents differ from theirs."""
    sampled, lost = sum(shard.sampled for shard in checked), sum(shard.lost for shard in checked)
    if lost <= MOST_LOST * sampled:
        return None
    return (
        f"{lost:,} of {sampled:,} decoded documents differ from their text: the tokenizer loses blanks, case or "
        "characters; use another one"
    )


def check_step(step: Step[ShardSettings], sample: int = SAMPLE) -> list[Checked]:
    """Check every shard of a finished step. Shards that the step did not write and a tokenizer that loses text are
    faults, too; they come after the shards.
    """
    shards = step.manifest().figures["shards"]
    checked = list(check_all(ShardCheck.of(step, sample), shards, "verify"))
    files = [Path(file) for file in step.output.files(FOLDER_OF_SHARDS)]
    strangers = {file.stem for file in files if file.suffix in {".bin", ".idx"}} - {row["name"] for row in shards}
    folder = step.output.path(FOLDER_OF_SHARDS)
    faults = {name: f"{folder}/{name}: the step wrote no such shard" for name in sorted(strangers)}
    if fault := lossy(checked):
        faults[step.name] = f"{step.output.root}: {fault}"
    return [*checked, *(Checked(name, (fault,), 0, 0) for name, fault in faults.items())]
