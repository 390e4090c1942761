"""The progress of a Spark step, from Spark's status tracker."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from pyspark import SparkStageInfo
from tqdm import tqdm

from lake.progress import watched
from spark_jobs.session import session


def watch(step: str) -> AbstractContextManager[None]:
    """Count the tasks of all stages so far. Later stages are unknown until they start."""
    tracker = session().sparkContext.statusTracker()
    seen: dict[int, SparkStageInfo] = {}

    def stages() -> Iterator[tuple[int, SparkStageInfo]]:
        # Finished stages are no longer active, so those seen before are asked for again.
        for stage in {*seen, *tracker.getActiveStageIds()}:
            info = tracker.getStageInfo(stage)
            if info is not None:
                yield stage, info

    def look(bar: tqdm) -> None:
        seen.update(stages())
        bar.total = sum(stage.numTasks for stage in seen.values())
        bar.update(sum(stage.numCompletedTasks for stage in seen.values()) - bar.n)

    return watched(step, None, "tasks", look)
