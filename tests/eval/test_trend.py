"""Trends over simulated training runs: nulls of every kind of noise keep 5 %, and a planted rise is found."""

import math
from random import Random

import pytest

from eval.trend import Checkpoint, Trend, sentence, trend

QUESTIONS = 80
RUNS = 150
MOST = 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


def run(
    random: Random,
    gain: float = 0.0,
    checkpoints: int = 6,
    restless: float = 0.0,
    uneven: float = 0.0,
    seeds: int = 1,
    flips: float = 0.3,
    cluster: int = 1,
) -> Trend:
    """A run whose score rises by `gain`. Each question keeps its answer but for a share of `flips`.

    `restless` is the deviation of whole checkpoints, `uneven` that of the gains of questions.
    """
    hard = [random.random() for _ in range(QUESTIONS)]
    gains = [gain + random.gauss(0, uneven) for _ in range(QUESTIONS // cluster) for _ in range(cluster)]
    held = [random.random() for _ in range(QUESTIONS)]
    points = []
    for place in range(checkpoints):
        moved = random.gauss(0, restless)
        rounds = []
        for _ in range(seeds):
            answers = {}
            for n in range(QUESTIONS):
                chance = hard[n] + gains[n] * place / (checkpoints - 1) + moved
                drawn = random.random() if random.random() < flips else held[n]
                answers[str(n)] = (float(drawn < chance), 1.0)
            rounds.append(answers)
        points.append(Checkpoint(1000 * (1 + place), rounds))
    found = trend(points, {str(n): str(n // cluster) for n in range(QUESTIONS)})
    assert found is not None
    return found


@pytest.mark.parametrize(
    "noise",
    [
        {},
        {"flips": 1.0},
        {"checkpoints": 3},
        {"restless": 0.1},
        {"restless": 0.05, "checkpoints": 3},
        {"uneven": 0.5, "flips": 0.05, "cluster": 5},
        {"uneven": 0.5, "flips": 0.05, "restless": 0.05},
        {"seeds": 2},
    ],
    ids=lambda noise: ", ".join(f"{name} {value}" for name, value in noise.items()) or "plain",
)
def test_a_run_without_a_trend_shows_one_in_one_case_of_twenty_at_most(noise: dict[str, float]) -> None:
    random = Random(7)
    found = [run(random, **noise) for _ in range(RUNS)]  # type: ignore[arg-type]
    assert sum(one.p < 0.05 for one in found) / RUNS <= MOST
    assert all((one.p < 0.05) != (one.low <= 0 <= one.high) for one in found)


def test_a_planted_rise_is_found_and_measured() -> None:
    random = Random(8)
    found = [run(random, gain=0.2) for _ in range(50)]
    assert sum(one.p < 0.05 for one in found) > 35
    # At the ends of the scale a question has no room to rise.
    assert sum(one.low <= 0.18 <= one.high for one in found) > 40


def test_noise_is_split_by_where_it_comes_from() -> None:
    random = Random(9)
    calm, restless = run(random, seeds=3, flips=0.0), run(random, seeds=3, flips=0.0, restless=0.1)
    assert calm.noise.shots == restless.noise.shots == 0
    assert calm.noise.questions == pytest.approx(math.sqrt(0.25 / QUESTIONS), rel=0.15)
    assert calm.noise.checkpoints == 0
    assert restless.noise.checkpoints > 0
    shots = [run(random, seeds=3, flips=1.0).noise.shots or 0 for _ in range(20)]
    # The seeds differ by what single answers do: p (1 − p), which is 1/6 for p even from 0 to 1.
    assert sum(shots) / 20 == pytest.approx(math.sqrt(1 / 6 / QUESTIONS), rel=0.15)
    assert run(random).noise.shots is None


def test_f1_has_a_trend_as_well() -> None:
    random = Random(10)
    points = []
    for place in range(5):
        entities = {}
        for n in range(100):
            found = sum(random.random() < 0.3 + 0.1 * place for _ in range(1 + n % 4))
            entities[str(n)] = (2.0 * found, 2.0 * (1 + n % 4))
        points.append(Checkpoint(place, [entities]))
    found = trend(points, {str(n): str(n) for n in range(100)})
    assert found is not None
    assert found.low < 0.4 < found.high
    assert found.p < 0.01


def test_two_checkpoints_are_no_trend() -> None:
    points = [Checkpoint(tokens, [{"1": (1, 1), "2": (0, 1)}]) for tokens in (1, 2, 3)]
    clusters = {"1": "1", "2": "2"}
    assert trend(points[:2], clusters) is None
    assert trend(points, {"1": "1"}) is None
    assert trend([], {}) is None
    same = trend(points, clusters)
    assert same is not None
    assert (same.change, same.p) == (0, pytest.approx(1))
    assert same.high == 1, "two questions exclude nothing"


def test_the_sentence_says_what_the_data_allow() -> None:
    assert sentence(-0.021, 0.013, 0.4) == "No change is shown; one of more than 2.1 points is excluded."
    assert sentence(-0.4, 1.0, 0.4) == "No change is shown, and none is excluded."
    assert sentence(0.012, 0.07, 0.004) == "A rise of 1.2 to 7.0 points is shown."
    assert sentence(-0.07, -0.012, 0.004) == "A fall of 1.2 to 7.0 points is shown."
