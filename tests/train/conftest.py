"""Process groups for tests of training: of this process alone, and of four that stay alive."""

from collections.abc import Iterator

import pytest
import torch.distributed as dist

from tests.train.ranks import Ranks


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    pool = Ranks(4, tmp_path_factory.mktemp("meetings"))
    yield pool
    pool.close()
