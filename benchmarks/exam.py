"""An exam for two evaluations: raw records, in the authors' files for ours, and in the form of the Hub for a peer."""

import csv
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.records import read_records
from lake.error import UserError

Record = dict[str, Any]

SOLVED = 100
"""Records that may be shots. Of an MMLU subject it is its usual five."""

LETTERS = "ABCD"
MMLU = "mmlu-medical"
SUBJECTS = ("anatomy", "clinical_knowledge", "college_medicine")
COLUMNS = ("question", *LETTERS, "answer")
TRUTH = "pubmedqa_test_ground_truth.json"


@dataclass(frozen=True)
class Paper:
    """A part of the exam: the questions of a file. `name` is the peer's, `benchmark` ours. Records are the peer's."""

    name: str
    benchmark: str
    asked: list[Record]
    solved: list[Record]


@dataclass(frozen=True)
class _Source:
    """A file, and how a raw record of it looks on the Hub, where the peer takes it from."""

    name: str
    benchmark: str
    pattern: str
    record: Callable[[Record], Record]
    columns: Sequence[str] = ()
    solved: int = SOLVED


def _medqa(raw: Record) -> Record:
    endings = {f"ending{place}": raw["options"][letter] for place, letter in enumerate(LETTERS)}
    return {"sent1": raw["question"], **endings, "label": LETTERS.index(raw["answer_idx"])}


def _medmcqa(raw: Record) -> Record:
    return {key: raw[key] for key in ("question", "opa", "opb", "opc", "opd")} | {"cop": int(raw["cop"]) - 1}


def _pubmedqa(raw: Record) -> Record:
    return {key: raw[key] for key in ("QUESTION", "CONTEXTS", "final_decision")}


def _mmlu(raw: Record) -> Record:
    choices = [raw[letter] for letter in LETTERS]
    return {"question": raw["question"], "choices": choices, "answer": LETTERS.index(raw["answer"])}


SOURCES = (
    _Source("medqa", "medqa-4", "medqa_4options_test*.jsonl*", _medqa),
    _Source("medmcqa", "medmcqa", "medmcqa_validation*.jsonl*", _medmcqa),
    _Source("pubmedqa", "pubmedqa", "*ori_pqal.json*", _pubmedqa),
    *(_Source(f"mmlu_{name}", MMLU, f"mmlu_{name}_test.csv*", _mmlu, COLUMNS, 5) for name in SUBJECTS),
)


def prepare(data: Path, limit: int, folder: Path) -> list[Paper]:
    """Write the authors' files of an exam of `limit` questions a benchmark below `folder`, and return its papers.

    Questions and shots are drawn at random, always the same. The subjects of MMLU share its questions evenly.

    Raises:
        UserError: a file is missing.
    """
    (folder / "benchmarks").mkdir(parents=True)
    papers = []
    for source in SOURCES:
        path = next(iter(sorted((data / "benchmarks").glob(source.pattern))), None)
        if path is None:
            raise UserError(f"{data / 'benchmarks'}: no file {source.pattern}; set --data to the folder above it")
        records = [
            (record.where, record.value)
            for record in read_records(path, path.name, source.columns)
            if isinstance(record.value, dict)
        ]
        random.Random(1).shuffle(records)
        share = -(-limit // len(SUBJECTS)) if source.benchmark == MMLU else limit
        solved, asked = records[: source.solved], records[source.solved :][:share]
        _write(source, dict(solved), dict(asked), folder / "benchmarks")
        papers.append(Paper(source.name, source.benchmark, _records(source, asked), _records(source, solved)))
    return papers


def _records(source: _Source, raw: Iterable[tuple[str, Record]]) -> list[Record]:
    return [source.record(record) for _, record in raw]


def _write(source: _Source, solved: Mapping[str, Record], asked: Mapping[str, Record], folder: Path) -> None:
    """The authors' files, by their names."""
    stem = source.pattern.partition("_test")[0].partition("_validation")[0]
    if source.columns:
        for part, records in (("dev", solved), ("test", asked)):
            with (folder / f"{stem}_{part}.csv").open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows(
                    [record[column] for column in source.columns] for record in records.values()
                )
    elif source.benchmark == "pubmedqa":
        answers = {key: record["final_decision"] for key, record in asked.items()}
        (folder / "pubmedqa_ori_pqal.json").write_text(json.dumps({**asked, **solved}), encoding="utf-8")
        (folder / TRUTH).write_text(json.dumps(answers), encoding="utf-8")
    else:
        part = "test" if "_test" in source.pattern else "validation"
        write_lines(folder / f"{stem}_{part}.jsonl", asked.values())
        write_lines(folder / f"{stem}_train.jsonl", solved.values())


def write_lines(path: Path, records: Iterable[Record]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
