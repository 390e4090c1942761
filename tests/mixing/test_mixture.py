"""The arithmetic of budgets, epochs and the mixture's table; the ready mixtures."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks import table1
from lake import bundled
from lake.config import Settings, load
from lake.error import UserError
from mixing.mixture import (
    MIXTURES,
    Amount,
    Budget,
    MixSettings,
    budgets,
    check_sources,
    copies,
    forecast,
    mixture_table,
)
from mixing.split import TRAIN, VALIDATION, in_validation, stable_hash


def mix(**sources: dict[str, float]) -> MixSettings:
    return MixSettings.model_validate({"sources": sources})


def taken(tokens: list[int], budget: int) -> np.ndarray:
    sizes = np.array(tokens, dtype=np.int64)
    return copies(sizes, np.cumsum(sizes) - sizes, Budget(int(sizes.sum()), budget, budget))


def test_replay_is_one_percent_of_the_whole() -> None:
    planned = budgets(
        mix(papers={}, guidelines={}, replay={"ratio": 0.01}), {"papers": 900, "guidelines": 90, "replay": 99}
    )
    assert planned["replay"] == Budget(available=99, requested=10, tokens=10)
    assert planned["papers"].tokens == 900
    assert sum(budget.tokens for budget in planned.values()) == 1000


def test_a_budget_that_cannot_be_met_says_by_how_much() -> None:
    planned = budgets(
        mix(papers={"tokens": 1000, "max_epochs": 4}, code={"tokens": 5000}, replay={"ratio": 0.5}),
        {"papers": 300, "code": 1200, "replay": 100},
    )
    assert (planned["papers"].tokens, planned["papers"].missing) == (1000, 0)
    assert (planned["code"].tokens, planned["code"].missing) == (1200, 3800)
    assert (planned["replay"].tokens, planned["replay"].missing) == (100, 2100)


def test_epochs_give_all_their_tokens() -> None:
    assert 35.12 * 50 < 1756, "floats do not"
    assert budgets(mix(a={"tokens": 1756, "max_epochs": 35.12}), {"a": 50})["a"] == Budget(50, 1756, 1756)


def test_keep_is_a_share_of_the_source() -> None:
    assert budgets(mix(replay={"keep": 0.0004}), {"replay": 10**9})["replay"] == Budget(10**9, 400_000, 400_000)


def test_where_all_have_ratios_none_lacks_tokens() -> None:
    planned = budgets(mix(a={"ratio": 0.75, "max_epochs": 2}, b={"ratio": 0.25}), {"a": 300, "b": 1000})
    assert (planned["a"].tokens, planned["b"].tokens) == (600, 200)
    assert not any(budget.missing for budget in planned.values())


def test_where_all_have_ratios_an_empty_source_empties_no_other() -> None:
    planned = budgets(mix(a={"ratio": 0.75}, b={"ratio": 0.25}), {"a": 300, "b": 0})
    assert (planned["a"].tokens, planned["b"].tokens, planned["b"].missing) == (300, 0, 100)


def test_sources_left_out_have_no_part_in_ratios() -> None:
    planned = budgets(mix(a={"ratio": 0.75}, b={"ratio": 0.25}, c={"tokens": 0}), {"a": 300, "b": 1000, "c": 50})
    assert {source: budget.tokens for source, budget in planned.items()} == {"a": 300, "b": 100, "c": 0}
    with pytest.raises(ValidationError, match=r"add up to 1, not 0\.5"):
        mix(a={"ratio": 0.5}, b={"tokens": 0})
    nothing = budgets(mix(a={"tokens": 0}, b={"tokens": 0}), {"a": 300, "b": 1000})
    assert {(budget.requested, budget.tokens) for budget in nothing.values()} == {(0, 0)}


def test_a_source_without_documents_gives_nothing() -> None:
    planned = budgets(mix(a={}, b={"tokens": 7}), {"a": 10})
    assert planned["b"] == Budget(0, 7, 0)
    assert planned["b"].missing == 7


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
    repeats = taken(tokens, budget)
    sizes = np.array(tokens)
    assert repeats.max() - repeats.min() <= 1
    assert (np.diff(repeats) <= 0).all(), "the first documents are taken"
    whole = repeats.min() if repeats.min() == repeats.max() else repeats.max() - 1
    stops = [whole * sizes.sum() + sizes[:n].sum() for n in range(len(sizes) + 1)]
    best = min(abs(stop - budget) for stop in stops if stop)
    assert abs(int((repeats * sizes).sum()) - budget) == best


@pytest.mark.parametrize(
    "sources",
    [
        {"a": {"tokens": 5, "ratio": 0.1}},
        {"a": {"ratio": 0.5}, "b": {"ratio": 0.4}},
        {"a": {"ratio": 0.6}, "b": {"ratio": 0.4}, "c": {}},
        {"a": {"validation": 1}},
        {"a": {"max_epochs": float("inf")}},
        {},
    ],
)
def test_wrong_mixtures_are_refused(sources: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValidationError):
        mix(**sources)


def test_a_source_without_entry_is_an_error() -> None:
    check_sources(mix(a={}, b={}), ["a"])
    with pytest.raises(UserError, match=r"mix\.sources: no entry for wiki"):
        check_sources(mix(a={}), ["a", "wiki"])


def test_the_table_of_the_paper() -> None:
    amounts = {
        ("papers", "train"): Amount(95, 900),
        ("papers", "validation"): Amount(5, 40),
        ("replay", "train"): Amount(3, 100),
    }
    papers, replay, total = mixture_table(amounts, {"papers": Budget(900, 900, 900), "replay": Budget(50, 120, 100)})
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
    planned = budgets(
        mix(papers={}, code={"tokens": 0}, replay={"ratio": 0.5}), {"papers": 50, "code": 9, "replay": 99}
    )
    assert planned["code"] == Budget(9, 0, 0)
    assert planned["replay"].tokens == 50
    assert copies(np.array([4, 5]), np.array([0, 4]), planned["code"]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "gives", "replay", "code"),
    [
        ("gap-replay", {"guidelines": 0.05, "abstracts": 0.03, "papers": 0.03}, 0.009, 0),
        ("pmc", {"papers": 0.03}, None, 0),
        ("pmc-replay", {"papers": 0.03}, 0.01, 0),
        ("pmc-upsampled", {"papers": 0.03}, None, 0),
        ("pmc-replay-code", {"papers": 0.03}, 0.01, 10_000_000_000),
        ("pmc-replay-code-2b", {"papers": 0.03}, 0.01, 2_000_000_000),
    ],
)
def test_the_papers_mixtures_are_ready(name: str, gives: dict[str, float], replay: float | None, code: int) -> None:
    sources = MixSettings.model_validate(name).sources
    assert set(sources) == {"guidelines", "abstracts", "papers", "replay", "code"}, (
        "every mixture works with the corpus of every other"
    )
    medical = {source: sources[source] for source in ("guidelines", "abstracts", "papers")}
    assert {name: source.validation for name, source in medical.items() if source.tokens is None} == gives
    assert {source.tokens for name, source in medical.items() if name not in gives} <= {0}
    assert (sources["replay"].ratio, sources["replay"].validation) == (replay, 0)
    assert sources["replay"].tokens == (None if replay else 0)
    assert sources["code"].tokens == code
    assert [name for name, source in sources.items() if source.upsample] == (
        ["papers"] if name == "pmc-upsampled" else []
    )


def test_a_ready_mixture_has_a_name_and_any_other_a_path(tmp_path: Path) -> None:
    assert len(bundled.names(MIXTURES)) == 6
    with pytest.raises(ValidationError, match=r"gap-reply: no such mixture; .*did you mean gap-replay"):
        MixSettings.model_validate("gap-reply")
    file = tmp_path / "mine.yaml"
    file.write_text("sources: {papers: {keep: 0.5}}\n", encoding="utf-8")
    assert MixSettings.model_validate(str(file)) == mix(papers={"keep": 0.5})
    file.write_text("sources: {papers: {keep: 2}}\n", encoding="utf-8")
    with pytest.raises(ValidationError, match=r"mine\.yaml: sources\.papers\.keep"):
        MixSettings.model_validate(str(file))


def test_a_mixture_may_name_another_but_not_itself(tmp_path: Path) -> None:
    first, other = tmp_path / "mine.yaml", tmp_path / "other.yaml"
    first.write_text(f"{{mixture: {other}, sources: {{papers: {{keep: 0.5}}}}}}\n", encoding="utf-8")
    other.write_text("mixture: pmc\n", encoding="utf-8")
    sources = MixSettings.model_validate(str(first)).sources
    assert (sources["papers"].keep, sources["papers"].validation, sources["code"].tokens) == (0.5, 0.03, 0)
    for file in (first, other):
        other.write_text(f"mixture: {file}\n", encoding="utf-8")
        with pytest.raises(ValidationError, match=f"{file}: mixture: it names itself"):
            MixSettings.model_validate(str(first))
    other.write_text("mixture: pmc\n", encoding="utf-8")
    assert MixSettings.model_validate(str(first)).sources == sources, "a failed reading leaves no state"


class Whole(Settings):
    """A config with a mixture."""

    mix: MixSettings


@pytest.fixture
def named(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("mix: gap-replay\n", encoding="utf-8")
    return file


def test_keys_override_a_ready_mixture(named: Path) -> None:
    ready = MixSettings.model_validate("gap-replay")
    ratio = {"mixture": "gap-replay", "sources": {"replay": {"ratio": 0.02}}}
    settings = MixSettings.model_validate(ratio)
    assert settings.sources["replay"].ratio == 0.02
    assert settings.sources | {"replay": ready.sources["replay"]} == ready.sources
    assert load(named, ["mix.sources.replay.ratio=0.02"], Whole).mix == settings
    assert load(named, ["mix=pmc", "mix=gap-replay", "mix.sources.replay.ratio=0.02"], Whole).mix == settings
    assert load(named, [], Whole).mix == MixSettings.model_validate({"mixture": "gap-replay"}) == ready


def test_a_budget_replaces_that_of_the_ready_mixture(named: Path) -> None:
    sources = load(named, ["mix.sources.replay.tokens=5", "mix.sources.papers.max_epochs=2"], Whole).mix.sources
    assert (sources["replay"].tokens, sources["replay"].ratio) == (5, None)
    assert (sources["papers"].max_epochs, sources["papers"].validation) == (2, 0.03)
    more = load(named, ["mix.sources.wiki.keep=0.5"], Whole).mix.sources
    assert (more["wiki"].keep, more["replay"].ratio) == (0.5, 0.009)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mix.sources.replay.ration=1", "mix.sources.replay.ration: unknown key; did you mean ratio"),
        ("mix.sourcse.replay.ratio=0.1", "mix.sourcse: unknown key; did you mean sources"),
        ("mix.sources.replay=0.1", "mix.sources.replay: Input should be a valid dictionary"),
        ("mix.sources=[a]", "mix.sources: Input should be a valid dictionary"),
        ("mix.mixture=gap-reply", "gap-reply: no such mixture; .*did you mean gap-replay"),
        ("mix.mixture=5", "mix: mixture is a mixture's name or the path of a YAML file, not 5"),
    ],
)
def test_wrong_keys_beside_a_ready_mixture_are_errors(named: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(named, [override], Whole)


def test_table_1_is_forecast_from_its_sums() -> None:
    held = {source: Amount(table1.DOCUMENTS[source], round(table1.TOKENS[source])) for source in table1.DOCUMENTS}
    *rows, total = forecast(MixSettings.model_validate("gap-replay"), held)
    table = {row["source"]: row for row in rows}
    assert {source: f"{table[source]['train_tokens']:.3g}" for source in held} == {
        source: f"{tokens:.3g}" for source, tokens in table1.TRAIN_TOKENS.items()
    }
    assert table["guidelines"]["train_documents"] == 41_120
    assert table["papers"]["validation_tokens"] == 1_257_900_000
    assert (table["abstracts"]["validation_documents"], table["replay"]["validation_documents"]) == (485_610, 0)
    assert table["replay"]["train_tokens"] == pytest.approx(0.009 * total["train_tokens"], abs=1)
    # The share of documents taken is the share of tokens.
    assert (
        table["replay"]["train_documents"] == round(494_000 * table["replay"]["train_tokens"] / 420_200_000) < 494_000
    )
    assert f"{total['train_tokens']:.3g}" == f"{46.7e9:.3g}"
    assert total["missing_tokens"] == 0


def test_a_forecast_repeats_documents_and_counts_missing_tokens() -> None:
    settings = mix(papers={"validation": 0.1, "tokens": 250, "max_epochs": 2}, code={"tokens": 7}, web={"tokens": 0})
    table = {row["source"]: row for row in forecast(settings, {"papers": Amount(10, 100), "web": Amount(4, 40)})}
    assert (table["papers"]["train_documents"], table["papers"]["train_tokens"]) == (9, 180)
    assert (table["papers"]["epochs"], table["papers"]["missing_tokens"]) == (2, 70)
    assert (table["code"]["missing_tokens"], table["code"]["train_documents"]) == (7, 0)
    assert table["web"]["train_documents"] == table["web"]["train_tokens"] == 0
    with pytest.raises(UserError, match="no entry for news"):
        forecast(settings, {"news": Amount(1, 1)})


def realised(settings: MixSettings) -> dict[str, dict[str, float]]:
    """The rows of the corpus's mixture table, with split and copies as the step mix decides them."""
    train: dict[str, np.ndarray] = {}
    amounts: dict[tuple[str, str], Amount] = {}
    for source, documents in table1.corpus().items():
        held = in_validation(documents.ids, settings.sources[source].validation, table1.SEED)
        order = np.argsort(stable_hash(documents.ids, f"mix:{table1.SEED}"))
        train[source] = documents.tokens[order][~held[order]]
        amounts[source, VALIDATION] = Amount(int(held.sum()), int(documents.tokens[held].sum()))
    planned = budgets(settings, {source: int(tokens.sum()) for source, tokens in train.items()})
    planned = {source: planned[source] for source in train}
    for source, tokens in train.items():
        repeats = copies(tokens, np.cumsum(tokens) - tokens, planned[source])
        amounts[source, TRAIN] = Amount(int((repeats > 0).sum()), int((repeats * tokens).sum()))
    return {row["source"]: row for row in mixture_table(amounts, planned)}


