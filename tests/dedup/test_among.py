"""The pairs that go are those that a comparison of all with all finds."""

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.among import Duplicate, duplicates, sketch
from dedup.cluster import Likeness
from dedup.settings import DedupSettings

SETTINGS = DedupSettings(threshold=0.7, ngram=2)
WORDS = [f"word{n}" for n in range(300)]

texts = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(0, 2)).map(
        # One of five texts, of which a word is another, and the layout is another.
        lambda made: (" ", "\n", ", ")[made[2]].join(
            f"other{made[1]}" if n == made[1] else word
            for n, word in enumerate(WORDS[made[0] * 30 : made[0] * 30 + 30])
        )
    ),
    min_size=1,
    max_size=30,
)


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(pairwise(words))


def compared(said: list[str], subjects: list[str]) -> dict[int, int]:
    """Each text that goes with the one that stays, all compared with all."""
    words = [re.findall(r"\w+", text.lower()) for text in said]
    first: dict[str, int] = {}
    copies = {}
    for place, own in enumerate(words):
        if (survivor := first.setdefault(" ".join(own), place)) != place:
            copies[place] = survivor
    gone: dict[int, int] = {}
    for place, text in enumerate(said):
        if place in copies or place in gone:
            continue
        for other in range(place + 1, len(said)):
            left, right = grams(text), grams(said[other])
            alike = len(left & right) / len(left | right) >= SETTINGS.threshold
            if alike and other not in copies and other not in gone and subjects[place] != subjects[other]:
                gone[other] = place
    return gone | {place: gone.get(survivor, survivor) for place, survivor in copies.items()}


@given(texts, st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_all_pairs_are_found_and_the_first_stays(said: list[str], each: int) -> None:
    subjects = [str(place // each) for place in range(len(said))]
    found = duplicates(sketch(pa.array(said), SETTINGS), subjects, SETTINGS)
    assert {place: one.survivor for place, one in found.items()} == compared(said, subjects)


def test_a_crowd_is_compared_with_those_that_stay() -> None:
    random = np.random.default_rng(3)
    said = [" ".join([*WORDS[:100], f"end{number}"]) for number in random.integers(0, 10**6, 300)]
    crowded = SETTINGS.model_copy(update={"bucket_limit": 4})
    found = duplicates(sketch(pa.array(said), crowded), list(map(str, range(300))), crowded)
    assert sorted(found) == list(range(1, 300))
    assert {one.survivor for one in found.values()} == {0}
    assert found[1] == Duplicate(0, Likeness.NEAR, pytest.approx(99 / 101))


def test_no_text_is_no_duplicate() -> None:
    assert duplicates(sketch(pa.array([], pa.string()), SETTINGS), [], SETTINGS) == {}
