"""Halves a file of questions, one to learn from and one to ask, where the authors keep the answers of their test split.

Usage: python -m samples.halves FILE LEARN ASK. FILE has JSON lines with an `id`, gzip in `.gz`. LEARN and ASK are
written as gzip. A question's half follows from the hash of its id, so it is the same in every copy of the file.
"""

import gzip
import json
import sys
from pathlib import Path

from mixing.split import stable_hash, within
from samples.packing import gzipped


def halves(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The lines to learn from and those to ask, each in the order of the file."""
    learned = within(stable_hash((json.loads(line)["id"] for line in lines), "halves"), 0.5)
    sides: tuple[list[bytes], list[bytes]] = [], []
    for line, learn in zip(lines, learned, strict=True):
        sides[0 if learn else 1].append(line)
    return sides


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        sys.exit(__doc__)
    given, *targets = map(Path, arguments)
    raw = given.read_bytes()
    lines = (gzip.decompress(raw) if given.suffix == ".gz" else raw).splitlines(keepends=True)
    for target, side in zip(targets, halves(lines), strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzipped(b"".join(side)))
        print(f"{target}: {len(side)} questions")


if __name__ == "__main__":
    main(sys.argv[1:])
