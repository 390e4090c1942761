"""`gap status`: every step of a run, what entered it and what it dropped."""

import json
from typing import Any

import click

from gap.command import CONFIG, OVERRIDES, load_config, table, user_errors
from gap.plan import plan
from lake.step import Account, Manifest, Step

HEAD = ("step", "source", "in", "kept", "dropped", "by reason", "time", "per second")
NUMBERS = {2, 3, 4, 6, 7}


@click.command()
@CONFIG
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON instead of a table.")
@user_errors
def status(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show every step: its state, documents in, kept and dropped by reason and source, and its speed."""
    steps = plan(load_config(config, overrides))
    done = {name: step.manifest() for name, step in steps.items() if step.done}
    if as_json:
        manifests = {name: manifest.model_dump(mode="json", by_alias=True) for name, manifest in done.items()}
        click.echo(json.dumps(manifests, indent=1))
        return
    click.echo(table(HEAD, [row for name, step in steps.items() for row in _rows(step, done.get(name))], NUMBERS))


def _rows(step: Step[Any], manifest: Manifest | None) -> list[tuple[str, ...]]:
    if manifest is None:
        state = "started" if step.output.exists() else "to do"
        return [(step.name, state, "", "", "", "", "", "")]
    total = manifest.total
    seconds = f"{manifest.seconds:.1f} s"
    if not total.entered:
        return [(step.name, "done", "", "", "", "", seconds, "")]
    speed = f"{total.entered / manifest.seconds:,.0f}" if manifest.seconds else ""
    rows: list[tuple[str, ...]] = [(step.name, f"all {manifest.unit}", *_flow(total), seconds, speed)]
    if len(manifest.accounts) > 1:
        rows += [("", f"  {source}", *_flow(account), "", "") for source, account in manifest.accounts.items()]
    return rows


def _flow(account: Account) -> tuple[str, str, str, str]:
    reasons = ", ".join(f"{name} {count:,}" for name, count in account.dropped.items())
    return f"{account.entered:,}", f"{account.kept:,}", f"{sum(account.dropped.values()):,}", reasons
