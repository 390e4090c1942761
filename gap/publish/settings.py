"""The section `publish` of a config: whose repositories, and what only the publisher knows."""

import re
from typing import Annotated

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from lake.config import Settings
from lake.error import UserError
from lake.values import Name, Prose, one_line

PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
OWNER = "OWNER"
"""Stands for the owner in a dry run where none is named."""


def _on_the_hub(name: str) -> str:
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ValueError("the Hub does not take this name") from None
    return name


Owner = Annotated[str, StringConstraints(pattern=f"^{PART}$"), AfterValidator(_on_the_hub)]
Repository = Annotated[str, StringConstraints(pattern=f"^{PART}/{PART}$"), AfterValidator(_on_the_hub)]
"""OWNER/NAME on the Hub."""


class Override(Settings):
    """Lets rows that may not be redistributed go to `repository`, for the `reason` that you give in your own words.

    It holds for that data set repository only. The repository must be private and stand under your user name, since the
    members of an organisation are others. The card quotes the reason.
    """

    repository: Repository
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=20, max_length=2000), AfterValidator(one_line)
    ]


class PublishedBase(Settings):
    """The base model on the Hub, and its revision where you know it."""

    id: Repository
    revision: Annotated[str, StringConstraints(pattern="^[0-9A-Za-z._/-]{1,100}$")] | None = None


class PublishSettings(Settings):
    """Where `gap publish` puts what, and what it cannot know. None of it is part of a fingerprint.

    `owner` is your name on the Hub or that of your organisation. Repositories are named after the run: OWNER/RUN for
    the documents, OWNER/RUN-TRAINING for a model. `dataset` and `models` name them otherwise, a model by its training,
    as in `models: {finetune: me/chat}`.

    `contact` is the address (mail or web) for questions and removals; without it, the repository's discussions are
    named. `citation` is BibTeX to add to the card. `withheld` are ids of documents whose removal was asked for. `base`
    is the model that training started from, as the Hub knows it.
    """

    owner: Owner | None = None
    dataset: Repository | None = None
    models: dict[Name, Repository] = Field(default_factory=dict)
    contact: Annotated[str, StringConstraints(pattern=r"^(https://\S+|\S+@\S+\.\S+)$")] | None = None
    citation: Prose | None = None
    withheld: tuple[Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")], ...] = ()
    base: PublishedBase | None = None
    override: Override | None = None

    @model_validator(mode="after")
    def _one_place_for_each(self) -> "PublishSettings":
        named = list(self.models.values())
        if len(set(named)) < len(named):
            raise ValueError("models: two models would share a repository; name another for one of them")
        return self

    def repository(self, name: str, suffix: str = "") -> str:
        """The repository of the data set, or of the model whose training is `suffix`.

        Raises:
            UserError: no owner is named.
        """
        given = self.models.get(suffix) if suffix else self.dataset
        if given is not None:
            return given
        if self.owner is None:
            raise UserError("publish.owner: name who publishes: gap publish CONFIG --to YOUR-NAME")
        slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "run"
        return f"{self.owner}/{slug}{f'-{suffix}' if suffix else ''}"
