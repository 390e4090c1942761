"""What each quality rule and each mask finds in real text, rule by corpus, with an example; and what measuring costs.

    python -m benchmarks.quality [--config CONFIG] [--data DIR] [--published] [--markdown | --json]

Every document is held against every rule that is on, so a document may be counted under several; `dropped` is what
cleaning would drop, the first rule broken being the reason. With `--published` the rules have the published thresholds
for text of the web instead of the corpus' own.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from ingest.clean import CleanSettings, clean_document
from ingest.inputs import records, units
from ingest.text.pii import KINDS, mask
from ingest.text.quality import QualitySettings, measures
from lake.config import load
from ray_jobs.command import table, user_errors
from ray_jobs.pipeline import Pipeline

EXAMPLE = 90
"""Characters of an example."""

OFF = QualitySettings.model_validate(
    {name: () if name == "remove_lines" else None for name in QualitySettings.model_fields}
)


@dataclass
class Corpus:
    """What was found in the documents of one corpus that pass language and length."""

    documents: int = 0
    characters: int = 0
    dropped: int = 0
    seconds: float = 0.0
    masking: float = 0.0
    broken: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def judge(self, body: str, where: str, settings: QualitySettings) -> None:
        self.documents += 1
        self.characters += len(body)
        started = time.process_time()
        found = [(name, drop) for name, _, drop in measures(body, settings) if drop is not None]
        self.seconds += time.process_time() - started
        self.dropped += bool(found)
        for name, drop in found:
            self.broken[name] += 1
            self.examples.setdefault(name, f"{drop.evidence}; {where}")

    def mask(self, body: str) -> None:
        started = time.process_time()
        masked, counts = mask(body, KINDS)
        self.masking += time.process_time() - started
        self.masked.update(counts)
        for kind in counts:
            before = masked[: masked.index(f"<{kind}>")]
            self.examples.setdefault(kind, " ".join(before[-EXAMPLE:].split()) + f" <{kind}>")

    def speed(self, seconds: float) -> float:
        return self.characters / 1e6 / max(seconds, 1e-9)


def measure(config: Pipeline, published: bool) -> dict[str, Corpus]:
    """Every corpus of a config."""
    plain = CleanSettings(
        length=config.clean.length,
        length_by_source=config.clean.length_by_source,
        quality=dict.fromkeys(config.clean.quality),
    )
    found: dict[str, Corpus] = {}
    for unit in units(config.read, config.data):
        source = config.read.inputs[unit.input].source
        settings = QualitySettings() if published else config.clean.quality.get(source)
        for record in records(unit, config.read, config.data):
            if not isinstance(record, dict):
                continue
            clean = clean_document(record["text"], record["title"], source, plain)
            if clean.drop is None:
                corpus = found.setdefault(source, Corpus())
                body = clean.text.removeprefix(clean.title or "").lstrip("\n")
                corpus.judge(body, record["url"] or record["id"], settings or OFF)
                corpus.mask(body)
    return found


def rows(found: dict[str, Corpus]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: a rule or kind a row, a corpus a column, an example last."""
    corpora = list(found.values())
    body = [
        ["documents", *(f"{one.documents:,}" for one in corpora), ""],
        ["dropped", *(f"{one.dropped:,}" for one in corpora), ""],
    ]
    for name in dict.fromkeys(name for one in corpora for name in (*one.broken, *one.masked)):
        example = next(one.examples[name] for one in corpora if name in one.examples)
        body.append([name, *(f"{one.broken[name] + one.masked[name]:,}" for one in corpora), example])
    body.append(["rules, MB/s of a core", *(f"{one.speed(one.seconds):.1f}" for one in corpora), ""])
    body.append(["masks, MB/s of a core", *(f"{one.speed(one.masking):.1f}" for one in corpora), ""])
    return ["rule", *found, "example"], body


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), line(["---", *["--:"] * (len(head) - 2), "---"]), *map(line, body)])


def as_json(found: dict[str, Corpus]) -> dict[str, Any]:
    return {
        source: {
            "documents": one.documents,
            "dropped": one.dropped,
            "broken": dict(one.broken),
            "masked": dict(one.masked),
            "examples": one.examples,
            "rules_mb_per_core_s": round(one.speed(one.seconds), 2),
            "masks_mb_per_core_s": round(one.speed(one.masking), 2),
        }
        for source, one in found.items()
    }


@click.command(help=__doc__)
@click.option("--config", default="configs/nih.yaml", show_default=True)
@click.option("--data", default="../shared/data", show_default=True, help="The folder of raw files.")
@click.option("--published", is_flag=True, help="The published thresholds for text of the web.")
@click.option("--markdown", "as_markdown", is_flag=True)
@click.option("--json", "json_", is_flag=True)
@user_errors
def main(config: str, data: str, published: bool, as_markdown: bool, json_: bool) -> None:
    found = measure(load(config, (f"data={data}",), Pipeline), published)
    head, body = rows(found)
    if json_:
        click.echo(json.dumps(as_json(found), indent=1, ensure_ascii=False))
    elif as_markdown:
        click.echo(markdown(head, body))
    else:
        click.echo(table(head, body, set(range(1, len(head) - 1))))


if __name__ == "__main__":
    main()
