"""Engines are started once a session; fast tests run first."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the project's root; see the README."""
    if not SHARED.is_dir():
        pytest.skip(reason="no ../shared/data beside the project")
    return SHARED


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """One embedded Spark session with two cores."""
    from spark_jobs.session import SparkSettings, start

    session = start(SparkSettings(master="local[2]", shuffle_partitions=2))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One embedded Ray cluster with two CPUs."""
    import ray

    from ray_jobs.cluster import RaySettings, start

    start(RaySettings(cpus=2))
    yield
    ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("engine") is not None)
