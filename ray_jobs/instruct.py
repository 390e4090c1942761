"""Instruct: questions and answers as aligned token and role datasets, and as sequences with a loss mask."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.among import SKETCH, Duplicate, duplicates, sketch
from dedup.decontaminate import COLUMNS, DecontaminateSettings, drops, search
from dedup.settings import DedupSettings
from eval.questions import load_questions, question_table, raw_files
from eval.settings import EvaluateSettings
from eval.training import Training
from lake.dataset import Output
from lake.decision import DECISION, Drop, RecordError, decision
from lake.document import document_id
from lake.error import UserError
from lake.files import digest, find
from lake.schema import schema
from lake.step import Account, Body, Kind, Outcome, Step, account
from mixing.instructions.packing import SEQUENCES, fitted, pack, table
from mixing.instructions.records import Conversation, read_conversations
from mixing.instructions.settings import InstructionSettings, QuestionInput
from mixing.instructions.template import ChatTemplate, ChatTokens
from mixing.shards import shard_name, verify_shard, write
from mixing.split import SPLITS, TRAIN, VALIDATION, stable_hash, within
from mixing.tokenizer.chatml import ROLES, Message, Role
from mixing.tokenizer.kept import settings_of
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.cluster import each
from ray_jobs.decisions import decided
from train.history import MODEL

DATASETS = "datasets"
PACKED = {TRAIN: "packed-train", VALIDATION: "packed-validation"}
RECORDS, CHATS = ".staging/records", ".staging/chats"
KINDS = ("text", "role")
BATCH = 128
COUNTS = ("documents", "tokens", "loss_tokens", "sequences", "padding", "cut")

_DIGESTS = (f"{kind}_{half}_sha256 string" for kind in KINDS for half in ("bin", "idx"))
WRITTEN = schema(", ".join(["name string, split string", *_DIGESTS, *(f"{name} int64" for name in COUNTS)]))
"""What the conversations of a file and a split became, if there are any: `tokens` include ends of documents,
`loss_tokens` are in answers, `padding` tokens fill packed `sequences`, and `cut` conversations lost their end."""

CHAT = pa.schema(
    [*schema("native string, subject string, cut bool, ids list<int32>, roles binary, loss binary"), *SKETCH]
)
"""A conversation that no rule on itself dropped: its tokens, and what duplicates are found by."""


def identity(
    settings: InstructionSettings,
    data: str,
    asked: EvaluateSettings,
    decontaminate: DecontaminateSettings,
    dedup: DedupSettings,
) -> list[Any]:
    """What determines the output besides the settings: each raw file's input, name and digest, the questions that no
    conversation may quote, and by which rules conversations quote them or are duplicates.

    Raises:
        UserError: a pattern matches no file, or a benchmark has none.
    """
    raw = [[part.input, name, digest(path)] for part in _parts(settings, data) for name, path in part.files]
    questions = [[path.name, digest(path)] for path in raw_files(asked, data)]
    return [raw, questions, *(rules.model_dump(mode="json") for rules in (decontaminate, dedup))]


def instruct(
    step: Step[InstructionSettings],
    data: str,
    asked: EvaluateSettings,
    decontaminate: DecontaminateSettings,
    dedup: DedupSettings,
) -> Outcome:
    """Write the missing datasets and sequences of each file; a file is a task.

    First each file's records become conversations in tokens. Then duplicates among all of them go, the first stays.
    `datasets/SPLIT-SOURCE-PART-text` and `-role` are in Megatron's format. A document is a conversation; a hash gives
    their order. A role dataset holds a number of Role for each token. The tables of PACKED have rows of SEQUENCES, by
    source. `decisions` has a row for each record.

    The chat template is that of the step `base`, where there is one, else ours.

    Raises:
        UserError: the template cannot teach (mixing/instructions/template.py), or no record is a conversation.
    """
    settings, parts = step.settings, _parts(step.settings, data)
    assert step.seed is not None
    tokenizer = step.input("tokenizer").output
    made = Tokenizer.of(tokenizer)
    kept = kept_settings(step)
    ChatTemplate.of(made, kept)
    job = Job(step.output, step.name, settings, tokenizer, kept, step.seed, data, decontaminate, dedup)
    gone: Mapping[int, Mapping[int, Drop]] = {}
    if not all(step.output.has_part("decisions", part.number, part.source) for part in parts):
        quoted = question_table(load_questions(asked, data))
        list(each(lambda part: job.read(part, quoted), parts, f"{step.name}: read", "files"))
        gone = job.duplicates(parts)
    tasks = [(part, gone.get(part.number, {})) for part in parts]
    verdicts = list(chain.from_iterable(each(lambda task: job.write(*task), tasks, step.name, "files")))
    accounts = account(verdicts)
    if not any(source.kept for source in accounts.values()):
        raise UserError(f"instructions: no record is a conversation: {_reasons(accounts)}; are the keys right?")
    step.output.delete(".staging")
    written = [step.output.read_part("written", name).to_pylist() for name in step.output.parts("written")]
    rows = sorted(({name: row[name] for name in WRITTEN.names} for row in chain(*written)), key=lambda row: row["name"])
    return Outcome(
        accounts=accounts,
        figures={
            "datasets": rows,
            **{count: sum(row[count] for row in rows) for count in COUNTS},
            "rows": {split: sum(row["sequences"] for row in rows if row["split"] == split) for split in SPLITS},
            "roles": {role.name.lower(): role.value for role in Role},
            "vocab_size": made.vocab_size,
            "end_of_document": made.eod,
            "tokenizer": made.fingerprint,
        },
        unit="records",
    )


def check(step: Step[InstructionSettings], data: str, asked: EvaluateSettings, **_: Any) -> None:
    """Raises UserError where a file of questions, to learn or to keep out, is missing, broken or of another form."""
    load_questions(asked, data)
    for place, settings in enumerate(step.settings.inputs):
        if isinstance(settings, QuestionInput):
            list(_training(place, settings, data).chats())


INSTRUCT = Body[InstructionSettings](instruct, Kind.INSTRUCTIONS, "ray", 5, check=check)


def kept_settings(step: Step[Any]) -> dict[str, Any]:
    """What the base, or else our tokenizer, says of it: among other things the chat template."""
    if "base" in step.inputs:
        return settings_of(step.input("base").output.local(MODEL))
    with step.input("tokenizer").output.local_copy(FOLDER) as folder:
        return settings_of(folder)


def _reasons(accounts: dict[str, Account]) -> str:
    gone = ((source, reason, count) for source in accounts for reason, count in accounts[source].dropped.items())
    return ", ".join(f"{source}: {reason} {count:,}" for source, reason, count in gone) or "the files are empty"


@dataclass(frozen=True)
class Part:
    """What a task reads: a raw file, or all files of a benchmark's questions; names are those in the data folder."""

    number: int
    input: int
    source: str
    files: Sequence[tuple[str, Path]]


