"""`gap`: the command line over the pipeline."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from lake.error import UserError
from lake.step import Account, Manifest, Step
from ray_jobs.command import CONFIG, OVERRIDES, load_config, ray_up, table, user_errors
from ray_jobs.expect import look_ahead, mix_of, shortfalls
from ray_jobs.plan import duration, plan
from ray_jobs.shard_commands import dump, merge, split, verify

PIPED_WIDTH = 120
"""Columns where the output is no terminal."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Take a medical corpus from raw files to an evaluated language model.

    A CONFIG is a YAML file with one section a step (see configs/demo.yaml, which runs on a laptop in minutes).
    Any key of it can be set on the command line: `gap run configs/demo.yaml dedup.threshold=0.7 lake=/data/lake`.

    \b
    The way of the data:
      read → clean → tokenizer → dedup → decontaminate → mix → shard → pretrain → export → evaluate → report

    A finished step is a folder with a manifest.json. A step runs again only when its config, its code version or an
    input has changed; a run that was killed goes on where it stopped.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@main.command()
@CONFIG
@click.argument("words", nargs=-1, metavar="[STEP]... [KEY=VALUE]...")
@user_errors
def run(config: str, words: tuple[str, ...]) -> None:
    """Run all steps, or those up to each STEP named.

    Finished steps are not run again. Sources of which the mixture asks more than they seem to have are told at the
    beginning, and after `mix` by what they have. Exit code 0: all is done; 2: the config or an input is wrong, told in
    one line before an engine starts; 1: anything else.

    \b
    Examples:
      gap run configs/demo.yaml
      gap run configs/demo.yaml dedup dedup.threshold=0.7
    """
    from ray_jobs import pipeline

    loaded = load_config(config, [word for word in words if "=" in word])
    started = time.monotonic()
    names = tuple(word for word in words if "=" not in word)
    steps = pipeline.plan(loaded)
    if "mix" in pipeline.wanted(names) and not steps["mix"].done:
        known = look_ahead(loaded, steps, frozenset())
        _warn(f"{line} ({known.origin})" for line in shortfalls(loaded.mix, known.mixture))
    pipeline.run(loaded, steps, names, say)
    click.echo(f"All done in {duration(time.monotonic() - started)}.")
    if steps["report"].done:
        for title, name in REPORTS:
            click.echo(f"{title:<14}{steps['report'].output.path(name)}")
        click.echo(f"{'Model':<14}{steps['export'].output.path('model')}")


REPORTS = (("Report", "report.html"), ("Dataset card", "dataset_card.md"), ("Model card", "model_card.md"))


def say(step: Step, manifest: Manifest | None, new: bool) -> None:
    """One line a step: what starts, what came out of it."""
    if manifest is None:
        click.echo(f"{step.name:<14}{step.engine} …")
    else:
        click.echo(f"{step.name:<14}{_outcome(manifest)}{'' if new else '  (done before)'}")
        if step.name == "mix" and new:
            _warn(shortfalls(mix_of(step), manifest.figures["mixture"]))


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"gap: {line}", err=True)


def _outcome(manifest: Manifest) -> str:
    total = manifest.total
    flow = f"{manifest.unit} in {total.entered:,}, kept {total.kept:,}" if total.entered else "done"
    return f"{flow}{_reasons(manifest)}  {manifest.seconds:.1f} s"


def _reasons(manifest: Manifest) -> str:
    dropped = manifest.total.dropped
    if not dropped:
        return ""
    return f", dropped {sum(dropped.values()):,} ({', '.join(f'{name} {n:,}' for name, n in dropped.items())})"


@main.command()
@CONFIG
@click.argument("words", nargs=-1, metavar="[SITE]... [KEY=VALUE]...")
@click.option("--refresh", is_flag=True, help="Ask again for pages that are stale; unchanged ones are not sent again.")
@user_errors
def crawl(config: str, words: tuple[str, ...], refresh: bool) -> None:
    """Fetch the sites of the section `crawl`, or those named, into the data folder as WARC.

    Only what is missing is fetched, politely: robots.txt, one host at its rate. A crawl that was killed goes on where
    it stopped. At the end the yield is checked as by `gap check`. Exit code 1: a scraper is at fault.

    \b
    Examples:
      gap crawl CONFIG nice who
      gap crawl CONFIG nice --refresh crawl.limit=20
    """
    from ray_jobs import check as health
    from ray_jobs import crawl as web

    loaded, sites = _load_crawl(config, words)
    web.chosen(loaded.crawl, sites)
    with ray_up(loaded):
        for tag, manifest in web.crawl(loaded.crawl, loaded.data, sites, refresh).items():
            for kind, found in manifest["accounts"].items():
                click.echo(f"{tag:<14}{kind:<10}{_reached(Account.model_validate(found))}")
        _tell_health(health.check(loaded.crawl, loaded.data, sites, keep=True))


