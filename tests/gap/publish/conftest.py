"""The played Hub, a client for it, and models to publish."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi

from gap.publish.upload import Hub
from tests.gap.publish.played_hub import TOKEN, PlayedHub
from tests.gap.publish.small_lake import SmallLake, make_models


@pytest.fixture
def played() -> Iterator[PlayedHub]:
    hub = PlayedHub()
    yield hub
    hub.close()


@pytest.fixture
def hub(played: PlayedHub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A client of the played Hub that does not wait between two tries."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return Hub(HfApi(endpoint=played.url), wait=lambda _: None)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return SmallLake(tmp_path / "lake")
