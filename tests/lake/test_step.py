"""Steps as values: fingerprints, accounts, and the manifest as the only mark of completion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.config import Settings
from lake.error import UserError
from lake.step import MISSING, Account, AccountError, Body, Kind, Outcome, Step, account, needed, of_kind


class Threshold(Settings):
    threshold: float = 0.8


def count(step: Step[Threshold], documents: int = 1) -> Outcome:
    """The function of the steps below."""
    return Outcome({"papers": Account.of(documents)})


def check(step: Step[Threshold], documents: int = 1) -> None:
    if documents < 0:
        raise UserError(f"{step.name}: documents is negative")


BODY = Body[Threshold](count, Kind.CLEANER, "python", 1, check=check)


def step_of(lake: Path | str = "lake", name: str = "clean", **more: Any) -> Step[Threshold]:
    return Step(name, BODY, Threshold(), str(lake), **more)


def test_a_fingerprint_changes_with_all_that_decides_the_output() -> None:
    read, other = step_of(name="read"), step_of(name="read", seed=1)
    step = step_of(inputs={"documents": read, "kept": other})
    changed = [
        replace(step, name="clean-web"),
        replace(step, settings=Threshold(threshold=0.7)),
        replace(step, seed=1),
        replace(step, seed=2),
        replace(step, identity=["digest"]),
        replace(step, body=replace(BODY, version=2)),
        replace(step, inputs={"documents": read}),
        replace(step, inputs={"documents": read, "other": other}),
        replace(step, inputs={"documents": other, "kept": read}),
    ]
    assert len({step.fingerprint, *(changed_step.fingerprint for changed_step in changed)}) == 1 + len(changed)


def test_a_fingerprint_changes_with_nothing_else() -> None:
    read = step_of(name="read")
    step = step_of(inputs={"documents": read, "kept": read})
    body = Body[Threshold](check, Kind.READER, "spark", 1)  # type: ignore[arg-type]
    same = [
        replace(step, lake="elsewhere"),
        replace(step, body=body),
        replace(step, follows="documents"),
        replace(step, extra={"documents": 2}),
        replace(step, settings=Threshold(threshold=0.8)),
        replace(step, inputs={"kept": replace(read, lake="elsewhere"), "documents": read}),
    ]
    assert {step.fingerprint} == {same_step.fingerprint for same_step in same}


def test_a_change_upstream_changes_all_that_follows() -> None:
    def chain(threshold: float) -> list[str]:
        read = step_of(name="read")
        dedup = Step("dedup", BODY, Threshold(threshold=threshold), "lake", {"documents": read})
        mix = step_of(name="mix", inputs={"kept": dedup})
        return [step.fingerprint for step in (read, dedup, mix)]

    before, after = chain(0.8), chain(0.7)
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert before[2] != after[2]


def test_what_to_run_follows_from_what_is_read() -> None:
    steps: dict[str, Step[Any]] = {}
    reads = {"read": "", "clean": "read", "tokenizer": "clean", "dedup": "clean", "mix": "tokenizer dedup", "web": ""}
    for name, inputs in reads.items():
        steps[name] = step_of(name=name, inputs={role: steps[role] for role in inputs.split()})
    assert list(needed(steps, ["dedup"])) == ["read", "clean", "dedup"]
    assert list(needed(steps, ["web", "tokenizer"])) == ["read", "clean", "tokenizer", "web"]
    assert list(needed(steps, ["mix"])) == ["read", "clean", "tokenizer", "dedup", "mix"]
    assert needed(steps, []) == {}
    assert needed(steps, steps) == steps


def test_a_kind_may_have_several_steps() -> None:
    trainer = replace(BODY, kind=Kind.TRAINING)
    steps = {name: step_of(name=name) for name in ("clean", "pretrain", "pretrain-slow")}
    steps |= {name: replace(steps[name], body=trainer) for name in ("pretrain", "pretrain-slow")}
    assert of_kind(steps, Kind.TRAINING) == [steps["pretrain"], steps["pretrain-slow"]]
    assert of_kind(steps, Kind.REPORT) == []


def test_a_step_is_settled_once_all_raw_files_are_there() -> None:
    def chain(identity: Any) -> Step[Threshold]:
        return step_of(inputs={"documents": step_of(name="read", identity=identity)})

    assert chain(["digest"]).settled
    assert chain(None).settled
    assert not chain(MISSING).settled
    assert not chain(MISSING).input("documents").settled


def test_a_step_runs_once_and_its_manifest_comes_last(tmp_path: Path) -> None:
    calls = []

    def work(step: Step[Threshold], documents: int) -> Outcome:
        calls.append(step.done)
        step.output.write_bytes(b"part", "part")
        return Outcome({"papers": Account.of(documents, {"empty": 2})}, {"n": 1})

    step = step_of(tmp_path, extra={"documents": 3})
    step = replace(step, body=replace(BODY, work=work))
    assert step.run().total == Account.of(3, {"empty": 2})
    assert step.run().figures == {"n": 1}
    assert calls == [False]


def test_the_manifest_says_what_was_run_on_what(tmp_path: Path) -> None:
    read = step_of(tmp_path, "read", seed=7)
    clean = step_of(tmp_path, "clean", inputs={"documents": read}, follows="documents")
    before, manifest = read.run(), clean.run()
    assert (manifest.step, manifest.kind, manifest.engine, manifest.version) == ("clean", Kind.CLEANER, "python", 1)
    assert manifest.inputs == {"documents": before.folder}
    assert (manifest.follows, before.follows) == ("documents", None)
    assert (manifest.config, before.config) == ({"threshold": 0.8}, {"threshold": 0.8, "seed": 7})
    assert (manifest.unit, manifest.accounts) == ("documents", {"papers": Account.of(1)})
    assert Path(clean.output.root) == tmp_path / manifest.folder
    assert clean.manifest() == manifest


def test_check_gets_the_arguments_of_the_function() -> None:
    step_of(extra={"documents": 1}).check()
    with pytest.raises(UserError, match="clean: documents is negative"):
        step_of(extra={"documents": -1}).check()
    replace(step_of(extra={"documents": -1}), body=replace(BODY, check=None)).check()


def test_killed_work_leaves_no_manifest(tmp_path: Path) -> None:
    step = step_of(tmp_path)

    def killed() -> Outcome:
        step.output.write_bytes(b"part", "part")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step.complete(killed)
    assert not step.done
    assert step.output.exists("part")


@pytest.mark.parametrize("entered", [4, 2])
def test_a_document_without_a_verdict_or_with_two_stops_the_commit(tmp_path: Path, entered: int) -> None:
    step = step_of(tmp_path)
    with pytest.raises(AccountError, match=f"in {entered} ≠ kept 1"):
        step.complete(lambda: Outcome({"papers": Account.of(1, {"empty": 2}, entered=entered)}))
    assert not step.done


def test_the_documents_that_enter_are_those_that_the_step_before_kept(tmp_path: Path) -> None:
    read = step_of(tmp_path, "read")
    read.complete(lambda: Outcome({"papers": Account.of(3), "replay": Account.of(0, {"empty": 1})}))
    clean = step_of(tmp_path, inputs={"documents": read, "other": step_of(tmp_path, "other")}, follows="documents")
    with pytest.raises(AccountError, match=r"read kept \{'papers': 3\}, but \{'papers': 2\} entered"):
        clean.complete(lambda: Outcome({"papers": Account.of(2)}))
    assert clean.complete(lambda: Outcome({"papers": Account.of(2, {"empty": 1})})).total.kept == 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "empty", "too_short"]), st.integers(0, 9))))
def test_accounts_add_up(rows: list[tuple[str, str | None, int]]) -> None:
    accounts = account({"source": s, "keep": r is None, "reason": r, "count": n} for s, r, n in rows)
    assert sum(source.entered for source in accounts.values()) == sum(n for _, _, n in rows)
    assert all(source.lost == 0 for source in accounts.values())


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"step": "clean"}', b"\xff"])
def test_a_file_that_is_no_manifest_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    step = step_of(tmp_path)
    step.output.write_bytes(content, "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest: .*; delete .*clean-.* and run clean again$"):
        step.manifest()
