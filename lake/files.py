"""Raw input files: found by pattern, identified by content."""

import hashlib
from pathlib import Path

from lake.error import UserError

WHOLE = 64 * 2**20
ENDS = 2**20


def find(patterns: list[str], root: str, key: str, advice: str = "set data= to the folder that holds it") -> list[Path]:
    """Files that the patterns match below `root`, sorted, each once.

    Raises:
        UserError: a pattern is absolute, wrong or matches nothing; `key` is the config key to name in the message,
            `advice` what to do.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise UserError(f"{key}: {pattern} is absolute; give it as it stands below {root}, or set data=/")
        try:
            matches = [path for path in Path(root).glob(pattern) if path.is_file()]
        except ValueError as error:
            raise UserError(f"{key}: {error}; write folder/*.ext or folder/**/*.ext") from None
        if not matches:
            raise UserError(f"{key}: no file matches {Path(root, pattern)}; {advice}")
        found.update(matches)
    return sorted(found)


def digest(path: Path) -> str:
    """SHA-256 of the content; of a file over 64 MiB its size, time, first and last MiB, which is read in no time."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        partial = hashlib.sha256(f"{size} {path.stat().st_mtime_ns}".encode())
        partial.update(stream.read(ENDS))
        stream.seek(-ENDS, 2)
        partial.update(stream.read())
        return partial.hexdigest()
