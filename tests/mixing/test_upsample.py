"""Scores of papers after table 10 of the MEDITRON paper, and the counts of copies that follow."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mixing.split import stable_hash
from mixing.upsample import TYPES, Scored, Scorer, Upsampling, counts, plain, year_of

QUANTILES = {"1990": (2, 10), "2015": (2, 10), "2022": (0, 0)}
BARE = {"types": None, "mesh": None, "journal": None, "published": None, "citations": None}


def scored(settings: Upsampling | None = None, **paper: object) -> Scored:
    return Scorer(settings or Upsampling(), QUANTILES).score(**BARE | paper)  # type: ignore[arg-type]


# Table 10, row by row -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "types"),
    [
        (1, ("Guideline", "Practice Guideline", "Patient Education Handout", "Meta-Analysis")),
        (0.8, ("Systematic Review", "Clinical Trial, Phase IV")),
        (0.6, ("Clinical Trial, Phase III",)),
        (0.5, ("Randomized Controlled Trial", "Review", "Observational Study", "Comparative Study")),
        (0.4, ("Clinical Trial, Phase II", "Clinical Study")),
        (0.2, ("Clinical Trial, Phase I",)),
        (0.1, ("Editorial", "Letter", "Comment")),
        (0, ("Case Reports", "Journal Article", "Clinical Trial", "News")),
    ],
)
def test_a_publication_type_has_its_score(score: float, types: tuple[str, ...]) -> None:
    for kind in types:
        assert scored(types=["Journal Article", kind]).score == score
        assert (kind in TYPES) == (score > 0)


def test_no_other_type_scores() -> None:
    assert len(TYPES) == 17
    assert scored() == Scored(0.0, ())


@pytest.mark.parametrize(
    ("paper", "category"),
    [
        ({"types": ["Meta-Analysis", "Observational Study, Veterinary"]}, "Observational Study, Veterinary"),
        ({"types": ["Meta-Analysis", "Retracted Publication"]}, "Retracted Publication"),
        ({"types": ["Preprint"]}, "Preprint"),
        ({"types": ["Meta-Analysis"], "mesh": ["Humans", "Animals"]}, "MeSH Animals"),
    ],
)
def test_a_filtered_paper_names_its_category(paper: dict[str, object], category: str) -> None:
    assert scored(**paper) == Scored(0.0, (category,), filtered_out=True)


@pytest.mark.parametrize(
    "paper",
    [
        {"types": ["Retraction of Publication"]},
        {"mesh": ["Animals, Domestic", "Humans"]},
        {"types": ["Animals"]},
        {"mesh": ["Preprint"]},
    ],
)
def test_similar_names_are_not_filtered_out(paper: dict[str, object]) -> None:
    assert not scored(**paper).filtered_out


@pytest.mark.parametrize(
    "journal",
    ["The New England journal of medicine", "N. Engl. J. Med.", "LANCET", "The Lancet", "Lancet (London, England)"],
)
def test_a_reviewed_journal_scores_one(journal: str) -> None:
    assert scored(journal=journal) == Scored(1.0, ("age unknown", "citations unknown", "reviewed journal"))
    assert scored(journal=f"{journal} supplement").score == 0


@pytest.mark.parametrize(
    ("published", "score", "category"),
    [
        ("2024-01", 1, "age young"),
        ("2023-07-31", 1, "age young"),
        ("2018-02", 1, "age young"),
        ("2018", 1, "age young"),
        ("2018-01-31", 0.2, "age middle"),
        ("2017", 0.2, "age middle"),
        ("2013-07-01", 0.2, "age middle"),
        ("2013-06-30", 0, "age old"),
        ("2013", 0, "age old"),
        ("1931", 0, "age old"),
        (None, 0, "age unknown"),
        ("in press", 0, "age unknown"),
    ],
)
def test_age_scores_at_the_reference_date(published: str | None, score: float, category: str) -> None:
    paper = scored(types=["Guideline"], published=published)
    assert paper.score == 1 + score
    assert paper.categories == ("Guideline", category, "citations unknown")


@pytest.mark.parametrize(
    ("citations", "score", "category"),
    [
        (11, 1, "citations top"),
        (10, 0.5, "citations middle"),
        (3, 0.5, "citations middle"),
        (2, 0, "citations bottom"),
        (0, 0, "citations bottom"),
        (None, 0, "citations unknown"),
    ],
)
def test_citations_score_among_papers_of_the_year(citations: int | None, score: float, category: str) -> None:
    paper = scored(types=["Guideline"], published="1990-05", citations=citations)
    assert paper.score == 1 + score
    assert paper.categories == ("Guideline", "age old", category)


def test_citations_of_a_year_without_bounds_are_unknown() -> None:
    assert "citations unknown" in scored(types=["Guideline"], published="1991", citations=500).categories


def test_where_most_papers_have_no_citation_any_citation_scores() -> None:
    assert scored(types=["Guideline"], published="2022", citations=0).score == 1 + 1
    assert scored(types=["Guideline"], published="2022", citations=1).score == 1 + 1 + 1


def test_age_and_citations_count_only_beside_another_category() -> None:
    young = {"published": "2022-07", "citations": 99}
    assert scored(**young) == Scored(0.0, ())
    assert scored(types=["Case Reports"], **young) == Scored(0.0, ())
    assert scored(types=["Letter"], **young) == Scored(2.1, ("Letter", "age young", "citations top"))
    assert scored(journal="Gut", **young).score == 3


def test_scores_add_up() -> None:
    paper = scored(
        types=["Randomized Controlled Trial", "Clinical Trial, Phase III", "Comment", "randomized controlled trial"],
        mesh=["Humans"],
        journal="BMJ",
        published="2015-03",
        citations=5,
    )
    assert paper.score == 2.9, "0.5 + 0.6 + 0.1 + 1 + 0.2 + 0.5"


@given(st.lists(st.sampled_from(sorted(TYPES)), unique=True), st.randoms())
def test_order_case_and_punctuation_do_not_matter(types: list[str], random: object) -> None:
    other = [kind.upper().replace(",", " –") for kind in types]
    random.shuffle(other)  # type: ignore[attr-defined]
    paper = scored(types=types, published="2020", citations=1)
    assert paper == scored(types=other, published="2020", citations=1)
    assert math.isclose(paper.score, sum(TYPES[kind] for kind in types) + bool(types), abs_tol=1e-9)


# Counts ---------------------------------------------------------------------------------------------------------------

IDS = [f"{n:032x}" for n in range(20_000)]


def test_counts_never_change() -> None:
    papers = [Scored(0.5, ())] * 8
    assert counts(IDS[:8], papers).tolist() == [2, 2, 2, 1, 2, 1, 1, 2]


@given(st.floats(0, 6), st.integers(0, len(IDS) - 1))
def test_a_count_is_one_of_the_two_next_to_one_plus_the_score(score: float, place: int) -> None:
    (count,) = counts([IDS[place]], [Scored(score, ())])
    assert count in {1 + math.floor(score), 1 + math.ceil(score)}
    (alone,) = counts([IDS[place]], [Scored(float(math.floor(score)), ())])
    assert alone == 1 + math.floor(score), "a whole score leaves nothing to chance"


@pytest.mark.parametrize("score", [0.1, 0.5, 2.8])
def test_counts_have_the_mean_of_one_plus_the_score(score: float) -> None:
    assert abs(counts(IDS, [Scored(score, ())] * len(IDS)).mean() - 1 - score) < 0.012


def test_a_higher_score_never_gives_fewer() -> None:
    rising = [counts(IDS[:500], [Scored(score / 10, ())] * 500) for score in range(40)]
    assert (np.diff(rising, axis=0) >= 0).all()


def test_counts_do_not_depend_on_split_and_order() -> None:
    more = counts(IDS, [Scored(0.5, ())] * len(IDS)) == 2
    low = stable_hash(IDS, "mix:40") < 1 << 62
    assert abs((more & low).mean() - 0.25) < 0.012


def test_a_filtered_paper_has_no_copy() -> None:
    papers = [Scored(0.0, ("Preprint",), filtered_out=True), Scored(1.0, ())]
    assert counts(IDS[:2], papers).tolist() == [0, 2]
    assert counts([], []).tolist() == []


# Settings -------------------------------------------------------------------------------------------------------------


def test_table_10_is_the_default_and_has_a_name() -> None:
    assert Upsampling.model_validate("table10") == Upsampling() == Upsampling.model_validate({})
    with pytest.raises(ValidationError, match="table9: give table10"):
        Upsampling.model_validate("table9")


def test_other_scores_replace_the_table() -> None:
    changed = Upsampling.model_validate(
        {"types": {"Editorial": 3}, "age": {"young": 1, "old": 2, "scores": [5, 1, 0]}, "reference": "2020-01"}
    )
    assert scored(changed, types=["Editorial", "Guideline"], published="2019-03").score == 8
    assert scored(changed, types=["Editorial"], published="2018-03").score == 4
    assert scored(changed, types=["Guideline"], published="2019-12").score == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"reference": "2023"},
        {"reference": "2023-13"},
        {"types": {"Letter": -1}},
        {"age": {"young": 11}},
        {"citations": {"top": 0.6}},
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Upsampling.model_validate(wrong)


def test_a_file_of_journals(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("journals: [Annals of Invented Medicine]\n", encoding="utf-8")
    settings = Upsampling.model_validate({"journals": str(file)})
    assert settings.journals == ("Annals of Invented Medicine",), (
        "the names are part of the config, so of the fingerprint"
    )
    assert scored(settings, journal="annals of invented medicine.").score == 1
    assert scored(settings, journal="BMJ").score == 0
    assert Upsampling.model_validate(settings.model_dump(mode="json")) == settings
    file.write_text("journal: [BMJ]\n", encoding="utf-8")
    with pytest.raises(ValidationError, match=r"mine\.yaml: .*journals"):
        Upsampling.model_validate({"journals": str(file)})
    with pytest.raises(ValidationError, match="no such list of journals"):
        Upsampling.model_validate({"journals": "uptodate"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Clinical Trial, Phase IV", "clinical trial phase iv"),
        ("The Lancet. Diabetes & endocrinology", "lancet diabetes and endocrinology"),
        ("Thérapie", "thérapie"),
        ("Theriogenology", "theriogenology"),
        ("", ""),
    ],
)
def test_a_name_is_known_by_its_words(name: str, words: str) -> None:
    assert plain(name) == words


def test_the_year_of_a_date() -> None:
    dates = ("2012", "2012-07", "2012-07-19", "12", "", None)
    assert [year_of(date) for date in dates] == ["2012", "2012", "2012", None, None, None]
