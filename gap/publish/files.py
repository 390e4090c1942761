"""A file of a repository, with the digests under which the Hub lists it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

AT_ONCE = 1 << 22


@dataclass(frozen=True)
class File:
    """`path` is its place in the repository, `content` its bytes or the local file that has them.

    The Hub lists a file in Git by `git_sha1`, the digest of Git's blob, and one in large file storage by `sha256`.
    """

    path: str
    content: bytes | Path
    size: int
    sha256: str
    git_sha1: str

    @classmethod
    def of(cls, path: str, content: bytes | str | Path) -> Self:
        data = content.encode("utf-8") if isinstance(content, str) else content
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\x00" % size, usedforsecurity=False)
        if isinstance(data, Path):
            with data.open("rb") as stream:
                while chunk := stream.read(AT_ONCE):
                    sha256.update(chunk)
                    git.update(chunk)
        else:
            sha256.update(data)
            git.update(data)
        return cls(path, data, size, sha256.hexdigest(), git.hexdigest())

    def at(self, place: Path) -> Self:
        """The same file, whose bytes are taken from a local file when they are needed."""
        return replace(self, content=place)
