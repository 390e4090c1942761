"""The real client against a Hub that is played on loopback, and that fails as the real one does."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from gap.publish.dataset import dataset_release
from gap.publish.files import File
from gap.publish.history import RECORD
from gap.publish.release import Release
from gap.publish.settings import PublishSettings
from gap.publish.upload import Hub
from lake.error import UserError
from tests.gap.publish.played_hub import PIECE, TOKEN, PlayedHub
from tests.gap.publish.small_lake import SmallLake, documents
from tests.gap.publish.test_rows import REASON

TODAY = "2026-11-27"


def released(small: SmallLake, **settings: object) -> Release:
    given = PublishSettings.model_validate({"owner": "me", **settings})
    return dataset_release(small.steps, "demo", given, str(small.folder / "publish"))


def plain_release(repository: str = "me/files", **files: bytes) -> Release:
    """A release of any files, with a card."""
    from gap.publish.history import State, content_of

    data = [File.of(name.replace("__", "."), content) for name, content in files.items()]
    state = State(content_of(data), {"mix": "0" * 12}, {"rows": 1, "tokens": 1, "bytes": 1}, {})
    return Release(
        repository, "model", state, data, lambda _: [File.of("README.md", "---\nlicense: mit\n---\n# Files\n")]
    )


def holds(played: PlayedHub, release: Release) -> bool:
    found = played[release.repository].files
    return all(File.of(file.path, found.get(file.path, b"")).sha256 == file.sha256 for file in release.data)


def test_all_files_arrive_in_one_commit_under_a_tag(small: SmallLake, hub: Hub, played: PlayedHub) -> None:
    release = released(small)
    done = hub.publish(release, private=False, today=TODAY)
    made = played["me/demo"]
    assert done.new
    assert made.messages == ["initial commit", "v1.0.0: First publication."]
    assert made.tags == {"v1.0.0": made.head} == {"v1.0.0": done.revision}
    assert holds(played, release)
    described = {"README.md", "LICENSE.md", "croissant.json", RECORD}
    assert set(made.files) == {file.path for file in release.data} | described
    assert done.sent == sum(map(len, made.files.values()))
    assert not made.private


def test_a_second_publish_sends_nothing(small: SmallLake, hub: Hub, played: PlayedHub) -> None:
    first = hub.publish(released(small), private=True, today=TODAY)
    played.asked.clear()
    again = hub.publish(released(small), private=True, today="2027-01-01")
    assert (again.new, again.revision, again.sent) == (False, first.revision, 0)
    assert played.writes() == []
    assert played["me/demo"].private
    assert hub.revision("dataset", "me/demo") == first.revision
    assert hub.revision("dataset", "me/nothing") is None


def test_a_changed_run_is_a_new_version_with_a_line(tmp_path: Path, hub: Hub, played: PlayedHub) -> None:
    first = hub.publish(released(SmallLake(tmp_path / "a")), private=False, today=TODAY)
    rows = documents({"guidelines": 12, "papers": 20})
    done = hub.publish(released(SmallLake(tmp_path / "b", rows, "seed=7")), False, "2026-11-28", "More\n\udcff papers.")
    made = played["me/demo"]
    assert (first.version.version, done.version.version) == ("1.0.0", "1.1.0")
    assert set(made.tags) == {"v1.0.0", "v1.1.0"}
    assert not [path for path in made.files if path.startswith("data/replay/")], "what the new version lacks is deleted"
    assert [path for path in made.commits[first.revision] if path.startswith("data/replay/")]
    card = made.files["README.md"].decode()
    assert "replay 4 → 0 rows; changed steps: mix" in card.replace("\\", "")
    assert "More \ufffd papers." in card
    assert "- `v1.0.0` (2026-11-27): First publication." in card
    note = hub.publish(released(SmallLake(tmp_path / "b", rows, "seed=7"), contact="me@example.org"), False, TODAY)
    assert note.version.version == "1.1.1"


def test_files_of_others_are_left_alone(hub: Hub, played: PlayedHub) -> None:
    hub.publish(plain_release(a__json=b"{}", b__json=b"[]"), private=False, today=TODAY)
    made = played["me/files"]
    made.commit({**made.commits[made.head], "NOTES.md": b"by hand"}, "by hand")
    hub.publish(plain_release(a__json=b"{}"), private=False, today=TODAY)
    assert set(made.files) == {"a.json", "README.md", RECORD, "NOTES.md"}


def test_a_repository_with_something_else_is_not_overwritten(hub: Hub, played: PlayedHub) -> None:
    hub.api.create_repo("me/files")
    made = played["me/files"]
    made.commit({**made.commits[made.head], "model.safetensors": b"others"}, "others")
    with pytest.raises(UserError, match="the repository holds something else"):
        hub.publish(plain_release(a__json=b"{}"), private=False, today=TODAY)
    made.commit({RECORD: b'{"versions": []}'}, "broken")
    with pytest.raises(UserError, match=r"publication.json cannot be read: .*; restore or delete it"):
        hub.publish(plain_release(a__json=b"{}"), private=False, today=TODAY)


LARGE = bytes(range(256)) * (PIECE // 256) * 2 + b"the rest"


def test_a_large_file_goes_in_pieces(hub: Hub, played: PlayedHub) -> None:
    release = plain_release(model__safetensors=LARGE)
    hub.publish(release, private=False, today=TODAY)
    assert holds(played, release)
    assert len([path for path in played.writes() if path.endswith(("/1", "/2", "/3"))]) == 3


@pytest.mark.parametrize(
    ("method", "path", "kinds"),
    [
        ("POST", "/repos/create", ["504", "lost"]),
        ("GET", "/api/models/me/files$", ["503", "cut"]),
        ("GET", "/tree/", ["504", "cut"]),
        ("GET", "/refs", ["429", "cut"]),
        ("POST", "/preupload/", ["504", "429", "cut"]),
        ("POST", "/objects/batch", ["504", "429", "cut", "lost"]),
        ("PUT", "/lfs/", ["504", "429", "cut", "lost"]),
        ("POST", "/complete", ["502"]),
        ("POST", "/verify", ["504", "cut"]),
        ("POST", "/validate-yaml", ["504", "cut"]),
        ("POST", "/commit/", ["504", "429", "cut"]),
        ("POST", "/commit/", ["lost"]),
        ("POST", "/tag/", ["504", "lost"]),
    ],
)
def test_faults_that_pass_are_outlived(hub: Hub, played: PlayedHub, method: str, path: str, kinds: list[str]) -> None:
    played.fail(method, path, *kinds)
    release = plain_release(model__safetensors=LARGE, config__json=b"{}")
    done = hub.publish(release, private=False, today=TODAY)
    assert played.faults == [], "every fault was met"
    assert holds(played, release)
    assert played["me/files"].tags == {"v1.0.0": done.revision}
    assert played["me/files"].messages[1:] == ["v1.0.0: First publication."], "a lost answer makes no second commit"


def test_another_commit_between_is_not_overwritten(
    hub: Hub, played: PlayedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    preupload = HfApi.preupload_lfs_files

    def meanwhile(*given: Any, **more: Any) -> None:
        preupload(*given, **more)
        made = played["me/files"]
        made.commit({**made.commits[made.head], "NOTES.md": b"by hand"}, "by hand")

    monkeypatch.setattr(HfApi, "preupload_lfs_files", meanwhile)
    release = plain_release(config__json=b"{}")
    with pytest.raises(UserError, match="another commit came between; publish again"):
        hub.publish(release, private=False, today=TODAY)
    assert set(played["me/files"].files) == {"NOTES.md"}


@pytest.mark.parametrize(
    ("method", "path", "kind", "said"),
    [
        ("POST", "/commit/", "403", r"the Hub refuses \(403\); set HF_TOKEN or run hf auth login"),
        ("POST", "/commit/", "500", "the Hub answers with 500; what has arrived stays there, so publish again later"),
        ("PUT", "/lfs/", "400", "the Hub answers with 400"),
        ("GET", "/tree/", "cut", "the Hub cannot be reached"),
    ],
)
def test_faults_that_stay_are_one_line_and_show_no_secret(
    hub: Hub, played: PlayedHub, capfd: pytest.CaptureFixture[str], method: str, path: str, kind: str, said: str
) -> None:
    played.fail(method, path, *[kind] * 60)
    with pytest.raises(UserError, match=said) as told:
        hub.publish(plain_release(model__safetensors=b"weights"), private=False, today=TODAY)
    assert told.value.__suppress_context__
    shown = str(told.value) + "".join(capfd.readouterr())
    assert len(str(told.value).splitlines()) == 1
    assert TOKEN not in shown
    assert "secretSignature" not in shown
    played.faults.clear()
    assert hub.publish(plain_release(model__safetensors=b"weights"), private=False, today=TODAY).new


def test_a_wrong_token_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"me/files: the Hub refuses \(401\)"):
        hub.publish(plain_release(a__json=b"{}"), private=False, today=TODAY)


def test_a_file_that_changes_after_its_check_does_not_leave(hub: Hub, played: PlayedHub, tmp_path: Path) -> None:
    for name in ("rows.parquet", "small.json"):
        place = tmp_path / name
        place.write_bytes(b"checked")
        release = plain_release(**{name.replace(".", "__"): b"checked"})
        release.data[0] = release.data[0].at(place)
        place.write_bytes(b"slipped in")
        with pytest.raises(UserError, match=f"{name}: the file changed while it was published"):
            hub.publish(release, private=False, today=TODAY)
    assert played["me/files"].files == {}


def test_what_the_hub_lists_is_compared_by_digest(hub: Hub, played: PlayedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = PlayedHub.commit
    from tests.gap.publish import played_hub

    def careless(self: PlayedHub, request: object, body: bytes, kind: str, id: str, revision: str) -> object:
        answer = commit(self, request, body, kind, id, revision)
        found = self.repositories[kind, id]
        found.commits[found.head]["config.json"] = b"{ }"
        return answer

    routes = [(*route[:2], careless) if route[2] is commit else route for route in played_hub.ROUTES]
    monkeypatch.setattr(played_hub, "ROUTES", routes)
    with pytest.raises(UserError, match=r"the Hub lists config.json with another digest; publish again"):
        hub.publish(plain_release(config__json=b"{}"), private=False, today=TODAY)


def test_private_is_not_taken_for_granted(hub: Hub) -> None:
    hub.publish(plain_release(a__json=b"{}"), private=False, today=TODAY)
    with pytest.raises(UserError, match="the repository is public; make it private"):
        hub.publish(plain_release(a__json=b"{}"), private=True, today=TODAY)


def test_an_override_is_for_ones_own_private_repository(small: SmallLake, hub: Hub, played: PlayedHub) -> None:
    other = {"repository": "org/demo", "reason": REASON}
    with pytest.raises(UserError, match="an override is for your own repositories, and you are me"):
        hub.publish(released(small, dataset="org/demo", override=other), private=True, today=TODAY)
    own = {"repository": "me/demo", "reason": REASON}
    with pytest.raises(UserError, match="an override needs a private repository; publish with --private"):
        hub.publish(released(small, override=own), private=False, today=TODAY)
    assert played.repositories == {}
    hub.publish(released(small, override=own), private=True, today=TODAY)
    assert REASON in " ".join(played["me/demo"].files["README.md"].decode().split())
