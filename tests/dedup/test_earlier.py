"""An earlier corpus is accepted only if its signatures can be compared."""

from pathlib import Path
from typing import Any

import pytest

from dedup.earlier import fingerprints
from dedup.settings import DedupSettings
from dedup.sign import SIGNATURES, SIGNED
from lake.error import UserError
from lake.step import Body, Kind, Outcome, Step

VERSION = 7


def finished(
    lake: Path, kind: Kind = Kind.DEDUPLICATION, signatures: bool = True, **settings: Any
) -> Step[DedupSettings]:
    body = Body[DedupSettings](lambda _: Outcome(), kind, "spark", VERSION)
    step = Step("dedup", body, DedupSettings(keep_signatures=signatures, **settings), str(lake))
    if signatures:
        step.output.write_part(SIGNATURES, 0, SIGNED.empty_table(), "web")
    step.complete(Outcome)
    return step


def refusal(folder: str, version: int = VERSION, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        fingerprints(DedupSettings(earlier=(folder,), **settings), version)
    assert str(caught.value).startswith(f"dedup.earlier: {folder}: ")
    return str(caught.value)


def test_finished_steps_give_their_fingerprints_in_order(tmp_path: Path) -> None:
    # Signatures compare, since the bands are the same although fewer slots are allowed.
    left, right = finished(tmp_path / "a", slots=100), finished(tmp_path / "b", policy="transitive", recall=0.999)
    assert fingerprints(DedupSettings(), VERSION) == []
    earlier = DedupSettings(earlier=(right.output.root, left.output.root))
    assert fingerprints(earlier, VERSION) == [right.fingerprint, left.fingerprint]
    assert left.fingerprint != right.fingerprint


def test_a_folder_without_a_manifest_is_no_finished_step(tmp_path: Path) -> None:
    assert "no finished dedup step" in refusal(str(tmp_path / "nowhere"))
    step = finished(tmp_path)
    (Path(step.output.root) / "manifest.json").unlink()
    assert "no finished dedup step" in refusal(step.output.root)


@pytest.mark.parametrize("content", ["{", '{"step": "dedup"}'])
def test_a_broken_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    assert "not a manifest: " in refusal(str(tmp_path))


def test_an_unreadable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(str(tmp_path / "file"))
    assert "Unrecognized filesystem type" in refusal("s3x://nowhere/dedup")


def test_another_step_or_one_that_kept_no_signatures_is_refused(tmp_path: Path) -> None:
    kept_none = finished(tmp_path / "a", signatures=False)
    assert "dedup.keep_signatures=true" in refusal(kept_none.output.root)
    assert "has no signatures" in refusal(finished(tmp_path / "b", Kind.CLEANER).output.root)


def test_signatures_of_another_version_are_refused(tmp_path: Path) -> None:
    assert "another version" in refusal(finished(tmp_path).output.root, VERSION + 1)


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        ({"ngram": 3}, "signed with ngram 3, not 5"),
        ({"scheme": "datasketch"}, "signed with scheme datasketch, not one_permutation"),
        ({"threshold": 0.5}, "signed with bands "),
    ],
)
def test_signatures_made_in_another_way_are_refused(tmp_path: Path, earlier: dict[str, Any], message: str) -> None:
    assert message in refusal(finished(tmp_path, **earlier).output.root)