def _parts(settings: InstructionSettings, data: str) -> list[Part]:
    found: list[Part] = []
    for place, one in enumerate(settings.inputs):
        if isinstance(one, QuestionInput):
            files = [(path.name, path) for path in _training(place, one, data).files()]
            found.append(Part(len(found), place, one.source, files))
            continue
        for path in find(list(one.paths), data, f"instructions.inputs.{place}.paths"):
            found.append(Part(len(found), place, one.source, [(path.relative_to(data).as_posix(), path)]))
    return found


def _training(place: int, settings: QuestionInput, data: str) -> Training:
    where = f"instructions.inputs.{place}"
    return Training(where, settings.task, settings.files, settings.mode, settings.protocol, data)


@dataclass(frozen=True)
class Job:
    """Converts a part. Memory holds its tokens, about four bytes each; `kept` has the chat template."""

    output: Output
    step: str
    settings: InstructionSettings
    tokenizer: Output
    kept: Mapping[str, Any]
    seed: int
    data: str
    decontaminate: DecontaminateSettings
    dedup: DedupSettings

    def read(self, part: Part, questions: pa.Table) -> None:
        """Write the part's records and conversations to the staging tables unless they are there."""
        if self.output.has_part(CHATS, part.number, part.source):
            return
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        judge = Judge(self, ChatTemplate.of(Tokenizer.of(self.tokenizer), self.kept), questions)
        records = self._records(part)
        with (
            self.output.part_writer(CHATS, part.number, CHAT, part.source) as store,
            self.output.part_writer(RECORDS, part.number, DECISION, part.source) as decide,
        ):
            while batch := list(islice(records, BATCH)):
                found = judge.judge(batch)
                decide(pa.Table.from_pylist([self._decision(*pair, part.source) for pair in found], DECISION))
                kept = [(record, chat) for record, chat in found if not isinstance(chat, Drop)]
                store(self._chats(kept))

    def _records(self, part: Part) -> Iterator[Conversation]:
        settings = self.settings.inputs[part.input]
        if not isinstance(settings, QuestionInput):
            ((name, path),) = part.files
            yield from read_conversations(path, name, settings)
            return
        for question, chat in _training(part.input, settings, self.data).chats():
            native = f"{settings.task}/{question.id}"
            if isinstance(chat, Drop):
                yield Conversation(native, chat, native)
                continue
            said = tuple(Message(ROLES[message["role"]], message["content"]) for message in chat)
            yield Conversation(native, said, native)

    def _decision(self, record: Conversation, found: Any, source: str) -> dict[str, Any]:
        drop = replace(found, native=record.native) if isinstance(found, Drop) else None
        return decision(self.step, document_id(source, record.native), source, drop)

    def _chats(self, kept: Sequence[tuple[Conversation, ChatTokens]]) -> pa.Table:
        """Rows of CHAT."""
        length = self.settings.sequence
        said = [_said(record, Role.PROMPTER, Role.ASSISTANT) for record, _ in kept]
        sketches = sketch(pa.array(said, pa.string()), self.dedup)
        rows = [
            {
                "native": record.native,
                "subject": record.subject,
                "cut": chat.ids.size > length,
                "ids": chat[:length].ids,
                "roles": chat[:length].roles.tobytes(),
                "loss": chat[:length].loss.tobytes(),
            }
            for record, chat in kept
        ]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(CHAT)[: -len(SKETCH)]))
        for name in SKETCH.names:
            table = table.append_column(name, sketches[name])
        return table

    def duplicates(self, parts: Sequence[Part]) -> dict[int, dict[int, Drop]]:
        """By part and place within it, the conversations that are like one before, in the order of inputs and files."""
        columns = ["native", "subject", *SKETCH.names]
        tables = [self._staged(CHATS, part, columns) for part in parts]
        rows = pa.concat_tables(tables)
        natives = rows["native"].to_pylist()
        of = [
            (part.number, part.source, place)
            for part, rows in zip(parts, tables, strict=True)
            for place in range(len(rows))
        ]
        gone: dict[int, dict[int, Drop]] = {}
        for place, found in duplicates(rows.select(SKETCH.names), rows["subject"].to_pylist(), self.dedup).items():
            number, _, row = of[place]
            _, source, _ = of[found.survivor]
            gone.setdefault(number, {})[row] = _drop(found, natives[place], natives[found.survivor], source)
        return gone

    def _staged(self, name: str, part: Part, columns: list[str] | None = None) -> pa.Table:
        return self.output.read_part(name, Output.part_name(part.number, part.source), columns)

    def write(self, part: Part, gone: Mapping[int, Drop]) -> list[dict[str, Any]]:
        """Write the part unless it is there, without its duplicates. Returns its decisions, counted."""
        return decided(self.output, part.number, part.source, partial(self._write, part, gone))

    def _write(self, part: Part, gone: Mapping[int, Drop]) -> None:
        made = Tokenizer.of(self.tokenizer)
        staged = self._staged(CHATS, part, ["native", "subject", "cut", "ids", "roles", "loss"])
        kept = staged.take(pa.array([row for row in range(len(staged)) if row not in gone], pa.int64()))
        subjects = stable_hash(kept["subject"].to_pylist(), f"instruct-split:{self.seed}")
        held_out = within(subjects, self.settings.validation)
        written = []
        for split, chosen in ((TRAIN, ~held_out), (VALIDATION, held_out)):
            rows = kept.filter(pa.array(chosen))
            if len(rows):
                order = np.argsort(stable_hash(rows["native"].to_pylist(), f"instruct:{self.seed}"), kind="stable")
                written.append(self._store(part, split, rows.take(pa.array(order)), made))
        if written:
            self.output.write_part("written", part.number, pa.Table.from_pylist(written, WRITTEN))
        records = self._staged(RECORDS, part).to_pylist()
        places = (place for place, record in enumerate(records) if record["keep"])
        for row, place in enumerate(places):
            if drop := gone.get(row):
                records[place] = decision(self.step, records[place]["id"], part.source, drop)
        self.output.write_part("decisions", part.number, pa.Table.from_pylist(records, DECISION), part.source)

    def _store(self, part: Part, split: str, rows: pa.Table, made: Tokenizer) -> dict[str, Any]:
        name = shard_name(split, part.source, part.number)
        chats = [
            ChatTokens(
                ids.values.to_numpy(),
                np.frombuffer(roles.as_buffer(), np.uint8),
                np.frombuffer(loss.as_buffer(), np.bool_),
            )
            for ids, roles, loss in zip(rows["ids"], rows["roles"], rows["loss"], strict=True)
        ]
        with self.output.local_folder(DATASETS) as folder:
            text = write(folder, f"{name}-text", (chat.ids for chat in chats), made.vocab_size, made.eod)
            role = write(folder, f"{name}-role", (chat.roles for chat in chats), len(Role), Role.END)
            # Turns may end with the token that ends documents, so a document may hold it several times.
            lengths = verify_shard(folder / text.name, made.vocab_size, None).lengths
            if not np.array_equal(lengths, verify_shard(folder / role.name, len(Role), Role.END).lengths):
                raise AlignmentError(f"{folder / name}: token and role documents differ in length")
        settings, sequences, padding = self.settings, 0, 0
        with self.output.part_writer(PACKED[split], part.number, SEQUENCES, part.source) as store:
            packed = pack(chats, settings.sequence, settings.other_weight, settings.packing)
            while batch := list(islice(packed, BATCH)):
                store(table(batch, made.pad))
                sequences += len(batch)
                padding += sum(packed_sequence.room for packed_sequence in batch)
        return {
            "name": name,
            "split": split,
            "text_bin_sha256": text.bin_sha256,
            "text_idx_sha256": text.idx_sha256,
            "role_bin_sha256": role.bin_sha256,
            "role_idx_sha256": role.idx_sha256,
            "documents": text.documents,
            "tokens": text.tokens,
            "loss_tokens": sum(int(chat.loss.sum()) for chat in chats),
            "sequences": sequences,
            "padding": padding,
            "cut": sum(rows["cut"].to_pylist()),
        }


