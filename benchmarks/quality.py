"""What each quality rule and each mask finds in real text, by corpus, with an example; and how fast they are.

    python -m benchmarks.quality [--config CONFIG] [--data DIR] [--published] [--markdown | --json]

All rules that are on measure each document, so a document may break several. `dropped` counts the documents that
cleaning would drop, for the first rule broken. With `--published` the rules have the published thresholds for text of
the web instead of those of the corpus.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from gap.command import load_config, table, user_errors
from gap.config import Config
from ingest.clean import CleanSettings, clean_document
from ingest.inputs import records, units
from ingest.text.pii import KINDS, mask
from ingest.text.quality import QualitySettings, measures

EXAMPLE = 90
"""Characters of an example."""

OFF = QualitySettings.model_validate(
    {name: () if name == "remove_lines" else None for name in QualitySettings.model_fields}
)


@dataclass
class Corpus:
    """Counts of the documents of a corpus whose language and length pass."""

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
        broken = [(name, drop) for name, _, drop in measures(body, settings) if drop is not None]
        self.seconds += time.process_time() - started
        self.dropped += bool(broken)
        for name, drop in broken:
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


def measure(config: Config, published: bool) -> dict[str, Corpus]:
    """The corpora of a config by source."""
    plain = CleanSettings(
        length=config.clean.length,
        length_by_source=config.clean.length_by_source,
        quality=dict.fromkeys(config.clean.quality),
    )
    corpora: dict[str, Corpus] = {}
    for unit in units(config.read, config.data):
        source = config.read.inputs[unit.input].source
        settings = QualitySettings() if published else config.clean.quality.get(source)
        for record in records(unit, config.read, config.data):
            if not isinstance(record, dict):
                continue
            clean = clean_document(record["text"], record["title"], source, plain)
            if clean.drop is None:
                corpus = corpora.setdefault(source, Corpus())
                body = clean.text.removeprefix(clean.title or "").lstrip("\n")
                corpus.judge(body, record["url"] or record["id"], settings or OFF)
                corpus.mask(body)
    return corpora


def rows(by_source: dict[str, Corpus]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: a row for each rule or mask, a column for each corpus, an example last."""
    corpora = list(by_source.values())
    body = [
        ["documents", *(f"{corpus.documents:,}" for corpus in corpora), ""],
        ["dropped", *(f"{corpus.dropped:,}" for corpus in corpora), ""],
    ]
    for name in dict.fromkeys(name for corpus in corpora for name in (*corpus.broken, *corpus.masked)):
        example = next(corpus.examples[name] for corpus in corpora if name in corpus.examples)
        body.append([name, *(f"{corpus.broken[name] + corpus.masked[name]:,}" for corpus in corpora), example])
    body.append(["rules, MB/s of a core", *(f"{corpus.speed(corpus.seconds):.1f}" for corpus in corpora), ""])
    body.append(["masks, MB/s of a core", *(f"{corpus.speed(corpus.masking):.1f}" for corpus in corpora), ""])
    return ["rule", *by_source, "example"], body


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), line(["---", *["--:"] * (len(head) - 2), "---"]), *map(line, body)])


def as_json(by_source: dict[str, Corpus]) -> dict[str, Any]:
    return {
        source: {
            "documents": corpus.documents,
            "dropped": corpus.dropped,
            "broken": dict(corpus.broken),
            "masked": dict(corpus.masked),
            "examples": corpus.examples,
            "rules_mb_per_core_s": round(corpus.speed(corpus.seconds), 2),
            "masks_mb_per_core_s": round(corpus.speed(corpus.masking), 2),
        }
        for source, corpus in by_source.items()
    }


@click.command(help=__doc__)
@click.option("--config", default="configs/nih.yaml", show_default=True)
@click.option("--data", default="../shared/data", show_default=True, help="The folder of raw files.")
@click.option("--published", is_flag=True, help="The published thresholds for text of the web.")
@click.option("--markdown", "as_markdown", is_flag=True)
@click.option("--json", "json_", is_flag=True)
@user_errors
def main(config: str, data: str, published: bool, as_markdown: bool, json_: bool) -> None:
    by_source = measure(load_config(config, [f"data={data}"]), published)
    head, body = rows(by_source)
    if json_:
        click.echo(json.dumps(as_json(by_source), indent=1, ensure_ascii=False))
    elif as_markdown:
        click.echo(markdown(head, body))
    else:
        click.echo(table(head, body, set(range(1, len(head) - 1))))


if __name__ == "__main__":
    main()
