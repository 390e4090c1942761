"""The sample corpus, as configs/demo.yaml reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings
from lake.decision import Reason
from lake.document import document_id
from tests.reasons import CLEAN, READ

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def samples() -> str:
    return str(ROOT / "samples")


@pytest.fixture(scope="session")
def demo() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def sample_inputs(demo: dict[str, Any]) -> ReadSettings:
    """The settings of the demo, but with loose papers in two parts."""
    for raw_input in demo["read"]["inputs"]:
        if raw_input["format"] == "jats":
            raw_input["files_per_part"] = 7
        if raw_input["format"] == "warc":
            raw_input["site"] = str(ROOT / raw_input["site"])
    return ReadSettings.model_validate(demo["read"])


@pytest.fixture(scope="session")
def sample_cleaning(demo: dict[str, Any]) -> CleanSettings:
    """The settings of the demo, but with several parts a source."""
    return CleanSettings.model_validate(demo["clean"] | {"part_mb": 0.02})


@pytest.fixture(scope="session")
def planted(samples: str) -> dict[str, dict[str, str]]:
    """By step and document id, the reasons for which `read` and `clean` drop sample records."""
    by_step: dict[str, dict[str, str]] = {"read": {}, "clean": {}}
    expected = json.loads(Path(samples, "expected.json").read_text(encoding="utf-8"))
    del expected["instructions"]
    for source, natives in expected.items():
        for native, reason in natives.items():
            # A full text says itself that it has no PubMed id. The metadata of an abstract are joined later.
            at_join = source == "abstracts" and reason == Reason.NO_PUBMED_ID
            if reason in READ and not at_join:
                by_step["read"][document_id(source, native)] = reason
            elif reason in CLEAN:
                by_step["clean"][document_id(source, native)] = reason
    return by_step
