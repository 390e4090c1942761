"""Bands follow from threshold and recall."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.bands import Bands, choose
from dedup.settings import DedupSettings


@given(st.floats(0.3, 1), st.floats(0.5, 0.9999), st.integers(64, 512))
def test_the_recall_is_reached_with_the_most_rows_that_the_slots_allow(
    threshold: float, recall: float, slots: int
) -> None:
    cut = choose(threshold, recall, slots)
    assert cut.slots <= slots
    assert cut.recall(threshold) >= recall
    steeper = Bands(slots // (cut.rows + 1), cut.rows + 1)
    assert steeper.bands == 0 or steeper.recall(threshold) < recall


def test_rows_of_which_hardly_any_agree_are_no_cut() -> None:
    assert choose(0.5, 0.999, 4096) == choose(0.5, 0.999, 4095)
    assert choose(0.01, 0.999, 4096).rows == 1


def test_the_curve() -> None:
    cut = choose(0.8, 0.999, 128)
    assert (cut.bands, cut.rows) == (18, 5)
    assert cut.recall(0.8) == pytest.approx(1 - (1 - 0.8**5) ** 18)
    assert (cut.recall(0), cut.recall(1)) == (0, 1)
    values = list(cut.curve().values())
    assert values == sorted(values)
    assert len(values) == 20
    assert np.isclose(cut.curve()["0.80"], cut.recall(0.8), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.1, "slots": 16}, "recall 0.999 at threshold 0.1 needs at least 66 slots, not 16"),
        ({"threshold": 1.2}, "less than or equal to 1"),
        ({"recall": 1}, "less than 1"),
        ({"policy": "chain"}, "star"),
        ({"prefer": ["papers", "papers"]}, "names a source twice"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DedupSettings.model_validate(wrong)
