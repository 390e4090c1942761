"""What engines need of a machine is told in one line, or set right, before they start."""

import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from lake.error import UserError
from ray_jobs import cluster
from ray_jobs import machine as ray_machine
from ray_jobs.cluster import RaySettings
from spark_jobs.machine import check_machine, find_java, started
from spark_jobs.session import SparkSettings, check

JAVA = """#!/bin/sh
echo '{said}' >&2
exit {code}
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RAY_ADDRESS", "RAY_JOB_ID", "RAY_TMPDIR", "JAVA_HOME", "SPARK_HOME", "PYSPARK_GATEWAY_PORT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    started.cache_clear()
    yield
    started.cache_clear()


# Ray's cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Any]:
    """A server on loopback that sends some bytes to whoever connects."""
    servers = []

    def serve(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(answer)
                if answer:
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield serve
    for server in servers:
        server.close()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("address", ["", " "])
def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster.address_of(RaySettings()) == "local"
    cluster.check(RaySettings())


def test_the_variable_goes_before_the_config_and_a_job_joins_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.address_of(RaySettings(address="10.0.0.1:6379")) == "10.0.0.1:6379"
    monkeypatch.setenv("RAY_JOB_ID", "raysubmit_1")
    assert cluster.address_of(RaySettings()) == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert cluster.address_of(RaySettings()) == "10.0.0.2:6379"


def test_a_dead_cluster_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=rf"^ray\.address: no Ray cluster answers at {address}: "):
        cluster.check(RaySettings(address=address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    started_at = time.monotonic()
    with pytest.raises(UserError, match=rf"^RAY_ADDRESS: no Ray cluster answers at {address}: .*unset it"):
        cluster.start(RaySettings())
    assert time.monotonic() - started_at < ray_machine.DEADLINE


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "127.0.0.1", "host:0", "h:99999"]
)
def test_an_address_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(ValueError, match=r"is none of local, auto and HOST:PORT"):
        RaySettings(address=address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=r"^RAY_ADDRESS: .* is none of local, auto and HOST:PORT"):
        cluster.check(RaySettings())


def test_a_server_that_is_not_rays_is_told(listener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_machine, "DEADLINE", 0.3)
    for answer, said in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Ray cluster"), (b"", "timed out")):
        with pytest.raises(UserError, match=said):
            cluster.check(RaySettings(address=listener(answer)))
    cluster.check(RaySettings(address=listener(b"\0\0\0\x04\0\0\0\0\0")))


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_ray_that_does_not_come_up_in_time_is_started_once_more(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tries: list[dict[str, Any]] = []

    def init(**settings: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tries.append(settings)
        if len(tries) <= failures:
            raise Exception("The current node timed out during startup.\nThis could happen")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    said = r"^ray: it does not start: The current node timed out during startup\. This could happen; look at .* load"
    with pytest.raises(UserError, match=said) if failures == cluster.TRIES else nullcontext():
        cluster.start(RaySettings())
    assert len(tries) == min(failures + 1, cluster.TRIES)
    assert tries[0] == tries[-1]
    assert signal.getsignal(signal.SIGTERM) == before, "Ray's handler would end the process with another exit code"


# Where Ray is embedded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_sockets_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    folder = tmp_path / ("x" * 100)
    monkeypatch.setenv(name, str(folder))
    with pytest.raises(UserError, match=rf"^{name}: .* bytes, and with more than \d+ the paths .* set it to a shorter"):
        cluster.check(RaySettings())
    assert not folder.exists()


def test_an_empty_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "")
    cluster.check(RaySettings())
    assert "TMPDIR" not in os.environ


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc/none")
    with pytest.raises(UserError, match=r"^TMPDIR: /proc/none cannot be written: "):
        cluster.check(RaySettings())


def test_shared_memory_that_cannot_be_written_or_is_too_small_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^ray\.object_store_mb: .* MiB do not fit /dev/shm, which has \d+; set "):
        cluster.check(RaySettings(object_store_mb=2**30))
    monkeypatch.setattr(ray_machine, "SHARED", tmp_path / "none")
    with pytest.raises(UserError, match=r"none: it cannot be written"):
        cluster.check(RaySettings())


@pytest.mark.parametrize(("soft", "hard", "right"), [(256, 4096, 4096), (256, 256, None)])
def test_file_handles_are_taken_up_to_the_limit(soft: int, hard: int, right: int | None) -> None:
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from lake.error import UserError\n"
        "from ray_jobs.machine import check_machine\n"
        "try: check_machine(100)\n"
        "except UserError as error: sys.exit(str(error))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= hard
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if right is None:
        assert re.fullmatch(
            r"ulimit -n: 256 open files are too few for Ray, which needs 1024; raise the limit\n", done.stderr
        )
    else:
        assert done.stdout == f"{right}\n"


# Spark's Java --------------------------------------------------------------------------------------------------------


def java(folder: Path, said: str, code: int = 0) -> str:
    """A JAVA_HOME whose java says this and exits so."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(JAVA.format(said=said, code=code))
    program.chmod(0o755)
    return str(folder)


