"""The demo as a job on a Ray cluster that somebody else started, as the README says."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

from gap.config import Config
from gap.plan import plan
from lake.config import Settings, load
from lake.step import Manifest

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TOKEN = secrets.token_hex(32)
PATIENCE = {"RAY_agent_register_timeout_ms": "300000"}
"""On a busy machine the agent that runs jobs takes long to start, and the head would end for want of it."""


class Folders(Settings, extra="ignore"):
    data: str
    lake: str


@pytest.mark.parametrize("config", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_the_upload_holds_neither_runs_nor_data_but_the_samples(config: Path) -> None:
    excluded = get_excludes_from_ignore_files(ROOT, include_gitignore=True)
    folders = load(config, [], Folders)
    kept = {
        folder
        for folder in (folders.data, folders.lake)
        if not any(excludes(ROOT / folder / "file") for excludes in excluded)
    }
    assert kept <= {"samples"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address for jobs of a Ray head with two CPUs, ended with all its processes afterwards.

    Its agent gets a port of its own: where Ray's fixed one is taken, the agent lives on but runs no job.
    """
    jobs = free_port()
    folder = tempfile.mkdtemp(prefix="r")
    words = ["start", "--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"]
    process = subprocess.Popen(
        [
            str(BIN / "ray"),
            *words,
            f"--port={free_port()}",
            f"--dashboard-port={jobs}",
            f"--dashboard-agent-listen-port={free_port()}",
        ],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{jobs}"
    try:
        await_answer(f"{address}/api/version", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """As with the environment activated, and no Ray of this process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0"} | token | PATIENCE


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the head ended at once"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return  # it asks for the token that Ray's own tools send
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"{url} did not answer")


def submit(head: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Submit once the head has an agent to run jobs, which comes up some time after its server."""
    command = [str(BIN / "ray"), "job", "submit", f"--address={head}", "--working-dir", ".", "--", *words]
    deadline = time.monotonic() + 300
    while True:
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900)
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(2)


def test_ray_job_submit_runs_the_demo_on_the_cluster(head: str, tmp_path: Path) -> None:
    # What it learns is asked of the run in test_pipeline.py.
    short = ("pretrain.steps=4", "pretrain.optimizer.warmup=0", "evaluate.benchmarks.0.limit=8")
    done = submit(head, "python", "-m", "gap", "run", "configs/demo.yaml", f"lake={tmp_path}", *short)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifests = [Manifest.model_validate_json(file.read_bytes()) for file in tmp_path.glob("*/manifest.json")]
    assert {manifest.step for manifest in manifests} == set(plan(load("configs/demo.yaml", [], Config)))
    (report,) = tmp_path.glob("report-*/report.html")
    assert "<svg" in report.read_text(encoding="utf-8")
