"""The arithmetic of budgets, epochs and the mixture's table; the ready mixtures."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lake import bundled
from lake.error import UserError
from mixing.mixture import MIXTURES, Budget, MixSettings, Share, budgets, check_sources, copies, mixture_table


def mix(**sources: dict[str, float]) -> MixSettings:
    return MixSettings.model_validate({"sources": sources})


def taken(tokens: list[int], budget: int) -> np.ndarray:
    sizes = np.array(tokens, dtype=np.int64)
    return copies(sizes, np.cumsum(sizes) - sizes, Budget(int(sizes.sum()), budget, budget))


def test_replay_is_one_percent_of_the_whole() -> None:
    found = budgets(
        mix(papers={}, guidelines={}, replay={"ratio": 0.01}), {"papers": 900, "guidelines": 90, "replay": 99}
    )
    assert found["replay"] == Budget(available=99, wanted=10, tokens=10)
    assert found["papers"].tokens == 900
    assert sum(one.tokens for one in found.values()) == 1000


def test_a_budget_that_cannot_be_met_says_by_how_much() -> None:
    found = budgets(
        mix(papers={"tokens": 1000, "max_epochs": 4}, code={"tokens": 5000}, replay={"ratio": 0.5}),
        {"papers": 300, "code": 1200, "replay": 100},
    )
    assert (found["papers"].tokens, found["papers"].missing) == (1000, 0)
    assert (found["code"].tokens, found["code"].missing) == (1200, 3800)
    assert (found["replay"].tokens, found["replay"].missing) == (100, 2100)


def test_keep_is_a_share_of_the_source() -> None:
    assert budgets(mix(replay={"keep": 0.0004}), {"replay": 10**9})["replay"] == Budget(10**9, 400_000, 400_000)


def test_where_all_have_ratios_none_lacks_tokens() -> None:
    found = budgets(mix(a={"ratio": 0.75, "max_epochs": 2}, b={"ratio": 0.25}), {"a": 300, "b": 1000})
    assert (found["a"].tokens, found["b"].tokens) == (600, 200)
    assert not any(one.missing for one in found.values())


def test_a_source_without_documents_gives_nothing() -> None:
    found = budgets(mix(a={}, b={"tokens": 7}), {"a": 10})
    assert found["b"] == Budget(0, 7, 0)
    assert found["b"].missing == 7


def test_nearest_in_tokens() -> None:
    assert taken([10, 10, 10, 10], 24).tolist() == [1, 1, 0, 0]
    assert taken([10, 10, 10, 10], 26).tolist() == [1, 1, 1, 0]


def test_at_least_one_document() -> None:
    assert taken([1000, 10], 1).tolist() == [1, 0]
    assert taken([1000, 10], 0).tolist() == [0, 0]


def test_whole_epochs_and_the_rest() -> None:
    assert taken([10, 10, 10, 10], 100).tolist() == [3, 3, 2, 2]
    assert taken([10, 10], 40).tolist() == [2, 2]
    assert taken([10, 10], 41).tolist() == [2, 2]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 4000))
def test_no_other_stop_comes_nearer(tokens: list[int], budget: int) -> None:
    found = taken(tokens, budget)
    sizes = np.array(tokens)
    assert found.max() - found.min() <= 1
    assert (np.diff(found) <= 0).all(), "those taken are the first"
    whole = found.min() if found.min() == found.max() else found.max() - 1
    stops = [whole * sizes.sum() + sizes[:n].sum() for n in range(len(sizes) + 1)]
    best = min(abs(stop - budget) for stop in stops if stop)
    assert abs(int((found * sizes).sum()) - budget) == best


@pytest.mark.parametrize(
    "sources",
    [
        {"a": {"tokens": 5, "ratio": 0.1}},
        {"a": {"ratio": 0.5}, "b": {"ratio": 0.4}},
        {"a": {"ratio": 0.6}, "b": {"ratio": 0.4}, "c": {}},
        {"a": {"validation": 1}},
        {},
    ],
)
def test_wrong_mixtures_are_refused(sources: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValidationError):
        mix(**sources)


def test_a_source_without_entry_is_told() -> None:
    check_sources(mix(a={}, b={}), ["a"])
    with pytest.raises(UserError, match=r"mix\.sources: no entry for wiki"):
        check_sources(mix(a={}), ["a", "wiki"])


def test_the_table_of_the_paper() -> None:
    shares = {
        ("papers", "train"): Share(95, 900),
        ("papers", "validation"): Share(5, 40),
        ("replay", "train"): Share(3, 100),
    }
    papers, replay, total = mixture_table(shares, {"papers": Budget(900, 900, 900), "replay": Budget(50, 120, 100)})
    assert papers == {
        "source": "papers",
        "train_documents": 95,
        "validation_documents": 5,
        "train_tokens": 900,
        "validation_tokens": 40,
        "available_tokens": 900,
        "budget_tokens": 900,
        "missing_tokens": 0,
        "held_out": 0.05,
        "share": 0.9,
        "epochs": 1.0,
    }
    assert (replay["share"], replay["epochs"], replay["missing_tokens"], replay["held_out"]) == (0.1, 2.0, 20, 0.0)
    assert (total["source"], total["train_tokens"], total["validation_documents"], total["share"]) == (
        "total",
        1000,
        5,
        1,
    )


def test_an_upsampled_document_is_taken_with_all_its_copies() -> None:
    """Whole epochs and a rest of 130 tokens of 350, of documents in this order."""
    tokens, counts = np.array([100, 10, 40]), np.array([1, 3, 5])
    sizes = tokens * counts  # 100, 30, 200
    budget = Budget(330, 2 * 330 + 130, 2 * 330 + 130)
    assert (counts * copies(sizes, np.cumsum(sizes) - sizes, budget)).tolist() == [3, 9, 10]


def test_a_source_of_no_tokens_gives_nothing() -> None:
    found = budgets(mix(papers={}, code={"tokens": 0}, replay={"ratio": 0.5}), {"papers": 50, "code": 9, "replay": 99})
    assert found["code"] == Budget(9, 0, 0)
    assert found["replay"].tokens == 50
    assert copies(np.array([4, 5]), np.array([0, 4]), found["code"]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "gives", "replay", "code"),
    [
        ("gap-replay", {"guidelines": 0.05, "abstracts": 0.03, "papers": 0.03}, 0.01, 0),
        ("pmc", {"papers": 0.03}, None, 0),
        ("pmc-replay", {"papers": 0.03}, 0.01, 0),
        ("pmc-upsampled", {"papers": 0.03}, None, 0),
        ("pmc-replay-code", {"papers": 0.03}, 0.01, 10_000_000_000),
        ("pmc-replay-code-2b", {"papers": 0.03}, 0.01, 2_000_000_000),
    ],
)
def test_the_papers_mixtures_are_ready(name: str, gives: dict[str, float], replay: float | None, code: int) -> None:
    found = MixSettings.model_validate(name).sources
    assert set(found) == {"guidelines", "abstracts", "papers", "replay", "code"}, "each takes the corpus of any other"
    medical = {source: found[source] for source in ("guidelines", "abstracts", "papers")}
    assert {source: one.validation for source, one in medical.items() if one.tokens is None} == gives
    assert {one.tokens for source, one in medical.items() if source not in gives} <= {0}
    assert (found["replay"].ratio, found["replay"].validation) == (replay, 0)
    assert found["replay"].tokens == (None if replay else 0)
    assert found["code"].tokens == code
    assert [source for source, one in found.items() if one.upsample] == (["papers"] if name == "pmc-upsampled" else [])


def test_every_ready_mixture_is_known_by_its_name_and_one_of_ones_own_by_its_path(tmp_path: Path) -> None:
    assert len(bundled.names(MIXTURES)) == 6
    with pytest.raises(UserError, match=r"gap-reply: no such mixture; .*did you mean gap-replay"):
        MixSettings.model_validate("gap-reply")
    file = tmp_path / "mine.yaml"
    file.write_text("sources: {papers: {keep: 0.5}}\n", encoding="utf-8")
    assert MixSettings.model_validate(str(file)) == mix(papers={"keep": 0.5})
    file.write_text("sources: {papers: {keep: 2}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: sources\.papers\.keep"):
        MixSettings.model_validate(str(file))
