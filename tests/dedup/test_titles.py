"""Which documents are dropped by title, for which survivor, and which must stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.cluster import Likeness
from dedup.titles import Titled, TitleDrop, plain_title, title_drops

WORDS = st.sampled_from(["asthma", "overview", "causes", "in", "children", "risk", "factors", "Report"])
TITLES = st.lists(WORDS, max_size=4).map(" ".join)


def drops(*titles: str, overviews: bool = True) -> dict[str, tuple[str, Likeness]]:
    """By the title of each dropped document, the title of its survivor and the kind. Titles must be distinct."""
    rows = [Titled(f"{position:02}", title) for position, title in enumerate(titles)]
    by_id = {row.id: str(row.title) for row in rows}
    return {by_id[drop.id]: (by_id[drop.survivor], drop.kind) for drop in title_drops(rows, overviews)}


def test_of_one_title_the_preferred_stays() -> None:
    rows = [Titled("a", "Asthma: care", order=7), Titled("b", " ASTHMA  Care", order=3), Titled("c", "Asthma", order=1)]
    assert list(title_drops(rows)) == [TitleDrop("a", "b", Likeness.TITLE)]


@pytest.mark.parametrize(
    "title", [None, "", "Untitled", "Guideline", "report 2", "Microsoft Word - draft3.doc", "nice-ng12.pdf", "Overview"]
)
def test_titles_that_name_nothing_make_no_duplicates(title: str | None) -> None:
    assert list(title_drops([Titled("a", title), Titled("b", title)], overviews=True)) == []


def test_an_overview_replaces_its_sub_pages_and_the_page_itself() -> None:
    replaced = ["Asthma", "Asthma causes", "Asthma risk factors", "Differentiating Asthma from COPD"]
    assert drops("Asthma overview", *replaced) == dict.fromkeys(replaced, ("Asthma overview", Likeness.OVERVIEW))


def test_other_subjects_are_no_sub_pages() -> None:
    others = (
        "Heart failure causes",
        "Heart failure",
        "Hearts of oak causes",
        "Asthma in children",
        "Anemia of chronic disease",
    )
    assert drops("Heart overview", "Asthma overview", "Anemia overview", *others) == {}


def test_of_nested_subjects_the_longest_decides() -> None:
    dropped = drops("Asthma overview", "Asthma in children overview", "Asthma in children causes")
    assert dropped == {"Asthma in children causes": ("Asthma in children overview", Likeness.OVERVIEW)}
    dropped = drops("Heart overview", "Heart surgery overview", "Heart surgery causes")
    assert dropped == {"Heart surgery causes": ("Heart surgery overview", Likeness.OVERVIEW)}


def test_overviews_are_for_sites_that_have_them() -> None:
    assert drops("Asthma overview", "Asthma causes", overviews=False) == {}


def test_a_repeated_sub_page_is_dropped_for_the_overview() -> None:
    rows = [
        Titled("a", "Asthma causes"),
        Titled("b", "asthma causes"),
        Titled("c", "Asthma overview"),
        Titled("d", "Asthma Overview"),
    ]
    assert list(title_drops(rows, overviews=True)) == [
        TitleDrop("a", "c", Likeness.OVERVIEW),
        TitleDrop("b", "c", Likeness.OVERVIEW),
        TitleDrop("d", "c", Likeness.TITLE),
    ]


@given(st.lists(st.tuples(TITLES, st.integers(0, 3)), max_size=20), st.randoms(use_true_random=False))
def test_a_survivor_is_never_dropped_and_the_order_of_rows_does_not_matter(rows, chance) -> None:  # type: ignore[no-untyped-def]
    pages = [Titled(f"{position:02}", title, order=order) for position, (title, order) in enumerate(rows)]
    dropped = list(title_drops(pages, overviews=True))
    assert len({drop.id for drop in dropped}) == len(dropped)
    assert not {drop.survivor for drop in dropped} & {drop.id for drop in dropped}
    titles = {plain_title(row.title) for row in pages}
    remaining = [plain_title(row.title) for row in pages if row.id not in {drop.id for drop in dropped}]
    assert sorted(filter(None, remaining)) == sorted(set(remaining) - {""})
    assert set(remaining) <= titles
    chance.shuffle(pages)
    assert list(title_drops(pages, overviews=True)) == dropped


def test_every_rule_has_its_reason() -> None:
    assert [kind.reason.value for kind in (Likeness.TITLE, Likeness.OVERVIEW)] == ["same_title", "sub_page"]
