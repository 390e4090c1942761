"""Who writes a step's folder: one run at a time, by a lock that ends with its process, however that ends.

The lock is a file beside the folder on a local or mounted disk. Folders on object storage have none.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lake.dataset import Output
from lake.error import UserError

LOOKS = 0.2
"""Seconds between two looks whether a lock is free."""
AFTERMATH = 2.0
"""Seconds for which what a killed owner has started may still write; whoever ends it takes one (gap/orphans.py)."""
LONGEST_COMMAND = 200
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a disk says that knows no locks."""

_OWNED: set[str] = set()

Told = Callable[[str], None]
"""Hears who writes the folder, once for each run that does. It returns to wait, or raises not to."""


def refuse(line: str) -> None:
    """For a run that does not wait. Raises UserError."""
    raise UserError(f"{line}; run again when it has ended, or stop it")


@contextmanager
def owned(folder: Output, told: Told) -> Iterator[None]:
    """Own a folder while the block runs. `told` hears of a run that owns it before.

    Raises:
        UserError: `told` does not wait.
    """
    if not folder.is_local:
        yield
        return
    path = _file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, before = _locked(path), None
    while lock is None:
        if (owner := _owner(path)) != before:
            told(f"{folder.local().name}: {owner} writes it")
            before = owner
        time.sleep(LOOKS)
        lock = _locked(path)
    _OWNED.add(folder.root)
    try:
        with lock:
            if lock.tell():
                # Its last owner did not come to its end.
                time.sleep(AFTERMATH)
            lock.truncate(0)
            json.dump(_self(), lock)
            lock.flush()
            yield
            # Only its owner removes the file, so nobody locks one that has no name.
            path.unlink(missing_ok=True)
    finally:
        _OWNED.discard(folder.root)


def owns(folder: Output) -> bool:
    """Whether this process owns the folder."""
    return folder.root in _OWNED


def check_free(folder: Output) -> None:
    """Raises UserError where another run writes the folder."""
    path = _file(folder) if folder.is_local else None
    if path is not None and path.exists():
        with owned(folder, refuse):
            pass


def _file(folder: Output) -> Path:
    local = folder.local()
    return local.with_name(f".{local.name}.lock")


def _locked(path: Path) -> IO[str] | None:
    """The lock's file, locked; None if another process has it."""
    while True:
        lock = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        # Its owner removed it between the two looks.
        lock.close()


def _self() -> dict[str, str | int]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:LONGEST_COMMAND]
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return {"host": socket.gethostname(), "process": os.getpid(), "since": since, "command": command}


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['host']} ({owner['command']}, since {owner['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it begins or ends just now
        return "another run"
