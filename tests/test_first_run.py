"""`make env` on a new machine: where it takes the CPU torch from, and what the user reads when something is missing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch-2.13.0+cpu"
BACKEND = """
import shutil

def build_editable(folder, config_settings=None, metadata_directory=None):
    return shutil.copy("gap_replay-0-py3-none-any.whl", folder).rpartition("/")[2]
"""


def wheel(package: str, folder: Path) -> Path:
    """Writes the wheel of a package, NAME-VERSION, that holds one module with its version."""
    name, version = package.split("-")
    info = f"{package}.dist-info"
    path = folder / f"{package}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


class Machine:
    """An empty home, no pip configuration, two package indexes on loopback, a project that locks two tiny packages."""

    def __init__(self, folder: Path, web: Any) -> None:
        self.web = web
        self.wheels, self.project, home = folder / "wheels", folder / "a project", folder / "home"
        for path in (self.wheels, self.project, home):
            path.mkdir()
        self.links: dict[str, str] = defaultdict(str)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{web.url}/pypi/",
            "TORCH_INDEX": f"{web.url}/cpu/",
            "PYTHON": sys.executable,
            "SPACE_GB": "0",
        }
        for file in ("Makefile", "environment.sh"):
            shutil.copy(ROOT / file, self.project)
        (self.project / "requirements.lock").write_text("# Pinned.\ntiny==1.0\ntorch==2.13.0+cpu\n")
        build = 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        project = 'name = "gap_replay"\nversion = "0"\n'
        (self.project / "pyproject.toml").write_text(f"[build-system]\n{build}[project]\n{project}")
        (self.project / "backend.py").write_text(BACKEND)
        wheel("gap_replay-0", self.project)
        self.ready = self.project / ".venv" / ".ready"

    def offer(self, index: str, package: str) -> None:
        """Puts a package into an index."""
        file = wheel(package, self.wheels)
        address = f"/{index}/{package.partition('-')[0]}/"
        self.links[address] += f'<a href="/{index}/files/{file.name.replace("+", "%2B")}">{file.name}</a>'
        self.web.page(address, self.links[address])
        self.web.page(f"/{index}/files/{file.name.replace('+', '%2B')}", file.read_bytes(), "application/zip")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["make", "env"],
            cwd=self.project,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(self, **environment: str) -> str:
        """Makes the environment and returns what make prints."""
        process = self.start(**environment)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == ""
        assert self.ready.exists()
        return output

    def fail(self, **environment: str) -> str:
        """The one line that the user reads when the environment cannot be made."""
        process = self.start(**environment)
        lines = process.communicate(timeout=120)[1].splitlines()
        assert process.returncode != 0
        assert len(lines) == 2
        assert lines[1].startswith("make: ***")
        assert not self.ready.exists()
        return lines[0]

    def installed(self) -> str:
        """The version of torch that a program imports."""
        command = [f"{self.project}/.venv/bin/python", "-c", "import gap_replay, tiny, torch; print(torch.version)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def requests(self, index: str) -> list[str]:
        return [path for path in self.web.paths() if path.startswith(f"/{index}/")]


@pytest.fixture
def machine(tmp_path: Path, web: Any) -> Machine:
    return Machine(tmp_path, web)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but pip. Copying it is faster than making it."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def prepared(machine: Machine, bare: Path) -> Machine:
    """A machine whose first run was stopped before it installed a package."""
    shutil.copytree(bare, machine.project / ".venv", symlinks=True)
    return machine


@pytest.mark.parametrize("configured", ["an index", "a folder"])
def test_torch_comes_from_where_pip_is_configured_to_look(prepared: Machine, configured: str) -> None:
    prepared.offer("pypi", "tiny-1.0")
    prepared.offer("cpu", TORCH)
    if configured == "an index":
        prepared.offer("pypi", TORCH)
        prepared.make()
    else:
        # Some clusters set `user`, which pip refuses in a virtual environment.
        prepared.make(PIP_FIND_LINKS=str(prepared.wheels), PIP_USER="1")
    assert prepared.installed() == "2.13.0+cpu"
    assert prepared.requests("cpu") == []


def test_torch_comes_from_the_cpu_index_where_pips_own_has_other_builds(prepared: Machine) -> None:
    for package in ("tiny-1.0", "torch-2.13.0", "torch-2.14.0"):
        prepared.offer("pypi", package)
    line = prepared.fail()
    assert "Cannot get torch==2.13.0+cpu from pip's index (No matching distribution found" in line
    assert "make env TORCH_INDEX=URL" in line
    prepared.offer("cpu", TORCH)
    assert f"Taking torch==2.13.0+cpu from {prepared.web.url}/cpu/" in prepared.make()
    assert prepared.installed() == "2.13.0+cpu"
    before = len(prepared.web.asked)
    assert "Nothing to be done" in prepared.make()
    assert len(prepared.web.asked) == before


def test_without_a_network_the_line_names_the_lost_connection(prepared: Machine) -> None:
    nobody = "http://127.0.0.1:9/"
    line = prepared.fail(PIP_INDEX_URL=nobody, TORCH_INDEX=nobody)
    assert line.count("no connection: Failed to establish a new connection: [Errno 111] Connection refused)") == 2
    assert "HTTPS_PROXY" in line


def test_make_goes_on_where_it_stopped(machine: Machine) -> None:
    machine.offer("pypi", TORCH)
    assert "Cannot install requirements.lock: No matching distribution found for tiny==1.0." in machine.fail()

    asked, goes_on = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        asked.set()
        goes_on.wait(60)

    machine.web.pages["/pypi/tiny/"] = hang
    process = machine.start()
    assert asked.wait(60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    goes_on.set()
    assert not machine.ready.exists()

    machine.offer("pypi", "tiny-1.0")
    machine.make()
    assert machine.installed() == "2.13.0+cpu"
    assert sum("files/torch" in path for path in machine.requests("pypi")) == 1


def test_a_package_that_was_cut_off_is_installed_again(prepared: Machine) -> None:
    for package in ("tiny-1.0", TORCH):
        prepared.offer("pypi", package)
    prepared.make()
    packages = prepared.project / ".venv/lib/python3.11/site-packages"
    prepared.ready.unlink()
    (packages / "torch.py").unlink()
    (packages / "torch-2.13.0+cpu.dist-info/INSTALLER").unlink()
    prepared.make()
    assert prepared.installed() == "2.13.0+cpu"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, r"Python 3.11 is needed, but \S+/python is missing. .*uv python install 3.11.* PYTHON="),
        (
            "echo Python 3.13",
            r"Python 3.11 is needed, but \S+/python is Python 3.13. .*uv python install 3.11.* PYTHON=",
        ),
        ("case $2 in *ensurepip*) exit 1 ;; esac; echo Python 3.11", r"\S+/python cannot make .* python3.11-venv"),
    ],
    ids=["missing", "another version", "without venv"],
)
def test_python_is_missing(machine: Machine, tmp_path: Path, script: str | None, message: str) -> None:
    python = tmp_path / "python"
    if script:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    machine.environment["PYTHON"] = str(python)
    assert re.search(message, machine.fail())


def test_too_little_space(machine: Machine) -> None:
    assert "Too little space: .venv needs 1000000 GB" in machine.fail(SPACE_GB="1000000")
