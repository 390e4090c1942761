"""Fingerprints, accounts and the manifest as the only mark of completion."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.decision import Drop, Reason, decision
from lake.error import UserError
from lake.step import Account, AccountError, Outcome, Step, account


def step(lake: Path | str, name: str = "read", config: dict[str, Any] | None = None, **more: Any) -> Step:
    return Step(name, "python", 1, config or {"k": 1}, str(lake), **more)


def test_fingerprint_follows_all_that_decides_the_output() -> None:
    one = step("l")
    others = [
        step("l", config={"k": 2}),
        step("l", identity=["digest"]),
        Step("read", "python", 2, {"k": 1}, "l"),
        step("l", inputs=(step("l", "raw"),)),
    ]
    assert one.fingerprint == step("elsewhere").fingerprint
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_change_upstream_changes_all_that_follows() -> None:
    def chain(threshold: float) -> list[str]:
        read = step("l")
        dedup = step("l", "dedup", {"threshold": threshold}, inputs=(read,))
        mix = step("l", "mix", inputs=(dedup,))
        return [one.fingerprint for one in (read, dedup, mix)]

    before, after = chain(0.8), chain(0.7)
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert before[2] != after[2]


def test_work_is_done_once_and_committed_last(tmp_path: Path) -> None:
    one, calls = step(tmp_path), []

    def work() -> Outcome:
        calls.append(one.done)
        return Outcome({"papers": Account.of(1, {"empty": 2})}, {"n": 1})

    assert one.complete(work).total == Account.of(1, {"empty": 2})
    assert one.complete(work).figures == {"n": 1}
    assert calls == [False]


def test_killed_work_leaves_no_manifest(tmp_path: Path) -> None:
    one = step(tmp_path)

    def killed() -> Outcome:
        one.output.write_bytes(b"part", "part")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.complete(killed)
    assert not one.done
    assert one.output.exists("part")


def test_a_lost_document_stops_the_commit(tmp_path: Path) -> None:
    one = step(tmp_path)
    with pytest.raises(AccountError, match="in 4 ≠ kept 1"):
        one.complete(lambda: Outcome({"papers": Account.of(1, {"empty": 2}, entered=4)}))
    assert not one.done


def test_a_step_takes_in_what_the_one_before_kept(tmp_path: Path) -> None:
    read = step(tmp_path)
    read.complete(lambda: Outcome({"papers": Account.of(3), "replay": Account.of(0, {"empty": 1})}))
    clean = step(tmp_path, "clean", inputs=(read,), follows="read")
    with pytest.raises(AccountError, match="read kept"):
        clean.complete(lambda: Outcome({"papers": Account.of(2)}))
    assert clean.complete(lambda: Outcome({"papers": Account.of(2, {"empty": 1})})).total.kept == 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "empty", "too_short"]), st.integers(0, 9))))
def test_accounts_add_up(rows: list[tuple[str, str | None, int]]) -> None:
    found = account({"source": s, "keep": r is None, "reason": r, "count": n} for s, r, n in rows)
    assert sum(one.entered for one in found.values()) == sum(n for _, _, n in rows)
    assert all(one.lost == 0 for one in found.values())


@given(st.text(st.characters(codec=None), max_size=600))
def test_evidence_is_bounded_valid_text(evidence: str) -> None:
    row = decision("read", "id", "papers", Drop(Reason.MALFORMED_JSON, evidence))
    assert row["evidence"].encode("utf-8").decode("utf-8") == row["evidence"]
    assert row["reason"] == "malformed_json"
    assert not row["keep"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"step": "read"}', b"\xff"])
def test_a_file_that_is_no_manifest_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    step = Step("read", "ray", 1, {}, str(tmp_path))
    step.output.write_bytes(content, "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest: .*; delete .*read-.* and run read again$"):
        step.manifest()
