"""The sample corpus, as configs/demo.yaml reads it."""

from pathlib import Path

import pytest
import yaml

from ingest.inputs import ReadSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def samples() -> str:
    return str(ROOT / "samples")


@pytest.fixture(scope="session")
def sample_inputs() -> ReadSettings:
    """The demo's settings, but with papers in three parts."""
    settings = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))["read"]
    for one in settings["inputs"]:
        if one["format"] == "jats":
            one["files_per_part"] = 7
    return ReadSettings.model_validate(settings)
