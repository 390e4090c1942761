"""How fast the full mix is planned, and how near the plan comes to table 1 of the MEDITRON paper.

    python -m benchmarks.mix [--scale 1] [--cores 2] [--memory 8g] [--dir DIR] [--json]

The corpus has the documents and tokens of the table divided by `--scale`, with invented ids: 21.8 million rows at 1.
The steps before are written as finished: all documents are counted and kept, and each is a cluster of its own. The
output is the step's time and memory (Spark and Python together), and the train tokens and share of each source, beside
those of the table.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from benchmarks import table1
from benchmarks.dedup import peak_memory
from benchmarks.steps import stand_in
from gap.command import table
from lake.decision import DECISION
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from spark_jobs.mix import MIX
from spark_jobs.session import SparkSettings, start

PART = 50_000
"""The most documents of a part."""


def inputs(lake: str, scale: int, part: int = PART) -> dict[str, Step[Any]]:
    """The finished steps that mix reads, by role. Each document is a cluster of its own, and all are kept."""
    steps = {role: stand_in(role, lake) for role in ("tokenizer", "clusters", "kept")}
    counted, clustered, cleared = (step.output for step in steps.values())
    accounts = {}
    for offset, source in enumerate(table1.DOCUMENTS):
        documents = 0
        for number, chunk in enumerate(table1.parts(source, scale, part)):
            counts = {"id": chunk.ids, "tokens": pa.array(chunk.tokens - 1, pa.int32())}
            counted.write_part("counts", number, pa.table(counts), source)
            # The other two tables are not partitioned by source.
            place = number * len(table1.DOCUMENTS) + offset
            clustered.write_part("clusters", place, pa.table({"id": chunk.ids, "cluster": chunk.ids}))
            cleared.write_part("decisions", place, _kept(chunk.ids, source))
            documents += len(chunk.ids)
        accounts[source] = Account.of(documents)
    for step in steps.values():
        step.complete(lambda: Outcome(accounts))
    return steps


def _kept(ids: list[str], source: str) -> pa.Table:
    constants = {"source": source, "step": "decontaminate", "keep": True}
    columns = {field.name: pa.repeat(pa.scalar(constants.get(field.name), field.type), len(ids)) for field in DECISION}
    return pa.table(columns | {"id": pa.array(ids)}, DECISION)


def mixed(steps: dict[str, Step[Any]], settings: MixSettings) -> Step[Any]:
    """Run the step mix. Spark must be up."""
    step = Step("mix", MIX, settings, steps["kept"].lake, steps, "kept", seed=table1.SEED)
    step.run()
    return step


def compared(step: Step[Any]) -> Iterator[dict[str, Any]]:
    """For each source the planned train documents and tokens, and its share beside that of the table."""
    for row in step.manifest().figures["mixture"][:-1]:
        yield {
            "source": row["source"],
            "train_documents": row["train_documents"],
            "train_tokens": row["train_tokens"],
            "share": row["share"],
            "share_of_table_1": table1.SHARES[row["source"]],
        }


@click.command(help=__doc__)
@click.option("--scale", default=1, show_default=True, help="Divides the sizes of the table.")
@click.option("--cores", default=2, show_default=True)
@click.option("--memory", default="8g", show_default=True, help="Memory of Spark.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where to put the temporary lake.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(scale: int, cores: int, memory: str, folder: Path | None, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as lake:
        steps = inputs(lake, scale)
        spark = start(SparkSettings(master=f"local[{cores}]", memory=memory))
        with peak_memory() as peak:
            step = mixed(steps, table1.GAP_REPLAY)
        manifest, rows = step.manifest(), list(compared(step))
        spark.stop()
    entered = manifest.total.entered
    figures = {
        "documents": entered,
        "seconds": manifest.seconds,
        "documents_per_core_s": round(entered / manifest.seconds / cores),
        "peak_rss_mb": round(peak()),
    }
    if as_json:
        click.echo(json.dumps(figures | {"sources": rows}))
        return
    click.echo(", ".join(f"{value:,} {name}" for name, value in figures.items()))
    cells = [
        (
            row["source"],
            *(f"{row[name]:,}" for name in ("train_documents", "train_tokens")),
            *(f"{row[name]:.3%}" for name in ("share", "share_of_table_1")),
        )
        for row in rows
    ]
    click.echo(table(("source", "train documents", "train tokens", "share", "of table 1"), cells, {1, 2, 3, 4}))


if __name__ == "__main__":
    main()
