"""`python -m benchmarks.stream`, with a corpus of a few kilobytes."""

from pathlib import Path

import pytest

from benchmarks.stream import FIFTHS, by_fifth, measure, watched
from mixing.shards import ShardSettings
from mixing.tokenizer import TokenizerSettings


def test_sizes_are_told_by_fifth_of_the_time() -> None:
    seen = [(10.0, 5.0), (11.0, 7.4), (12.5, 3.0), (20.0, 9.0)]
    assert by_fifth(seen) == [7, 3, 0, 0, 9]


def test_a_block_of_no_time_is_watched_once() -> None:
    with watched() as seen:
        pass
    assert len(seen) == 1
    assert len(by_fifth(seen)) == FIFTHS


@pytest.mark.engine
def test_all_that_is_made_is_sharded(ray_cluster: None, tmp_path: Path) -> None:
    small = TokenizerSettings.model_validate({"train": {"vocab_size": 512, "sample_mb": 0.05}})
    found = measure(0.0004, small, 0.1, ShardSettings(tokens=100_000), 2, str(tmp_path))
    assert found["parts"] == 4
    assert found["shards"] == -(-found["tokens"] // 100_000)
    assert [one["seconds"] > 0 for one in found["passes"].values()] == [True, True]
    assert all(len(one["worker_mb_by_fifth"]) == FIFTHS for one in found["passes"].values())