@main.command()
@CONFIG
@click.argument("words", nargs=-1, metavar="[SITE]... [KEY=VALUE]...")
@click.option("--accept", is_flag=True, help="Sites that truly shrank: hold later crawls against what they yield now.")
@user_errors
def check(config: str, words: tuple[str, ...], accept: bool) -> None:
    """Tell whether the scrapers of crawled sites still find what they should; nothing is fetched.

    Yield, words and empty extractions are held against the site's expectations and the crawl before. Exit code 1: a
    fault, with the page that shows it and what to do.
    """
    from ray_jobs import check as health

    loaded, sites = _load_crawl(config, words)
    loaded.crawl.chosen(sites)
    if accept and not sites:
        raise UserError("--accept is for the sites that truly shrank: name them, gap check CONFIG SITE --accept")
    with ray_up(loaded):
        _tell_health(health.check(loaded.crawl, loaded.data, sites, accept=accept))


@main.command()
@CONFIG
@OVERRIDES
@user_errors
def fetch(config: str, overrides: tuple[str, ...]) -> None:
    """Fetch Semantic Scholar's datasets into DATA/s2/RELEASE/DATASET, for inputs of `format: s2orc`.

    The API key is read from the environment variable S2_API_KEY and never shown. Parts are fetched side by side;
    those that are whole are not fetched again, and a part that broke off goes on where it stopped.

    \b
    Example:
      S2_API_KEY=… gap fetch CONFIG s2.release=2023-08-01 'data=/data'
    """
    from ingest.s2 import fetch as get

    loaded = load_config(config, overrides)
    get(loaded.s2, Path(loaded.data, "s2"), click.echo)


@main.command()
@CONFIG
@OVERRIDES
@user_errors
def instruct(config: str, overrides: tuple[str, ...]) -> None:
    """Make the questions and answers of the section `instructions` into data for fine-tuning.

    Written are, for each file, two aligned Megatron datasets, tokens and roles, and Parquet rows of one length with
    a loss mask, all in ChatML. The step `tokenizer` must be done.

    \b
    Example:
      gap instruct CONFIG 'instructions={inputs: [{paths: [medmcqa.jsonl.gz], answer: exp}]}'
    """
    from ray_jobs import pipeline
    from ray_jobs.instruct import instruct as make
    from ray_jobs.instruct import instruct_step

    loaded = load_config(config, overrides)
    if loaded.instructions is None:
        raise UserError(f"{config}: no section instructions; give instructions.inputs")
    tokenizer = pipeline.plan(loaded)["tokenizer"]
    step = instruct_step(loaded.instructions, loaded.data, tokenizer, loaded.lake, loaded.seed)
    new = not step.done
    if new:
        with ray_up(loaded):
            step.complete(lambda: make(step, loaded.instructions, loaded.data, loaded.seed))
    say(step, step.manifest(), new)
    click.echo(step.output.root)


