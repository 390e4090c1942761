"""How many engines a cluster has room for: one more would wait for ever."""

import pytest

from ray_jobs import engines


def nodes(*resources: dict[str, float]) -> list[dict[str, object]]:
    return [{"Alive": True, "Resources": each} for each in resources]


@pytest.mark.parametrize(
    ("resources", "tensor", "fit", "room"),
    [
        ([{"CPU": 2.0}], 1, 0, 1),
        ([{"CPU": 2.0}], 4, 0, 1),
        ([{"CPU": 8.0}, {"CPU": 8.0}, {"CPU": 2.0}], 1, 0, 2),
        ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 4.0}], 1, 8, 8),
        ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 4.0}], 4, 2, 2),
        # Of four GPUs an engine of three leaves one, which another machine cannot use.
        ([{"CPU": 8.0, "GPU": 4.0}] * 3, 3, 3, 3),
        # No machine has two GPUs.
        ([{"CPU": 8.0, "GPU": 1.0}] * 2, 2, 0, 2),
        ([{}], 1, 0, 1),
    ],
)
def test_engines_have_room_on_their_own_machine(
    monkeypatch: pytest.MonkeyPatch, resources: list[dict[str, float]], tensor: int, fit: int, room: int
) -> None:
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    monkeypatch.setattr(engines.ray, "nodes", lambda: [*nodes(*resources), gone])
    assert engines.on_gpus(tensor) == fit
    assert engines.room(tensor) == room
