"""Instruct: questions and answers as aligned token and role datasets, and as sequences with a loss mask."""

import os
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lake.dataset import Output
from lake.decision import DECISION, Drop, decision
from lake.document import document_id
from lake.error import UserError
from lake.files import digest, find
from lake.schema import schema
from lake.step import Account, Body, Kind, Outcome, Step, account
from mixing.instructions.chat import Chat, check_end, encode
from mixing.instructions.packing import SEQUENCES, pack, table
from mixing.instructions.records import Conversation, InstructionInput, InstructionSettings, read_conversations
from mixing.shards import verify_shard, write
from mixing.split import stable_hash
from mixing.tokenizer.chatml import Role
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.cluster import each
from ray_jobs.decisions import decided

DATASETS, PACKED = "datasets", "packed"
KINDS = ("text", "role")
BATCH = 128
COUNTS = ("documents", "tokens", "loss_tokens", "sequences", "padding", "cut")

_DIGESTS = (f"{kind}_{half}_sha256 string" for kind in KINDS for half in ("bin", "idx"))
WRITTEN = schema(", ".join(["name string", *_DIGESTS, *(f"{name} int64" for name in COUNTS)]))
"""What a file became: `tokens` include ends of documents, `loss_tokens` are in answers, `padding` tokens fill packed
`sequences`, and `cut` conversations were longer than a sequence. A file without a conversation has no row."""


def instruction_files(settings: InstructionSettings, data: str) -> list[list[Any]]:
    """What determines the output besides the settings: each raw file's input, name and digest.

    Raises:
        UserError: a pattern matches no file.
    """
    return [[file.input, file.name, digest(file.path)] for file in _files(settings, data)]


def instruct(step: Step[InstructionSettings], data: str) -> Outcome:
    """Write the missing datasets and sequences of each file; a file is a task.

    `datasets/SOURCE-PART-text` and `-role` are in Megatron's format. Each document is a conversation; a hash gives
    their order. A role dataset holds a number of Role for each token. `packed/` is a table of SEQUENCES. `decisions`
    has a row for each record.

    Raises:
        UserError: the tokenizer ends documents with a chat token, or no record is a conversation.
    """
    tokenizer, settings = step.input("tokenizer").output, step.settings
    made = Tokenizer.of(tokenizer)
    check_end(made)
    assert step.seed is not None
    job = FileJob(step.output, step.name, settings, tokenizer, step.seed)
    verdicts = list(chain.from_iterable(each(lambda file: job.write(file), _files(settings, data), step.name, "files")))
    accounts = account(verdicts)
    if not any(source.kept for source in accounts.values()):
        raise UserError(f"instructions: no record is a conversation: {_reasons(accounts)}; are the keys right?")
    written = [step.output.read_part("written", name).to_pylist() for name in step.output.parts("written")]
    rows = sorted(({name: row[name] for name in WRITTEN.names} for row in chain(*written)), key=lambda row: row["name"])
    return Outcome(
        accounts=accounts,
        figures={
            "datasets": rows,
            **{count: sum(row[count] for row in rows) for count in COUNTS},
            "roles": {role.name.lower(): role.value for role in Role},
            "vocab_size": made.vocab_size,
            "end_of_document": made.eod,
            "tokenizer": made.fingerprint,
        },
        unit="records",
    )


INSTRUCT = Body[InstructionSettings](instruct, Kind.INSTRUCTIONS, "ray", 4)


def _reasons(accounts: dict[str, Account]) -> str:
    drops = ((source, reason, count) for source in accounts for reason, count in accounts[source].dropped.items())
    return ", ".join(f"{source}: {reason} {count:,}" for source, reason, count in drops) or "the files are empty"


@dataclass(frozen=True)
class File:
    """A raw file: its number among all files, the number of its input, and its name in the data folder."""

    part: int
    input: int
    name: str
    path: Path


def _files(settings: InstructionSettings, data: str) -> list[File]:
    named = [
        (place, path)
        for place, raw in enumerate(settings.inputs)
        for path in find(list(raw.paths), data, f"instructions.inputs.{place}.paths")
    ]
    return [File(part, place, path.relative_to(data).as_posix(), path) for part, (place, path) in enumerate(named)]


@dataclass(frozen=True)
class FileJob:
    """Converts a file. Memory holds its tokens, about four bytes each."""

    output: Output
    step: str
    settings: InstructionSettings
    tokenizer: Output
    seed: int

    def write(self, file: File) -> list[dict[str, Any]]:
        """Write the file's parts unless they are there. Returns its decisions, counted."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        settings = self.settings.inputs[file.input]
        return decided(self.output, file.part, settings.source, lambda: self._write(file, settings))

    def _write(self, file: File, settings: InstructionInput) -> None:
        made = Tokenizer.of(self.tokenizer)
        natives: list[str] = []
        chats: list[Chat] = []
        records = read_conversations(file.path, file.name, settings)
        with self.output.part_writer("decisions", file.part, DECISION, settings.source) as decide:
            while batch := list(islice(records, BATCH)):
                decide(pa.Table.from_pylist([self._decision(record, settings.source) for record in batch], DECISION))
                kept = [(record.native, record.messages) for record in batch if not isinstance(record.messages, Drop)]
                natives += [native for native, _ in kept]
                chats += encode(made, [messages for _, messages in kept])
            if chats:
                order = np.argsort(stable_hash(natives, f"instruct:{self.seed}"), kind="stable")
                self._store(file.part, f"{settings.source}-{file.part:05d}", [chats[place] for place in order], made)

    def _decision(self, record: Conversation, source: str) -> dict[str, Any]:
        drop = replace(record.messages, native=record.native) if isinstance(record.messages, Drop) else None
        return decision(self.step, document_id(source, record.native), source, drop)

    def _store(self, part: int, name: str, chats: list[Chat], made: Tokenizer) -> None:
        with self.output.local_folder(DATASETS) as folder:
            text = write(folder, f"{name}-text", (chat.ids for chat in chats), made.vocab_size, made.eod)
            role = write(folder, f"{name}-role", (chat.roles for chat in chats), len(Role), Role.END)
            lengths = verify_shard(folder / text.name, made.vocab_size, made.eod).lengths
            if not np.array_equal(lengths, verify_shard(folder / role.name, len(Role), Role.END).lengths):
                raise AlignmentError(f"{folder / name}: token and role documents differ in length")
        sequence, sequences, padding = self.settings.sequence, 0, 0
        with self.output.part_writer(PACKED, part, SEQUENCES) as store:
            packed = pack(chats, sequence, made.eod, self.settings.other_weight)
            while batch := list(islice(packed, BATCH)):
                store(table(batch, made.pad))
                sequences += len(batch)
                padding += sum(packed_sequence.room for packed_sequence in batch)
        row = {
            "name": name,
            "text_bin_sha256": text.bin_sha256,
            "text_idx_sha256": text.idx_sha256,
            "role_bin_sha256": role.bin_sha256,
            "role_idx_sha256": role.idx_sha256,
            "documents": text.documents,
            "tokens": text.tokens,
            "loss_tokens": sum(int(chat.loss.sum()) for chat in chats),
            "sequences": sequences,
            "padding": padding,
            "cut": sum(chat.ids.size + 1 > sequence for chat in chats),
        }
        self.output.write_part("written", part, pa.Table.from_pylist([row], WRITTEN))


class AlignmentError(Exception):
    """The token and role datasets of a file do not match."""
