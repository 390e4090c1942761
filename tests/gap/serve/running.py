"""`gap serve` in a process of its own, as a user starts it."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from gap.serve.keys import VARIABLE
from tests.gap.command import ROOT, command
from tests.gap.serve.folders import folder_of_model
from tests.gap.serve.played import KEY

START, SLOW = 900.0, 300.0
"""Seconds, on a busy machine."""


@dataclass(frozen=True)
class Running:
    """The process and its address."""

    process: psutil.Process
    url: str
    output: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {KEY}"}, timeout=SLOW)

    def in_engine(self, state: str) -> float:
        wanted = f'gap_engine_requests{{model="tiny",state="{state}"}} '
        return next(
            float(line.removeprefix(wanted))
            for line in self.get("/metrics").text.splitlines()
            if line.startswith(wanted)
        )

    def children(self, title: str) -> list[psutil.Process]:
        named = []
        for process in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if title in process.name() or title in " ".join(process.cmdline()):
                    named.append(process)
        return named


@contextmanager
def started(folder: Path, base: bool = False) -> Iterator[Running]:
    """`gap serve` with a tiny model `tiny`, and perhaps `base`, which learned no template. Their engines are up."""
    models = [folder_of_model(folder / "tiny")] + ([folder_of_model(folder / "base", tuned=False)] if base else [])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = [word for model in models for word in ("--model", str(model))]
    words = command("serve", *named, "--port", str(port), "serve.limits.requests=100000")
    output = folder / "output.txt"
    with output.open("w") as stream:
        environment = {**os.environ, VARIABLE: KEY}
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    server = Running(psutil.Process(process.pid), f"http://127.0.0.1:{port}", output)

    def up() -> bool:
        assert process.poll() is None, output.read_text()
        with suppress(httpx.TransportError):
            return server.get("/ready").status_code == 200
        return False

    until(up, START)
    yield server
    if process.poll() is None:
        process.kill()
    process.wait()


def until(true: Callable[[], bool], seconds: float = SLOW) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
