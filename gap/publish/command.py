"""`gap publish`: the documents and models of a run to the Hugging Face Hub."""

import time
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from eval import numbers
from gap.command import CONFIG, load_config, table, user_errors
from gap.config import Config
from gap.plan import plan
from gap.publish.dataset import dataset_release
from gap.publish.model import model_release, models_of
from gap.publish.release import Release
from gap.publish.settings import OWNER, Owner, PublishSettings, Repository
from gap.publish.upload import Hub
from lake.bundled import nearest
from lake.dataset import Output
from lake.error import UserError
from lake.step import Steps

DATASET = "dataset"
FOLDER = "publish"


@click.command()
@CONFIG
@click.argument("words", nargs=-1, metavar="[WHICH]... [KEY=VALUE]...")
@click.option(
    "--dry-run", is_flag=True, help="Show every file with its size, and what stays behind and why. Send nothing."
)
@click.option("--private", is_flag=True, help="Make new repositories private. This lets no other rows leave.")
@click.option("--to", metavar="OWNER|OWNER/NAME", help="Who publishes; for one WHICH also the repository.")
@click.option("--note", metavar="TEXT", help="A sentence for the changelog.")
@user_errors
def publish(
    config: str, words: tuple[str, ...], dry_run: bool, private: bool, to: str | None, note: str | None
) -> None:
    """Publish a run on the Hugging Face Hub: its documents as a data set, and each of its models.

    WHICH is `dataset` or the name of a training (pretrain, finetune, …); without it, all that is done is published.
    Only documents leave that may be redistributed and whose licence is known. They are written to the folder publish/
    of the lake, read back, and sent in one commit, each version under its tag. A publish that was killed goes on. A
    second one of the same run does nothing; that of a changed run makes a new version, with a line in the changelog.

    The token comes from HF_TOKEN or from `hf auth login`. The section `publish` of the config holds the rest: owner,
    repositories, contact, citation, the base model's name on the Hub, ids to withhold.

    \b
    Examples:
      gap publish configs/demo.yaml --dry-run
      gap publish configs/demo.yaml --to my-name --private
      gap publish configs/demo.yaml dataset --to my-name/corpus publish.contact=me@example.org
      gap publish configs/demo-tuned.yaml finetune --to my-name --note "Learns three epochs."
    """
    loaded = load_config(config, [word for word in words if "=" in word])
    steps = plan(loaded)
    chosen = choose(steps, [word for word in words if "=" not in word])
    check_models(loaded.publish, steps)
    settings = addressed(loaded.publish, chosen, to, dry_run)
    hub = None if dry_run else Hub()
    for which in chosen:
        release = released(loaded, steps, which, settings, hub)
        if hub is None:
            show(which, release, Path(folder_of(loaded), release.repository.partition("/")[2]))
            continue
        if release.kind == DATASET and not release.data:
            raise UserError(f"no document may leave; gap publish {config} dataset --dry-run says why")
        done = hub.publish(release, private, time.strftime("%Y-%m-%d", time.gmtime()), note)
        what = f"published, {numbers.size(done.sent)} sent" if done.new else "is there already; nothing to do"
        click.echo(
            f"{done.repository} {done.version.tag} {what.replace(numbers.SPACE, ' ')} (revision {done.revision})"
        )


def choose(steps: Steps, words: Sequence[str]) -> list[str]:
    """What to publish, the data set first: models name its revision, and a tuned model that of the one before.

    Raises:
        UserError: a word names nothing, or nothing is done.
    """
    models = models_of(steps)
    for word in words:
        if word not in (DATASET, *models):
            near = nearest(word, [DATASET, *models])
            raise UserError(f"{word}: nothing of this name to publish{near}; there are {', '.join((DATASET, *models))}")
    everything = [DATASET, *(name for name, export in models.items() if export.done)]
    return [name for name in (DATASET, *models) if name in (words or everything)]


def check_models(settings: PublishSettings, steps: Steps) -> None:
    """See that every name in `models` is that of a training: a misspelt one would send its model elsewhere.

    Raises:
        UserError: one is not.
    """
    models = models_of(steps)
    for name in settings.models.keys() - models.keys():
        raise UserError(f"publish.models.{name}: no training has this name{nearest(name, list(models))}")


def addressed(settings: PublishSettings, chosen: Sequence[str], to: str | None, dry_run: bool) -> PublishSettings:
    """The settings with what --to says. A dry run needs no owner.

    Raises:
        UserError: --to names one repository for several things, or none that the Hub takes.
    """
    if to is not None:
        try:
            TypeAdapter(Repository if "/" in to else Owner).validate_python(to)
        except ValidationError:
            raise UserError(f"--to: {to!r:.80} is no name on the Hub; write OWNER or OWNER/NAME") from None
        owner, _, name = to.partition("/")
        if name and len(chosen) != 1:
            raise UserError(f"--to: {to} is one repository, but {', '.join(chosen)} go to one each; name one of them")
        given: dict[str, object] = {"owner": owner}
        if name and chosen[0] == DATASET:
            given["dataset"] = to
        elif name:
            if other := next((of for of, place in settings.models.items() if place == to and of != chosen[0]), None):
                raise UserError(f"--to: {to} is the repository of {other}; name another one for {chosen[0]}")
            given["models"] = settings.models | {chosen[0]: to}
        return settings.model_copy(update=given)
    if dry_run and settings.owner is None:
        return settings.model_copy(update={"owner": OWNER})
    return settings


def released(config: Config, steps: Steps, which: str, settings: PublishSettings, hub: Hub | None) -> Release:
    """The release of the data set or of a model."""
    if which == DATASET:
        return dataset_release(steps, config.name, settings, folder_of(config))

    def revision(kind: str, repository: str) -> str | None:
        return hub.revision(kind, repository) if hub is not None else None

    return model_release(steps, which, config.name, settings, revision)


def folder_of(config: Config) -> str:
    """Where files are written before they leave.

    Raises:
        UserError: it is on object storage, or cannot be written.
    """
    output = Output(f"{config.disk or config.lake}/{FOLDER}")
    if not output.is_local:
        raise UserError(f"{output.root}: the files are written to a local or mounted disk; set disk= to a folder on it")
    output.check_writable("disk" if config.disk else "lake")
    return output.root


def show(which: str, release: Release, preview: Path) -> None:
    """Every file with its size as of a first version, and what stays behind. The texts go to a folder to be read."""
    version = release.state.next([], time.strftime("%Y-%m-%d", time.gmtime()), None)
    files = release.files([version])
    click.echo(f"{which}: {release.kind} repository {release.repository}\n")
    rows = [(file.path, f"{file.size:,}") for file in files]
    click.echo(table(("file", "bytes"), [*rows, (f"{len(files)} files", f"{sum(file.size for file in files):,}")], {1}))
    if release.kind == DATASET:
        leaving = release.state.figures["rows"]
        count = sum(int(row[-1].replace(",", "")) for row in release.staying)
        click.echo(f"\n{leaving:,} documents leave, {count:,} stay behind{':' if count else '.'}")
        if count:
            click.echo()
            click.echo(table(("why", "source", "licence", "documents"), release.staying, {3}))
        if release.override is not None:
            click.echo("publish.override lets documents leave that may not be redistributed; publish with --private.")
    for file in files:
        if isinstance(file.content, bytes):
            place = preview / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
    click.echo(f"\nThe card and the other texts are in {preview}\n")
