"""`python -m benchmarks.stream`, with a corpus of a few kilobytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.stream import FIFTHS, by_fifth, measure, watched, worker_sizes
from mixing.shards import ShardSettings
from mixing.tokenizer.build import TokenizerSettings
from tests.jobs.processes import ray_workers


def test_sizes_are_largest_by_fifth_of_the_time() -> None:
    seen = [(10.0, 5.0), (11.0, 7.4), (12.5, 3.0), (20.0, 9.0)]
    assert by_fifth(seen) == [7, 3, 0, 0, 9]


def test_a_block_of_no_time_is_watched_once() -> None:
    with watched() as seen:
        pass
    assert len(seen) == 1
    assert len(by_fifth(seen)) == FIFTHS


START = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"


def test_workers_of_other_runs_are_neither_measured_nor_killed(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ray::Ours", tmp_path / "ray::Theirs"
    for title in (ours, theirs):
        title.symlink_to(shutil.which("sleep") or "")
    # Its parent ends at once, so it is not below this process.
    other = psutil.Process(int(subprocess.check_output([sys.executable, "-c", START, theirs, "60"])))
    with subprocess.Popen([ours, "60"]) as process:
        try:
            assert other.name() == theirs.name
            assert ray_workers(theirs.name) == []
            assert [worker.pid for worker in ray_workers(ours.name)] == [process.pid]
            assert len(worker_sizes()) == 1
        finally:
            process.kill()
            other.kill()


@pytest.mark.engine
def test_the_whole_corpus_is_sharded(ray_cluster: None, tmp_path: Path) -> None:
    small = TokenizerSettings.model_validate({"train": {"vocab_size": 512, "sample_mb": 0.05}})
    figures = measure(0.0004, small, 0.1, ShardSettings(tokens=100_000), 2, str(tmp_path))
    assert figures["parts"] == 4
    assert figures["shards"] == -(-figures["tokens"] // 100_000)
    assert [row["seconds"] > 0 for row in figures["passes"].values()] == [True, True]
    for row in figures["passes"].values():
        assert len(row["worker_mb_by_fifth"]) == FIFTHS
        assert max(row["worker_mb_by_fifth"]) > 10
