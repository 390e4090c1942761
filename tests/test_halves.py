"""Questions are halved by their ids: every copy of a file gives the same two halves."""

import gzip
import json
from pathlib import Path

from samples.halves import main


def test_a_question_is_in_one_half_whatever_is_beside_it(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"q{number}", "cop": 1}) + "\n" for number in range(200)]
    (plain := tmp_path / "all.jsonl").write_text("".join(lines))
    (packed := tmp_path / "some.jsonl.gz").write_bytes(gzip.compress("".join(lines[:50]).encode()))
    halves = []
    for number, file in enumerate((plain, packed)):
        sides = [tmp_path / str(number) / side for side in ("learn.jsonl.gz", "ask.jsonl.gz")]
        main([str(file), *map(str, sides)])
        halves.append([gzip.decompress(side.read_bytes()).decode().splitlines(keepends=True) for side in sides])
    (learn, ask), some = halves
    assert sorted(learn + ask) == sorted(lines)
    assert 70 < len(learn) < 130
    assert some == [[line for line in side if line in lines[:50]] for side in (learn, ask)]
