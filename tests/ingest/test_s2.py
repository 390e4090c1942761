"""Fetching Semantic Scholar's datasets from a local server that plays its API on a bad day."""

import gzip
import hashlib
import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ingest.s2 import KEY, S2Settings, fetch, unfinished
from lake.error import UserError

SECRET = "key-of-the-test"


def packed(seed: int) -> bytes:
    return gzip.compress(random.Random(seed).randbytes(3_000_000), 1)


FILES = {f"2023_{n}.gz": packed(n) for n in range(3)}


@dataclass
class World:
    """What the server does, and what it saw."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    fault: Callable[[str, int], str | None] = lambda name, time: None
    """What goes wrong with a part at its first, second … time."""
    generation: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    keys: list[tuple[str, str | None]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    api_faults: list[int] = field(default_factory=list)
    names: list[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    root: str = ""


class Handler(BaseHTTPRequestHandler):
    world: World

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        with self.world.lock:
            self.world.keys.append((path, self.headers.get("x-api-key")))
        if path.startswith("/api/"):
            self._api(path.removeprefix("/api/"))
        else:
            self._part(path.rpartition("/")[2], query)

    def _answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _api(self, path: str) -> None:
        world = self.world
        if world.api_faults:
            self._answer(world.api_faults.pop(0), Retry_After="0")
            return
        if self.headers.get("x-api-key") != SECRET:
            self._answer(403)
            return
        if path in ("release/latest", "release/2023-08-01"):
            self._answer(200, json.dumps({"release_id": "2023-08-01"}).encode())
            return
        if path.startswith("release/2023-08-01/dataset/"):
            with world.lock:
                world.generation += 1
                names = world.names or list(world.files)
                links = [f"{world.root}/parts/{name}?signature={world.generation}" for name in names]
            self._answer(200, json.dumps({"files": links}).encode())
            return
        self._answer(404)

    def _part(self, name: str, query: str) -> None:
        world = self.world
        data = world.files[name]
        with world.lock:
            world.asked[name] += 1
            fault = world.fault(name, world.asked[name])
        if fault == "expired" or query != f"signature={world.generation}":
            self._answer(403, b"<Error>expired</Error>")
            return
        if fault == "busy":
            self._answer(503, Retry_After="0")
            return
        etag = f'"{hashlib.md5(data).hexdigest()}"' if fault != "wrong md5" else f'"{"0" * 32}"'
        start = 0
        asked = self.headers.get("range")
        if asked and fault != "no ranges" and self.headers.get("if-range") == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            world.ranges.append(name)
        body = data[start:]
        told = len(body)
        if fault == "wrong size":
            body = body[: told // 2]
            told = len(body)
        if fault == "garbage":
            body = bytes(told)
        self.send_response(206 if start else 200)
        if fault != "no length":
            self.send_header("Content-Length", str(told))
        self.send_header("ETag", etag if fault not in ("wrong size", "garbage") else '"multi-7"')
        if start:
            first = start + 1 if fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if fault == "broken":
            body = body[: told // 3]
        self.wfile.write(body)
        world.sent[name] += len(body)
        self.close_connection = True


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World()
    handler = type("Bound", (Handler,), {"world": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.root = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv(KEY, SECRET)
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def settings(world: World, **more: Any) -> S2Settings:
    given = {"api": f"{world.root}/api", "datasets": ("s2orc",), "backoff_seconds": 0, "retries": 3, "connections": 2}
    return S2Settings.model_validate(given | more)


def got(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.name != "manifest.json" and path.is_file()
    }


def run(world: World, folder: Path, **more: Any) -> dict[str, Any]:
    return fetch(settings(world, **more), folder, lambda line: None)


def test_all_parts_arrive_and_the_key_goes_to_the_api_alone(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    found = fetch(settings(world, datasets=("papers", "s2orc")), tmp_path, said.append)
    assert got(tmp_path / "2023-08-01" / "s2orc") == FILES
    assert got(tmp_path / "2023-08-01" / "papers") == FILES
    parts = [{"name": name, "bytes": len(data)} for name, data in sorted(FILES.items())]
    assert found == {"release": "2023-08-01", "datasets": {"papers": parts, "s2orc": parts}}
    manifest = json.loads((tmp_path / "2023-08-01" / "s2orc" / "manifest.json").read_text())
    assert manifest == {"release": "2023-08-01", "dataset": "s2orc", "parts": parts}
    assert said[0].startswith("papers 2023-08-01: 3 parts, 9,")
    assert {key for path, key in world.keys if path.startswith("/api/")} == {SECRET}
    assert {key for path, key in world.keys if path.startswith("/parts/")} == {None}


def test_what_is_there_is_not_fetched_again(world: World, tmp_path: Path) -> None:
    run(world, tmp_path)
    before = dict(world.asked)
    run(world, tmp_path, release="2023-08-01")
    assert dict(world.asked) == before


@pytest.mark.parametrize(
    "fault", ["broken", "busy", "expired", "wrong size", "garbage", "wrong md5", "no length", "no ranges"]
)
def test_a_fault_at_the_first_time_is_mended(world: World, tmp_path: Path, fault: str) -> None:
    world.fault = lambda name, time: fault if time == 1 else None
    run(world, tmp_path)
    assert got(tmp_path) == FILES


def test_a_broken_connection_is_taken_up_where_it_broke(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: "broken" if time <= 4 else None
    # Each time brings a third of the rest, so retries, which count failures in a row, are never used up.
    run(world, tmp_path, retries=1)
    assert got(tmp_path) == FILES
    assert set(world.ranges) == set(FILES)
    assert all(world.sent[name] == len(data) for name, data in FILES.items())


def test_a_server_that_answers_with_another_range_gets_no_bytes_appended(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: {1: "broken", 2: "wrong range"}.get(time)
    run(world, tmp_path)
    assert got(tmp_path) == FILES


def test_a_killed_fetch_goes_on_from_its_bytes(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: "broken" if time == 1 else "busy"
    with pytest.raises(UserError, match="run the command again to go on"):
        run(world, tmp_path, retries=1)
    half = sorted(path.name for path in tmp_path.rglob("*.gz.part"))
    assert half
    assert not list(tmp_path.rglob("manifest.json"))
    assert unfinished(tmp_path / "2023-08-01" / "s2orc")
    world.fault = lambda name, time: None
    run(world, tmp_path)
    assert got(tmp_path) == FILES
    assert {f"{name}.part" for name in world.ranges} >= set(half)


def test_a_fetch_that_ends_between_two_parts_is_seen_until_it_is_finished(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: "busy" if name != "2023_0.gz" else None
    with pytest.raises(UserError):
        run(world, tmp_path, retries=1, connections=1)
    folder = tmp_path / "2023-08-01" / "s2orc"
    # Of the parts that are lacking there is nothing.
    assert sorted(path.name for path in folder.iterdir()) == ["2023_0.gz", "manifest.json.part"]
    assert unfinished(folder) == [folder / "manifest.json.part"]
    # A kill just after a part was renamed leaves this beside it.
    (folder / "2023_0.gz.part.json").write_text("{}", encoding="utf-8")
    world.fault = lambda name, time: None
    run(world, tmp_path)
    assert unfinished(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == [*sorted(FILES), "manifest.json"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: "broken" if time == 1 else "busy"
    with pytest.raises(UserError):
        run(world, tmp_path, retries=1)
    world.files = {name: packed(n + 10) for n, name in enumerate(FILES)}
    world.fault = lambda name, time: None
    run(world, tmp_path)
    assert got(tmp_path) == world.files


def test_parts_whose_links_expired_share_one_call_for_fresh_ones(world: World, tmp_path: Path) -> None:
    world.fault = lambda name, time: "expired" if time == 1 else None
    run(world, tmp_path, connections=1)
    assert got(tmp_path) == FILES
    # With one connection at a time each finds its own; the fresh links of the first serve the two others' first tries.
    assert world.generation <= 1 + len(FILES)


@pytest.mark.parametrize("fault", ["busy", "expired", "garbage", "wrong md5"])
def test_a_part_that_never_comes_is_told_without_a_secret(world: World, tmp_path: Path, fault: str) -> None:
    world.fault = lambda name, time: fault if name == "2023_1.gz" else None
    with pytest.raises(UserError) as raised:
        run(world, tmp_path)
    line = str(raised.value)
    assert line.startswith("2023_1.gz: ")
    assert "4 times in a row" in line
    assert "signature" not in line
    assert "\n" not in line
    assert not (tmp_path / "2023-08-01" / "s2orc" / "2023_1.gz").exists()


def test_neither_key_nor_links_are_logged(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    world.fault = lambda name, time: "broken" if time == 1 else None
    with caplog.at_level(logging.INFO):
        run(world, tmp_path)
    shown = caplog.text + "".join(capfd.readouterr())
    assert SECRET not in shown
    assert "signature" not in shown


def test_a_refused_key_is_told_by_its_variable(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "wrong-key")
    with pytest.raises(UserError, match=f"set {KEY} to a valid key") as raised:
        run(world, tmp_path)
    assert "wrong-key" not in str(raised.value)


def test_the_api_is_asked_again_when_it_is_busy(world: World, tmp_path: Path) -> None:
    world.api_faults = [429, 503]
    run(world, tmp_path)
    assert got(tmp_path) == FILES
    world.api_faults = [500] * 9
    with pytest.raises(UserError, match="status 500 after 3 retries"):
        run(world, tmp_path)


@pytest.mark.parametrize("name", ["..%2f..%2fx.gz", "x.txt", ".hidden.gz", "", "a b.gz"])
def test_a_name_that_no_part_has_is_refused(world: World, tmp_path: Path, name: str) -> None:
    world.names = [name]
    with pytest.raises(UserError, match="report it"):
        run(world, tmp_path)
    assert got(tmp_path) == {}


def test_no_such_release(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no release/2022-01-01"):
        run(world, tmp_path, release="2022-01-01")


@pytest.mark.parametrize("given", [{"api": "http://api.example.org"}, {"release": "../x"}])
def test_settings_that_would_leak_or_escape_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        S2Settings.model_validate(given)
