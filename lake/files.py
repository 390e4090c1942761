"""Raw input files: found by pattern, identified by content."""

import hashlib
from pathlib import Path

from lake.error import UserError

WHOLE = 64 * 2**20
ENDS = 2**20


def find(patterns: list[str], root: str, key: str, command: str | None = None) -> list[Path]:
    """Files below `root` that match the patterns, sorted, each once.

    The message of an error names the config key `key` and the `command` that fetches the files, if any.

    Raises:
        UserError: a pattern is absolute, malformed or matches nothing.
    """
    files: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise UserError(f"{key}: {pattern} is absolute; write its path below {root}, or set data=/")
        try:
            matches = [path for path in Path(root).glob(pattern) if path.is_file()]
        except ValueError as error:
            raise UserError(f"{key}: {error}; write folder/*.ext or folder/**/*.ext") from None
        if not matches:
            advice = f"fetch it with {command}, or set data=" if command else "set data= to the folder that holds it"
            raise UserError(f"{key}: no file matches {Path(root, pattern)}; {advice}")
        files.update(matches)
    return sorted(files)


def digest(path: Path) -> str:
    """SHA-256 of the content. Of a file over 64 MiB, only size, time, first and last MiB are hashed, to save time."""
    size = path.stat().st_size
    if size <= WHOLE:
        return sha256(path)
    with path.open("rb") as stream:
        partial = hashlib.sha256(f"{size} {path.stat().st_mtime_ns}".encode())
        partial.update(stream.read(ENDS))
        stream.seek(-ENDS, 2)
        partial.update(stream.read())
        return partial.hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of the whole content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace(path: Path, data: bytes) -> None:
    """Write a file at once, so that a reader meets the old content or the new, even after a kill."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    temporary.replace(path)
