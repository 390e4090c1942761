"""What goes to one repository, whatever version it becomes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from huggingface_hub.constants import ENDPOINT

from eval.text import CREDENTIALS
from gap.publish.files import File
from gap.publish.history import State, Version, record
from gap.publish.settings import Override
from lake.error import UserError
from lake.step import Steps, needed


def page(path: str) -> str:
    """The address of a page of the Hub. A password in the endpoint is not part of it."""
    return f"{CREDENTIALS.sub('', ENDPOINT)}/{path}"


def made(steps: Steps, *names: str) -> Steps:
    """These steps and all before them, for the card tells of each.

    Raises:
        UserError: one is not done, or its folder was deleted since.
    """
    before = needed(steps, names)
    for step in before.values():
        if not step.done:
            raise UserError(
                f"{step.output.root}: the card tells of {step.name}, which is not there; gap run CONFIG {step.name}"
            )
    return before


@dataclass(frozen=True)
class Release:
    """Files and how to describe them. `kind` is `dataset` or `model`, as the Hub has it.

    `data` are the files that make the content; `describe` gives the others, with the card, for a list of versions of
    which the last is this one. `staying` says what stays behind: reason, source, licence and number of documents.
    """

    repository: str
    kind: str
    state: State
    data: list[File]
    describe: Callable[[Sequence[Version]], list[File]]
    override: Override | None = None
    staying: Sequence[tuple[str, str, str, str]] = ()

    def files(self, versions: Sequence[Version]) -> list[File]:
        """All files as of these versions, sorted."""
        files = [*self.data, *self.describe(versions)]
        overridden = self.override.model_dump() if self.override is not None else None
        return sorted([*files, record(versions, files, overridden)], key=lambda file: file.path)
