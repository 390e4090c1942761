"""Progress of a Spark step, asked of Spark while it works."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from pyspark import SparkStageInfo
from tqdm import tqdm

from lake.progress import watched
from spark_jobs.session import session


def watch(step: str) -> AbstractContextManager[None]:
    """Counts the tasks of all stages so far; a step's later stages are not known before they start."""
    tracker = session().sparkContext.statusTracker()
    seen: dict[int, SparkStageInfo] = {}

    def stages() -> Iterator[tuple[int, SparkStageInfo]]:
        # A stage that has ended is no longer active, so what was seen is asked for again.
        for stage in {*seen, *tracker.getActiveStageIds()}:
            info = tracker.getStageInfo(stage)
            if info is not None:
                yield stage, info

    def look(bar: tqdm) -> None:
        seen.update(stages())
        bar.total = sum(one.numTasks for one in seen.values())
        bar.update(sum(one.numCompletedTasks for one in seen.values()) - bar.n)

    return watched(step, None, "tasks", look)