def test_a_wrong_java_home_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for home, said in (
        ("/nowhere", "has no bin/java"),
        (java(tmp_path / "old", 'openjdk version "1.8.0_392"'), "has Java 8"),
        (java(tmp_path / "broken", "Error: could not create the machine", 1), "has Error: could not create"),
    ):
        monkeypatch.setenv("JAVA_HOME", home)
        with pytest.raises(UserError, match=rf"^JAVA_HOME: {home} {said}.*; set it to the folder of a Java 17"):
            check(SparkSettings())


def test_an_empty_java_home_is_none_and_an_old_java_on_the_path_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = java(tmp_path / "old", 'java version "11.0.2"')
    monkeypatch.setenv("PATH", f"{old}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("JAVA_HOME", "")
    find_java()
    assert Path(os.environ["JAVA_HOME"]).name.startswith("gap-java-")
    new = java(tmp_path / "new", 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("PATH", f"{new}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("JAVA_HOME")
    find_java()
    assert "JAVA_HOME" not in os.environ


def test_memory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^spark\.memory: 16t is more than this machine has, \d+m; set it to less"):
        check(SparkSettings(memory="16t"))
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(
        '#!/bin/sh\n[ $# = 2 ] && { echo "Could not reserve enough space"; exit 1; }\n'
        "echo 'openjdk version \"17.0.1\"'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(UserError, match=r"^spark\.memory: .* does not start with 1g: Could not reserve enough space;"):
        check(SparkSettings(memory="1g"))


def test_a_user_without_a_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match=r"^user \d+: it has no entry in /etc/passwd, .*; add one, or run as"):
        check(SparkSettings())


@pytest.mark.parametrize(("name", "value"), [("SPARK_HOME", "/nowhere"), ("PYSPARK_PYTHON", "/nowhere/python")])
def test_a_variable_of_spark_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{name}: .*{value}.*; unset it"):
        check(SparkSettings())


@pytest.mark.parametrize(
    ("variables", "taken"),
    [({"LC_ALL": "xx_YY.UTF-8"}, "C.UTF-8"), ({"LC_ALL": "POSIX"}, "C.UTF-8"), ({"LC_ALL": "C.UTF-8"}, "C.UTF-8")],
)
def test_java_gets_a_locale_of_utf8(variables: dict[str, str], taken: str) -> None:
    code = "import os; from spark_jobs import machine; machine._speak_utf8(); print(os.environ.get('LC_ALL'))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LC_")} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{taken}\n"


@pytest.mark.parametrize(
    "master", ["lokal", "local[0]", "local[]", "local[2", "spark://", "spark://host", "yarn-client"]
)
def test_a_master_that_spark_does_not_know_is_refused(master: str) -> None:
    with pytest.raises(ValueError, match="is none of local"):
        SparkSettings(master=master)


@pytest.mark.parametrize("master", ["local", "local[4]", "local[*]", "local[2,3]", "yarn", "spark://a:7077,b:7077"])
def test_a_master_that_spark_knows_is_taken(master: str) -> None:
    assert SparkSettings(master=master).master == master


def test_a_master_that_is_not_there_is_told_within_seconds() -> None:
    master = f"spark://127.0.0.1:{free_port()},127.0.0.1:99999"
    with pytest.raises(UserError, match=rf"^spark\.master: nobody answers at {master}: .*; start the master, or set "):
        check(SparkSettings(master=master))
    with socket.create_server(("127.0.0.1", 0)) as server:
        check(SparkSettings(master=f"spark://127.0.0.1:{free_port()},127.0.0.1:{server.getsockname()[1]}"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("spark.driver.memory", r"the key for it is spark\.memory, and of spark-submit --conf"),
        ("spark.sql.session.timeZone", "the steps rely on UTC; take it out"),
    ],
)
def test_an_option_that_is_not_for_the_user_is_refused(option: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"{option}: {said}"):
        SparkSettings(options={option: "x"})


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("spark.driver.cores=x", "Driver cores must be a positive number"),
        ("spark.local.dir=/proc/none", "Failed to create any local dir"),
    ],
)
@pytest.mark.engine
def test_a_jvm_that_ends_is_told_in_one_line(option: str, said: str) -> None:
    code = (
        "from spark_jobs.session import SparkSettings, start\n"
        "from lake.error import UserError\n"
        f"try: start(SparkSettings(master='local[1]', options=dict([{option!r}.split('=')])))\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.fullmatch(rf"spark: it does not start: .*{said}.*; look at the section spark\n", done.stdout), done
    assert done.stderr == ""


@pytest.mark.parametrize("memory", ["foo", "10m", "2", "2gb", "-1g", "99999999t", "1.5g", "0g"])
def test_memory_that_java_does_not_take_is_refused(memory: str) -> None:
    with pytest.raises(ValueError, match="is no size from 512m to 16t"):
        SparkSettings(memory=memory)


def test_a_machine_that_suits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    check_machine("1g")
    assert "JAVA_HOME" in os.environ or shutil.which("java")
