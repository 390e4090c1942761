"""Fifty clients on loopback for a minute: each gets answers, or is told when to ask again."""

import asyncio
from pathlib import Path

import pytest

from tests.gap.serve.crowd import crowd
from tests.gap.serve.played import KEY
from tests.gap.serve.running import started, until

SECONDS = 60


@pytest.mark.timeout(1800)
def test_fifty_clients_get_answers_or_429s_for_a_minute(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        got = asyncio.run(crowd(server.url, KEY, "tiny", SECONDS))
        print(dict(got))
        assert got.keys() == {"answer", "429"}, got
        until(lambda: server.in_engine("running") == server.in_engine("waiting") == 0, 30)
