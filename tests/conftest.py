"""Start engines once for all tests; run fast tests first."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline would measure the machine.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the project's root; see the README."""
    if not SHARED.is_dir():
        pytest.skip(reason="no ../shared/data beside the project")
    return SHARED


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """One embedded Spark session with two cores."""
    from spark_jobs.session import SparkSettings, start

    session = start(SparkSettings(master="local[2]", shuffle_partitions=2))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One embedded Ray cluster with two CPUs."""
    import ray

    from ray_jobs.cluster import RaySettings, start

    start(RaySettings(cpus=2))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def before(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Finished steps for the shard step to read (tests.jobs.sharded.Before)."""
    from tests.jobs.sharded import Before, clean_step, mix_step, tokenizer_step

    root = tmp_path_factory.mktemp("before")
    clean = clean_step(root)
    counted = tokenizer_step(root, clean)
    return Before(clean, counted, mix_step(root, counted))


@pytest.fixture(scope="session")
def shard_step(before: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished shard step; copy its folder before you change it."""
    return before.sharded(tmp_path_factory.mktemp("shard"))


@pytest.fixture(scope="session")
def is_linear() -> Callable[[Callable[[int], object]], bool]:
    """Whether work on 16 times the size takes far less than 256 times as long, by the best of three runs."""

    def seconds(work: Callable[[int], object], size: int) -> float:
        runs = []
        for _ in range(3):
            started = time.process_time()
            work(size)
            runs.append(time.process_time() - started)
        return min(runs)

    return lambda work: seconds(work, 16_000) < 100 * max(seconds(work, 1_000), 0.005)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("engine") is not None)


@pytest.fixture
def web() -> Iterator["Web"]:
    """An HTTP server on loopback that plays a site and records its requests."""
    server = Web()
    yield server
    server.close()


class Web:
    """Pages by path and query. A page is a function that answers a request.

    `asked` holds time, path and headers of every request in order of arrival, `sent` the bodies of posts.
    """

    def __init__(self) -> None:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked.append((time.monotonic(), self.path, dict(self.headers)))
                try:
                    web.pages.get(self.path, missing)(self)
                except ConnectionError:
                    web.hung_up.append(self.path)
                    self.close_connection = True

            def do_POST(self) -> None:
                web.sent.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.do_GET()

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        def missing(request: "Handler") -> None:
            request.answer(404, b"no such page", Content_Type="text/html")

        self.asked: list[tuple[float, str, dict[str, str]]] = []
        self.sent: list[bytes] = []
        self.hung_up: list[str] = []
        self.pages: dict[str, Callable[[Any], None]] = {}

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                if not isinstance(sys.exception(), ConnectionError):
                    raise

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def page(self, path: str, body: str | bytes, kind: str = "text/html; charset=utf-8", **headers: str) -> None:
        """Serve a page."""
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = lambda request: request.answer(200, data, Content_Type=kind, **headers)

    def status(self, path: str, *statuses: int, body: str = "<p>at last</p>", **headers: str) -> None:
        """Answer with these statuses in turn, then always with the last. A 200 has the body."""
        left = list(statuses)

        def answer(request: Any) -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            request.answer(status, body.encode() if status == 200 else b"", Content_Type="text/html", **headers)

        self.pages[path] = answer

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.pages[path] = lambda request: request.answer(status, Location=to)

    def paths(self, robots: bool = False) -> list[str]:
        """The paths requested, in order."""
        return [path for _, path, _ in self.asked if robots or path != "/robots.txt"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
