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

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def samples() -> str:
    return str(ROOT / "samples")


@pytest.fixture(scope="session")
def demo() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def sample_inputs(demo: dict[str, Any]) -> ReadSettings:
    """The demo's settings, but with loose papers in two parts."""
    for one in demo["read"]["inputs"]:
        if one["format"] == "jats":
            one["files_per_part"] = 7
        if one["format"] == "warc":
            one["site"] = str(ROOT / one["site"])
    return ReadSettings.model_validate(demo["read"])


@pytest.fixture(scope="session")
def sample_cleaning(demo: dict[str, Any]) -> CleanSettings:
    """The demo's settings, but with several parts a source."""
    return CleanSettings.model_validate(demo["clean"] | {"part_mb": 0.02})


@pytest.fixture(scope="session")
def planted(samples: str) -> dict[str, dict[str, str]]:
    """By `read` and `clean`: the reasons that sample records leave for, by document id."""
    order = list(Reason)
    read = set(order[: order.index(Reason.REPEATED_ID)])
    clean = set(order[order.index(Reason.REPEATED_ID) : order.index(Reason.EXACT_DUPLICATE)])
    found: dict[str, dict[str, str]] = {"read": {}, "clean": {}}
    for source, natives in json.loads(Path(samples, "expected.json").read_text(encoding="utf-8")).items():
        for native, reason in natives.items():
            # A full text says itself that it has no PubMed id, an abstract's metadata are joined later.
            said = source == "papers" and reason == Reason.NO_PUBMED_ID
            if reason in read or said:
                found["read"][document_id(source, native)] = reason
            elif reason in clean:
                found["clean"][document_id(source, native)] = reason
    return found
