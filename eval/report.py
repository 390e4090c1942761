"""The report: one HTML page from the manifests of a run. It loads nothing, needs no script, and equal manifests give
equal bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import yaml

from eval import numbers, plots
from eval.ledger import ledger, way
from eval.mixture import lengths, splits, upsampling, written
from eval.summary import FUNNEL, Manifests, by_step, mixture, sources, validation_loss, verdict
from eval.text import printable, without_credentials
from lake.step import Manifest

KNOWN = {
    "read": ("inputs",),
    "clean": (
        "length",
        "length_by_source",
        "keep_layout",
        "format_tokens",
        "language",
        "quality",
        "mask",
        "join",
        "part_mb",
    ),
    "tokenizer": ("train", "path", "package", "eos_token"),
    "dedup": (
        "threshold",
        "recall",
        "ngram",
        "slots",
        "scheme",
        "policy",
        "prefer",
        "titles",
        "earlier",
        "keep_signatures",
        "bucket_limit",
    ),
    "decontaminate": ("run", "gram", "share", "shortest", "benchmarks"),
    "mix": ("sources", "seed"),
    "shard": ("tokens", "pack", "seed"),
    "pretrain": ("model", "parallel", "sequence", "batch", "steps", "optimizer", "validation", "precision", "seed"),
    "export": ("tolerance", "sequences"),
    "evaluate": ("benchmarks", "dtype", "max_length"),
}
"""The keys of each step's config that the page shows; others are counted and not shown."""

SHARDS_SHOWN = 200


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str


def tiles(steps: Manifests) -> list[Tile]:
    """Documents, tokens, parameters and validation loss."""
    read, plan, pretrain = steps["read"].total, steps["mix"].total, steps["pretrain"].figures
    _, total = mixture(steps)
    before, after = validation_loss(steps, 0), validation_loss(steps, -1)
    share = plan.kept / read.entered if read.entered else None
    vocabulary = steps["tokenizer"].figures["vocab_size"]
    return [
        Tile("Documents kept", numbers.compact(plan.kept), f"{numbers.percent(share)} of {read.entered:,} records"),
        Tile(
            "Training tokens",
            numbers.compact(total["train_tokens"]),
            f"{numbers.compact(total['validation_tokens'])} for validation",
        ),
        Tile("Parameters", numbers.compact(pretrain["parameters"]), f"vocabulary of {vocabulary:,}"),
        Tile(
            "Validation loss",
            numbers.decimal(after),
            f"from {numbers.decimal(before)}, in {pretrain['steps']:,} steps" if before is not None else "not measured",
        ),
    ]


def scores(steps: Manifests) -> list[Tile]:
    """Each benchmark's accuracy."""
    made = []
    for row in steps["evaluate"].figures["benchmarks"]:
        spread = f"95 %: {numbers.percent(row['low'])} to {numbers.percent(row['high'])}, {verdict(row)}"
        note = spread if row["accuracy"] is not None else verdict(row)
        made.append(Tile(row["title"], numbers.percent(row["accuracy"]), note))
    return made


def measured(steps: Manifests) -> list[str]:
    """The sources that have a validation loss."""
    return sorted({source for one in steps["pretrain"].figures["validation"] for source in one["losses"]})


def _yaml(tree: Any) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)


def config(manifest: Manifest) -> str:
    """The known keys of a step's config as YAML; passwords in addresses are taken out."""
    allowed = KNOWN.get(manifest.step, ())
    shown = {key: value for key, value in manifest.config.items() if key in allowed}
    hidden = len(manifest.config) - len(shown)
    text = _yaml(shown) if shown else ""
    more = f"# {hidden} more, not shown\n" if hidden else ""
    return without_credentials(f"{text}{more}") or "# nothing to choose\n"


def versions(steps: Manifests) -> dict[str, str]:
    """Every package that took part; where the steps differ, all its versions."""
    found: dict[str, set[str]] = {}
    for one in steps.values():
        for package, version in one.versions.items():
            found.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(some)) for package, some in sorted(found.items())}


def render(name: str, manifests: Sequence[Manifest]) -> str:
    """The page of the run `name`, from the manifests of all its steps."""
    steps = by_step(manifests)
    rows, total = mixture(steps)
    context: dict[str, Any] = {
        "name": name,
        "steps": steps,
        "tiles": tiles(steps),
        "scores": scores(steps),
        "sources": sources(steps),
        "funnel": [step for step in FUNNEL if steps[step].total.entered],
        "mixture": rows,
        "total": total,
        "written": written(steps),
        "splits": splits(steps),
        "lengths": lengths(steps),
        "upsampling": upsampling(steps),
        "ledger": ledger,
        "way": way(steps),
        "config": config,
        "versions": versions(steps),
        "measured": measured(steps),
        "plots": plots,
        "verdict": verdict,
        "seconds": sum(one.seconds for one in manifests),
        "finished": max(one.finished_at for one in manifests).replace("T", " ").replace("Z", " UTC"),
        "shards_shown": SHARDS_SHOWN,
    }
    return f"{_environment().get_template('report.html').render(context)}\n"


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("eval", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    filters: Mapping[str, Any] = {
        "count": numbers.count,
        "compact": numbers.compact,
        "percent": numbers.percent,
        "decimal": numbers.decimal,
        "general": numbers.general,
        "size": numbers.size,
        "duration": numbers.duration,
        "perplexity": numbers.perplexity,
        "product": math.prod,
        "yaml": _yaml,
    }
    made.filters.update(filters)
    return made


def _printable(value: Any) -> Any:
    """Runs on all that a template prints."""
    return type(value)(printable(value)) if isinstance(value, str) else value
