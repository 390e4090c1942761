"""Writes the sample corpus from the sentences in samples/text: the same bytes in every run.

Usage: python -m samples.make [FOLDER]; without FOLDER the files beside this script are written anew.
"""

import json
import sys
from pathlib import Path

from samples.bank import TEXT, Dice, blocks
from samples.guidelines import make_guidelines
from samples.packing import Record, line
from samples.pubmed import Studies, make_abstracts, make_papers
from samples.reasons import Reasons
from samples.replay import make_replay
from samples.studies import Study
from samples.talks import make_talks

SOURCES = ("guidelines", "papers", "abstracts", "replay", "instructions", "sample-qa")

HERE = Path(__file__).resolve().parent

Expected = dict[str, Reasons]
"""Reasons by source; those of the benchmark by the ids of its questions."""


def make() -> dict[str, bytes]:
    """Every file of the corpus by its name within the folder."""
    expected: Expected = {source: {} for source in SOURCES}
    specs = blocks("studies-1.txt") + blocks("studies-2.txt")
    studies = Studies([Study(number, block) for number, block in enumerate(specs, 1)])
    questions = make_questions()
    files = make_guidelines(questions, expected["guidelines"])
    files |= make_papers(studies, expected["papers"])
    files |= make_abstracts(studies, expected["abstracts"])
    files |= make_replay(questions, expected["replay"])
    files |= make_talks(studies, questions, expected["instructions"])
    files |= make_benchmark(questions, expected["sample-qa"])
    files["expected.json"] = json.dumps(expected, indent=2).encode() + b"\n"
    return files


def make_questions() -> list[Record]:
    found: list[Record] = []
    for text in (TEXT / "questions.txt").read_text(encoding="utf-8").splitlines():
        if not text.startswith("#"):
            question, *options, answer = (field.strip() for field in text.split("|"))
            found.append({"question": question, "options": dict(zip("ABCD", options, strict=True)), "answer": answer})
    return [{"id": f"qa-{number:03d}"} | record for number, record in enumerate(found, 1)]


def make_benchmark(questions: list[Record], reasons: Reasons) -> dict[str, bytes]:
    dice = Dice("chart")
    chart = [
        f"Entry {entry}: temperature {dice.number(360, 399) / 10}, pulse {dice.number(60, 130)}, pressure "
        f"{dice.number(90, 160)} over {dice.number(50, 95)}, breaths {dice.number(12, 30)}, saturation "
        f"{dice.number(85, 99)} percent, urine {dice.number(10, 90)} millilitres, "
        f"drink {dice.number(20, 300)} millilitres, pain {dice.number(0, 10)} of 10."
        for entry in range(1, 161)
    ]
    asked = " ".join(["Read the whole chart.", *chart, "Which value was charted first in every entry?"])
    options = {"A": "Temperature", "B": "Pulse", "C": "Pain", "D": "Urine"}
    broken: Record = {"id": "qa-041", "question": "Which bone is the longest of the human body?"}
    broken |= {"options": {"A": "Femur", "B": "Ulna", "C": "Rib"}, "answer": "E"}
    long = {"id": "qa-042", "question": asked, "options": options, "answer": "A"}
    reasons |= {"qa-041": "malformed_question", "qa-042": "prompt_too_long"}
    return {"benchmarks/sample-qa.jsonl": b"".join(map(line, [*questions, broken, long]))}


def main(folder: Path) -> None:
    for name, data in make().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
