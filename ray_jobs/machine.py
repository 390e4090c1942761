"""What Ray needs of this machine and of a running cluster, looked at before it starts."""

import os
import re
import resource
import socket
from pathlib import Path
from tempfile import TemporaryFile

from lake.error import UserError

LOCAL, AUTO = "local", "auto"
ADDRESS = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
DEADLINE = 10.0
"""Seconds within which a cluster must answer."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What a client of HTTP/2, as Ray's gRPC is, sends first: a fixed line and empty settings. The server sends its own."""
SETTINGS_FRAME = 4

FEWEST_FILES, MANY_FILES = 1024, 65_536
SOCKET = 107
"""Bytes of the longest path of a Unix socket."""
BELOW = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path of a socket of Ray below its folder for temporary files."""
SHARED = Path("/dev/shm")  # noqa: S108 - where Linux has it
SLOW_ABOVE = 10**10
"""Bytes of an object store that Ray refuses to keep outside of shared memory."""


def place_of(address: str) -> tuple[str, int] | None:
    """Host and port of HOST:PORT, where it is one."""
    if (match := ADDRESS.fullmatch(address)) is None or not 0 < int(match[2]) < 2**16:
        return None
    return match[1].strip("[]"), int(match[2])


def check_cluster(address: str, key: str) -> None:
    """Ask the cluster at an address whether it is there. `key` is the setting or variable that has the address.

    Raises:
        UserError: there is none, or what answers is no Ray cluster.
    """
    if address == AUTO:
        from ray._private.services import canonicalize_bootstrap_address

        try:
            address = str(canonicalize_bootstrap_address(AUTO))
        except ConnectionError:
            raise UserError(
                f"{key}: auto finds no running cluster; start one with `ray start --head`, or set ray.address=local"
            ) from None
    place = place_of(address)
    if place is None:
        raise UserError(f"{key}: {address!r} is none of local, auto and HOST:PORT; HOST:PORT is what ray start prints")
    advice = f"start the cluster, or {'unset it' if key.isupper() else 'set ray.address=local'} to run without"
    try:
        with socket.create_connection(place, DEADLINE) as connection:
            answer = _greeted(connection)
    except OSError as error:
        raise UserError(f"{key}: no Ray cluster answers at {address}: {error.strerror or error}; {advice}") from None
    if not answer:
        raise UserError(f"{key}: what answers at {address} is no Ray cluster; HOST:PORT is what ray start prints")


def _greeted(connection: socket.socket) -> bool:
    """Whether gRPC is spoken there. Encrypted, it is not asked."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return True
    connection.sendall(GREETING)
    head = b""
    while len(head) < 4 and (more := connection.recv(9)):
        head += more
    return len(head) >= 4 and head[3] == SETTINGS_FRAME


def check_machine(object_store_mb: int) -> None:
    """Check that an embedded cluster can start here. More file handles are taken where the limit allows.

    Raises:
        UserError: it cannot.
    """
    _check_files()
    _check_temporary()
    _check_shared(object_store_mb * 2**20)


def _check_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if most < FEWEST_FILES:
        raise UserError(
            f"ulimit -n: {most} open files are too few for Ray, which needs {FEWEST_FILES}; raise the limit"
        )
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _check_temporary() -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        if os.environ.get(name) == "":
            # Ray would take the folder where it is started.
            del os.environ[name]
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "/tmp")  # noqa: S108 - as Ray does
    folder = os.environ.get(name, name)
    most = SOCKET - len(BELOW)
    if (size := len(os.fsencode(folder))) > most:
        raise UserError(
            f"{name}: {folder} has {size} bytes, and with more than {most} the paths of Ray's sockets are too long; "
            "set it to a shorter path"
        )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"{name}: {folder} cannot be written: {error.strerror}; set TMPDIR to a writable folder"
        ) from None


def _check_shared(wanted: int) -> None:
    if not os.access(SHARED, os.W_OK):
        raise UserError(f"{SHARED}: it cannot be written, and Ray shares memory there; mount it writable")
    state = os.statvfs(SHARED)
    free = state.f_bsize * state.f_bavail
    if wanted > max(free, SLOW_ABOVE) and not os.environ.get("RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE"):
        raise UserError(
            f"ray.object_store_mb: {wanted // 2**20} MiB do not fit {SHARED}, which has {free // 2**20}; "
            f"set ray.object_store_mb={max(free, SLOW_ABOVE) // 2**20}, or enlarge {SHARED}"
        )
