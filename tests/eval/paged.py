"""A made-up run, variations of it, and what its page says."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lxml.html

from eval.report import render
from eval.score import score
from eval.summary import Run
from lake.step import Account, Kind, Manifest, folder_name
from tests.eval.saved import entry

WRITTEN = (Path(__file__).parents[1] / "manifests.json").read_text(encoding="utf-8")
EVIL = "<script>alert('x')</script> & \"q\" \u202e\x00\ud800"


def run(written: str = WRITTEN, name: str = "demo") -> Run:
    return Run(name, tuple(map(Manifest.model_validate, json.loads(written))))


def renamed(*names: str, evil: str = EVIL) -> Run:
    """The run with a hostile text before these names wherever they are in its manifests; its own name is that text."""
    written = WRITTEN
    for name in names:
        written = written.replace(f'"{name}"', f'"{json.dumps(evil)[1:-1]}{name}"')
    return run(written, evil)


def updated(fields: Mapping[str, Mapping[str, Any]]) -> Run:
    """The run with some fields of the manifests replaced, by step."""
    return Run("demo", tuple(step.model_copy(update=fields.get(step.step, {})) for step in run().manifests))


def changed(step: str, figures: dict[str, Any] | None = None, **fields: Any) -> Run:
    """The run with some figures and fields of one step replaced."""
    return updated({step: {"figures": run().steps[step].figures | (figures or {}), **fields}})


def configured(step: str, figures: dict[str, Any] | None = None, **keys: Any) -> Run:
    """The run with some figures and configuration keys of one step replaced."""
    return changed(step, figures, config=run().steps[step].config | keys)


def measured(loss: float, bytes_a_token: float = 4) -> dict[str, Any]:
    """What a validation measures on a source, from its loss in nats per token."""
    bits = loss / math.log(2) / bytes_a_token
    return {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": bits, "tokens": 512, "bytes": 2_048}


def without(*names: str) -> Run:
    return Run("demo", tuple(step for step in run().manifests if step.step not in names))


def unanswered() -> Run:
    """The run with one benchmark, of which no question was answered."""
    return changed(
        "evaluate", {"benchmarks": [score(entry(benchmark="sample-qa", title="Sample QA"), [])]}, accounts={}
    )


def evaluated(*rows: Mapping[str, Any], **figures: Any) -> Run:
    """The run with these scores."""
    return changed("evaluate", {"benchmarks": json.loads(json.dumps(rows)), **figures})


def with_empty_source() -> Run:
    """The run with a source `textbooks` that gave nothing to the mixture."""
    *rows, total = run().steps["mix"].figures["mixture"]
    empty = {name: 0 if isinstance(value, int) else 0.0 for name, value in rows[0].items()} | {"source": "textbooks"}
    figures = {name: run().steps[name].figures | {"mixture": [*rows, empty, total]} for name in ("mix", "shard")}
    return updated({name: {"figures": value} for name, value in figures.items()})


def with_second_model() -> Run:
    """The run with `pretrain-slow`, `export-slow` and `evaluate-slow`, of lower loss and other scores."""
    first = run()
    folders, copies = {}, []
    for name in ("pretrain", "export", "evaluate"):
        step = first.steps[name]
        slow = step.model_copy(
            update={
                "step": f"{name}-slow",
                "fingerprint": step.fingerprint[::-1],
                "inputs": {role: folders.get(folder, folder) for role, folder in step.inputs.items()},
                "figures": json.loads(json.dumps(step.figures)),
            }
        )
        folders[step.folder] = folder_name(slow.step, slow.fingerprint)
        copies.append(slow)
    pretrain, _, evaluate = (step.figures for step in copies)
    for measured in pretrain["validation"][-1]["sources"].values():
        measured["loss"] = 2.5
    evaluate["benchmarks"][1] |= {"value": 0.5, "accuracy": 0.5, "low": 0.431, "high": 0.569}
    return Run("demo", (*first.manifests, *copies))


def with_tuned_model() -> Run:
    """The run whose model is then tuned by adapters, without an evaluation of its own."""
    first = run()
    mix, pretrain, export = (first.steps[name] for name in ("mix", "pretrain", "export"))
    row = {"name": "train-chat-00000", "documents": 38, "sequences": 9, "tokens": 4_000, "loss_tokens": 600}
    figures = {name: row[name] for name in ("documents", "sequences", "tokens", "loss_tokens")}
    fields = {
        "step": "instruct",
        "kind": Kind.INSTRUCTIONS,
        "inputs": {},
        "follows": None,
        "unit": "records",
        "accounts": {"chat": Account.of(40, {"no_answer": 2})},
        "config": {"sequence": 512},
        "figures": figures | {"padding": 608, "cut": 1, "datasets": [row]},
    }
    instruct = mix.model_copy(update=fields)
    inputs = {"continued": pretrain.folder, "rows": instruct.folder}
    config = pretrain.config | {"lora": {"rank": 16, "alpha": 32.0}}
    tuned = pretrain.model_copy(update={"step": "finetune", "inputs": inputs, "config": config})
    exported = export.model_copy(update={"step": "export-finetune", "inputs": {"trained": tuned.folder}})
    return Run("demo", (*first.manifests, instruct, tuned, exported))


def page_of(run: Run) -> Any:
    return lxml.html.document_fromstring(render(run))


def words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).replace("\u00a0", " ").split())


def section(page: Any, name: str) -> Any:
    (element,) = page.xpath(f"//section[@id='{name}']")
    return element


def cells(section: Any, caption: str) -> list[dict[str, str]]:
    """The rows of the one table whose caption begins so, by the heads of their columns."""
    (table,) = (table for table in section.xpath(".//table") if words(table.xpath("caption")[0]).startswith(caption))
    (head,) = table.xpath("thead/tr")
    names = list(map(words, head))
    return [dict(zip(names, map(words, row), strict=True)) for row in table.xpath("tbody/tr | tfoot/tr")]