def _load_crawl(config: str, words: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """The config, which must have a section `crawl`, and the sites named."""
    loaded = load_config(config, [word for word in words if "=" in word])
    if loaded.crawl is None:
        raise UserError(f"{config}: no section crawl; give crawl.sites and crawl.contact")
    return loaded, tuple(word for word in words if "=" not in word)


def _reached(found: Account) -> str:
    missed = ", ".join(f"{name} {count:,}" for name, count in found.dropped.items())
    return f"URLs {found.entered:,}, kept {found.kept:,}" + (f", missed: {missed}" if missed else "")


def _tell_health(checked: Sequence[Any]) -> None:
    rows = [
        (
            one.found.site,
            f"{one.found.documents:,}",
            f"{one.row['documents_expected']:,}",
            f"{one.found.words:,}",
            f"{one.row['words_expected']:,}",
            f"{one.found.empty:,} of {one.found.looked:,}",
            "at fault" if one.faults else "well",
        )
        for one in checked
    ]
    click.echo(table(("site", "documents", "expected", "words", "expected", "empty", "health"), rows, {1, 2, 3, 4, 5}))
    faults = [fault for one in checked for fault in one.faults]
    for fault in faults:
        click.echo(f"gap: {fault}", err=True)
    if faults:
        sys.exit(1)


@main.command()
@CONFIG
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON instead of a table.")
@user_errors
def status(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show every step: state, documents in, kept and dropped by reason and source, speed."""
    from ray_jobs import pipeline

    steps = pipeline.plan(load_config(config, overrides))
    done = {name: step.manifest() for name, step in steps.items() if step.done}
    if as_json:
        click.echo(json.dumps({name: one.model_dump(by_alias=True) for name, one in done.items()}, indent=1))
        return
    click.echo(table(STATUS, [row for name, step in steps.items() for row in _status(step, done.get(name))], NUMBERS))


STATUS = ("step", "source", "in", "kept", "dropped", "by reason", "time", "per second")
NUMBERS = {2, 3, 4, 6, 7}


def _status(step: Step, manifest: Manifest | None) -> list[tuple[str, ...]]:
    if manifest is None:
        state = "started" if step.output.exists() else "to do"
        return [(step.name, state, "", "", "", "", "", "")]
    total = manifest.total
    speed = f"{total.entered / manifest.seconds:,.0f}" if total.entered and manifest.seconds else ""
    seconds = f"{manifest.seconds:.1f} s"
    if not total.entered:
        return [(step.name, "done", "", "", "", "", seconds, "")]
    rows: list[tuple[str, ...]] = [(step.name, f"all {manifest.unit}", *_flow(total), seconds, speed)]
    if len(manifest.accounts) > 1:
        rows += [("", f"  {source}", *_flow(one), "", "") for source, one in manifest.accounts.items()]
    return rows


def _flow(account: Account) -> tuple[str, str, str, str]:
    gone = account.dropped
    reasons = ", ".join(f"{name} {count:,}" for name, count in gone.items())
    return f"{account.entered:,}", f"{account.kept:,}", f"{sum(gone.values()):,}", reasons


@main.command()
@CONFIG
@click.argument("document", metavar="ID|URL|FILE:LINE")
@OVERRIDES
@user_errors
def trace(config: str, document: str, overrides: tuple[str, ...]) -> None:
    """Tell one document's life: from its URL to split, shard and offset, or the step, reason and evidence of its drop.

    A record that never became a document is known by where it stood, as in its evidence. The tokens at each place are
    decoded and compared with the document's text. A duplicate is shown beside the document that stayed, as wide as the
    terminal: [-words-] only in the duplicate, {+words+} only in what stayed.
    """
    from ray_jobs import pipeline
    from ray_jobs.sidebyside import plain
    from ray_jobs.trace import pair, survivor
    from ray_jobs.trace import trace as follow

    loaded = load_config(config, overrides)
    steps = pipeline.plan(loaded)
    life = follow(steps, document, Path(loaded.data, loaded.crawl.folder) if loaded.crawl else None)
    lines = [("id", life.id)]
    if (page := life.fetched) is not None:
        where = f"kept: {page['warc']}, byte {page['offset']:,}" if page["kept"] else f"missed: {page['reason']}"
        lines += [("crawl", where)] + ([("", f"evidence: {page['evidence']}")] if page["evidence"] else [])
    if life.document is not None:
        fields = ("source", "title", "url", "license")
        lines += [(name, life.document[name]) for name in fields if life.document.get(name)]
    for row in life.decisions:
        measure = "Jaccard" if row["step"] == "dedup" else "score"
        score = f" ({measure} {row['score']:.3f})" if row["score"] is not None else ""
        lines.append((row["step"], "kept" if row["keep"] else f"dropped: {row['reason']}{score}"))
        if row["evidence"]:
            lines.append(("", f"evidence: {row['evidence']}"))
    lines += [line for place in life.places for line in _place(steps, life.document, place)]
    if life.drop is None and not life.places and (page is None or page["kept"]):
        waiting = next(name for name in pipeline.STEPS if not steps[name].done)
        lines.append(("next", f"{waiting} has not run yet"))
    for name, value in lines:
        click.echo(f"{name:<15}{plain(value)}")
    if (kept := survivor(steps, life)) is not None:
        click.echo("\n".join(["", *pair(life, kept, shutil.get_terminal_size((PIPED_WIDTH, 0)).columns)]))


def _first(text: str) -> str:
    return " ".join(text.split())[:90]


def _place(steps: dict[str, Step], document: dict[str, Any] | None, place: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a copy lies, and whether the tokens there decode to the document's text."""
    from mixing.shards import FOLDER_OF_SHARDS, read_tokens
    from mixing.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.of(steps["tokenizer"].output)
    shards = steps["shard"].output.below(FOLDER_OF_SHARDS)
    tokens = read_tokens(shards, place["shard"], place["offset"], place["tokens"])
    text = tokenizer.decode(tokens[:-1])
    same = document is not None and text == document["text"] and tokens[-1] == tokenizer.eod
    return [
        ("shard", f"{place['split']}, {place['shard']}.bin, document {place['document']}, token {place['offset']:,}"),
        ("", f"{place['tokens']:,} tokens; decoded, they {'are' if same else 'are NOT'} the document's text"),
        ("", f"“{_first(text)}…”"),
    ]


for command in (plan, verify, merge, split, dump):
    main.add_command(command)

if __name__ == "__main__":
    main()