def test_a_thousandth_of_table_1_has_its_shares() -> None:
    """Within 0.1 % of the whole mixture, because chance holds documents out."""
    table = realised(table1.GAP_REPLAY)
    assert sum(len(documents.ids) for documents in table1.corpus().values()) == 21_766
    for source, share in table1.SHARES.items():
        assert table[source]["share"] == pytest.approx(share, abs=0.001), source
    assert table["abstracts"]["held_out"] == pytest.approx(0.03, abs=0.004)
    assert table["papers"]["held_out"] == pytest.approx(0.03, abs=0.007)
    assert table["replay"]["held_out"] == 0
    assert table["total"]["train_tokens"] == pytest.approx(46.7e6, rel=0.005)
    assert table["total"]["train_documents"] == pytest.approx(21_100, abs=100)
    assert table["total"]["missing_tokens"] == 0


def test_ratios_are_met_to_a_thousandth_or_half_a_document() -> None:
    table = realised(table1.BY_RATIO)
    longest = {source: int(documents.tokens.max()) for source, documents in table1.corpus().items()}
    for source, share in table1.SHARES.items():
        expected = share * table["total"]["budget_tokens"]
        allowed = max(0.001 * expected, longest[source] / 2)
        assert abs(table[source]["train_tokens"] - expected) <= allowed, source
    assert table["papers"]["share"] == pytest.approx(table1.SHARES["papers"], rel=0.001)