class Judge:
    """The rules on a conversation itself: it quotes no question, the template takes it, and it fits in a row."""

    def __init__(self, job: Job, template: ChatTemplate, questions: pa.Table) -> None:
        self.settings, self.template = job.settings, template
        self.search = search(questions, job.decontaminate)

    def judge(self, records: Sequence[Conversation]) -> list[tuple[Conversation, ChatTokens | Drop]]:
        whole = [record for record in records if not isinstance(record.messages, Drop)]
        texts = [(record.native, "", _said(record, *Role)) for record in whole]
        columns = [pa.array(column, pa.string()) for column in zip(*texts, strict=True)] if texts else []
        quoting = drops(self.search(pa.RecordBatch.from_arrays(columns, list(COLUMNS)))) if texts else {}
        return [(record, quoting.get(record.native) or self._chat(record)) for record in records]

    def _chat(self, record: Conversation) -> ChatTokens | Drop:
        if isinstance(record.messages, Drop):
            return record.messages
        try:
            chat = self.template.encode(record.messages)
            fitted(chat, self.settings.sequence, self.settings.overlong)
        except RecordError as error:
            return Drop(error.reason, f"{record.native}: {error}")
        return chat


def _said(record: Conversation, *roles: Role) -> str:
    assert not isinstance(record.messages, Drop)
    return "\n".join(message.text for message in record.messages if message.role in roles)


def _drop(found: Duplicate, native: str, survivor: str, source: str) -> Drop:
    evidence = f"{native} is like {survivor}"
    return Drop(found.kind.reason, evidence, found.jaccard, found.kind.value, native, document_id(source, survivor))


class AlignmentError(Exception):
    """The token and role datasets of a file do not match."""
