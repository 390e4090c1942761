"""Ray exports the numbers of a training step; W&B is asked for only where it is installed."""

import re
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import ray

from benchmarks.steps import stand_in
from lake.error import UserError
from lake.step import Step
from ray_jobs.pretrain import PRETRAIN, Gauges, check
from tests.jobs.test_pretrain import recipe

PATIENCE = 60
"""Seconds. Ray exports what is new every ten."""


def exported(run: str) -> dict[str, float]:
    """The values of a run's gauges by name, as Prometheus reads them from this node."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urlopen(url) as page:
        text = page.read().decode()
    lines = re.findall(r"^ray_(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, tags, value in lines if f'run="{run}"' in tags}


@pytest.mark.engine
def test_the_numbers_of_a_step_are_exported(ray_cluster: None) -> None:
    observe = Gauges("pretrain-1234")
    observe({"step": 1, "loss": 9.0})
    observe({"step": 2, "loss": 2.5, "phases": {"data": 0.25}, "mfu": None, "documents": ["a"]})
    expected = {"gap_train_step": 2, "gap_train_loss": 2.5, "gap_train_phases_data": 0.25}
    end = time.monotonic() + PATIENCE
    while (found := exported("pretrain-1234")) != expected and time.monotonic() < end:
        time.sleep(1)
    assert found == expected


def test_wandb_that_is_not_installed_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.pretrain.find_spec", lambda name: None)
    inputs = {"shards": stand_in("shard", tmp_path)}
    step = Step("pretrain", PRETRAIN, recipe(wandb="medicine"), str(tmp_path), inputs, seed=1)
    with pytest.raises(UserError, match=r"pretrain\.wandb: wandb is not installed"):
        check(step)
