"""How fast the plan of the full mix is made, and how near it comes to the MEDITRON paper's table 1.

    python -m benchmarks.mix [--scale 1] [--cores 2] [--memory 8g] [--dir DIR] [--json]

The corpus has the table's numbers of documents and tokens, divided by `--scale`, with made-up ids: 21.8 million rows at
1. They are counted, kept and each its own cluster, as the steps before say it of a real one. Told are the step's time
and memory, Spark's and Python's together, and for each source its train tokens and share beside the table's.
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
from lake.decision import DECISION
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from ray_jobs.command import table
from spark_jobs.mix import mix
from spark_jobs.session import Session, SparkSettings, start

PART = 50_000
"""Documents of a part, at most."""


def inputs(lake: str, scale: int, part: int = PART) -> tuple[Step, ...]:
    """The finished steps that mix reads; every document is its own cluster, and none was dropped."""
    steps = tuple(
        Step(name, engine, 1, {}, lake)
        for name, engine in (("tokenizer", "ray"), ("dedup", "spark"), ("decontaminate", "spark"))
    )
    counted, clustered, cleared = (step.output for step in steps)
    accounts = {}
    for offset, source in enumerate(table1.DOCUMENTS):
        documents = 0
        for number, one in enumerate(table1.parts(source, scale, part)):
            counts = {"id": one.ids, "tokens": pa.array(one.tokens - 1, pa.int32())}
            counted.write_part("counts", number, pa.table(counts), source)
            # The two other tables are not parted by source.
            place = number * len(table1.DOCUMENTS) + offset
            clustered.write_part("clusters", place, pa.table({"id": one.ids, "cluster": one.ids}))
            cleared.write_part("decisions", place, _kept(one.ids, source))
            documents += len(one.ids)
        accounts[source] = Account.of(documents)
    for step in steps:
        step.complete(lambda: Outcome(accounts))
    return steps


def _kept(ids: list[str], source: str) -> pa.Table:
    same = {"source": source, "step": "decontaminate", "keep": True}
    columns = {field.name: pa.repeat(pa.scalar(same.get(field.name), field.type), len(ids)) for field in DECISION}
    return pa.table(columns | {"id": pa.array(ids)}, DECISION)


def mixed(steps: tuple[Step, ...], settings: MixSettings, spark: Session) -> Step:
    """The step mix, finished."""
    step = Step("mix", "spark", 1, settings.model_dump(mode="json"), steps[0].lake, steps, follows="decontaminate")
    step.complete(lambda: mix(step, settings, spark, table1.SEED))
    return step


def compared(step: Step) -> Iterator[dict[str, Any]]:
    """By source the plan's train documents and tokens, and their shares beside the table's."""
    for row in step.manifest().figures["mixture"][:-1]:
        yield {
            "source": row["source"],
            "train_documents": row["train_documents"],
            "train_tokens": row["train_tokens"],
            "share": row["share"],
            "share_of_table_1": table1.SHARES[row["source"]],
        }


@click.command(help=__doc__)
@click.option("--scale", default=1, show_default=True, help="How much smaller than the table.")
@click.option("--cores", default=2, show_default=True)
@click.option("--memory", default="8g", show_default=True, help="Of Spark.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the lake lies while it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(scale: int, cores: int, memory: str, folder: Path | None, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as lake:
        steps = inputs(lake, scale)
        spark = start(SparkSettings(master=f"local[{cores}]", memory=memory))
        with peak_memory() as peak:
            step = mixed(steps, table1.GAP_REPLAY, spark)
        manifest, rows = step.manifest(), list(compared(step))
        spark.stop()
    entered = manifest.total.entered
    found = {
        "documents": entered,
        "seconds": manifest.seconds,
        "documents_per_core_s": round(entered / manifest.seconds / cores),
        "peak_rss_mb": round(peak()),
    }
    if as_json:
        click.echo(json.dumps(found | {"sources": rows}))
        return
    click.echo(", ".join(f"{value:,} {name}" for name, value in found.items()))
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
