"""A step through spark-submit: its settings hold, and what is done is not done again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lake.step import Manifest
from spark_jobs.machine import find_java

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DEMO = "configs/demo.yaml"


def submit(events: Path, *words: str) -> subprocess.CompletedProcess[str]:
    find_java()
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.driver.host": "localhost",
        "spark.sql.shuffle.partitions": "3",
        "spark.master": "local[1]",
        "spark.driver.memory": "900m",
        # As on a cluster of HDFS, where a bare path would not be one of the shared disk.
        "spark.hadoop.fs.defaultFS": "hdfs://127.0.0.1:9",
    }
    options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    return subprocess.run(
        [str(BIN / "spark-submit"), *options, "gap/submit.py", *words],
        cwd=ROOT,
        env=os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which mix, which needs all Spark steps, was submitted once: `lake`, and Spark's `events`."""
    folder = tmp_path_factory.mktemp("submit")
    (folder / "events").mkdir()
    done = submit(folder / "events", DEMO, "mix", f"lake={folder / 'lake'}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "All done" in done.stdout
    return folder


def manifests(folder: Path) -> dict[str, Manifest]:
    files = (folder / "lake").glob("*/manifest.json")
    done = [Manifest.model_validate_json(file.read_bytes()) for file in files]
    return {manifest.step: manifest for manifest in done}


def test_the_steps_up_to_the_submitted_one_are_done(folder: Path) -> None:
    done = manifests(folder)
    assert done.keys() == {"read", "clean", "tokenizer", "dedup", "decontaminate", "mix"}
    assert done["dedup"].total.dropped.keys() >= {"exact_duplicate", "id_duplicate", "near_duplicate"}
    assert done["decontaminate"].total.dropped.keys() == {"contaminated"}
    assert done["mix"].total.entered == done["decontaminate"].total.kept


def test_the_settings_are_those_of_spark_submit_and_the_rest_ours(folder: Path) -> None:
    (log,) = (folder / "events").iterdir()
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    (held,) = [event["Spark Properties"] for event in events if event["Event"] == "SparkListenerEnvironmentUpdate"]
    assert (held["spark.master"], held["spark.driver.memory"]) == ("local[1]", "900m")
    assert (held["spark.driver.host"], held["spark.sql.shuffle.partitions"]) == ("localhost", "3")
    assert held["spark.sql.session.timeZone"] == "UTC"
    assert held["spark.app.name"] == "gap-replay"


@pytest.mark.parametrize(("step", "before"), [("clean", 2), ("dedup", 3), ("decontaminate", 4), ("mix", 6)])
def test_each_step_is_submitted_and_what_is_done_is_not_done_again(step: str, before: int, folder: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in (folder / "lake").rglob("*")}
    done = submit(folder / "events", DEMO, step, f"lake={folder / 'lake'}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.count("(done before)") == before
    assert times == {path: path.stat().st_mtime_ns for path in (folder / "lake").rglob("*")}


def test_wrong_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = submit(tmp_path, DEMO, "dedup", "dedup.treshold=0.7")
    assert done.returncode == 2, done.stdout
    # spark-submit hands on what Python says on both streams as its output, and Java may add notices of its own.
    assert "Traceback" not in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("gap: "))
    assert "dedup.treshold: unknown key; did you mean threshold?" in line
