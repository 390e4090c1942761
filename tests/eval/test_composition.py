"""The page's section on the mixture: all of it in one place, its sums those of the table, whatever the run was like."""

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from eval import charts
from eval.composition import lengths, splits, upsampling
from eval.ledger import way
from eval.report import render
from eval.summary import Run
from tests.eval.paged import (
    WRITTEN,
    cells,
    changed,
    page_of,
    renamed,
    run,
    section,
    updated,
    with_empty_source,
    words,
)


def shown(run: Run) -> Any:
    return section(page_of(run), "mixture")


@pytest.fixture(scope="module")
def page() -> Any:
    return shown(run())


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_lengths_add_up_to_the_mixtures_documents_and_tokens(page: Any) -> None:
    documents: Counter[tuple[str, str]] = Counter()
    tokens: Counter[tuple[str, str]] = Counter()
    for row in cells(page, "Documents and tokens of the mixture"):
        documents[row["corpus"], row["split"]] += number(row["documents"])
        tokens[row["corpus"], row["split"]] += number(row["tokens with repetitions"])
    table = {row["corpus"]: row for row in cells(page, "The mixture, in the shape of table 1")}
    for source in ("abstracts", "guidelines", "papers", "replay"):
        for split in ("train", "validation"):
            assert documents[source, split] == number(table[source][f"{split} docs"])
            assert tokens[source, split] == number(table[source][f"{split} tokens"])
    assert documents.total() == number(table["total"]["train docs"]) + number(table["total"]["validation docs"])


def test_lengths_are_in_the_order_of_their_numbers(page: Any) -> None:
    rows = [row for row in cells(page, "Documents and tokens of the mixture") if row["corpus"] == "guidelines"]
    assert [(row["split"], row["tokens per document"]) for row in rows] == [
        ("train", "128 to 255"),
        ("train", "256 to 511"),
        ("train", "512 to 1,023"),
        ("train", "1,024 to 2,047"),
        ("train", "2,048 to 4,095"),
        ("validation", "512 to 1,023"),
        ("validation", "1,024 to 2,047"),
    ]


def test_each_source_has_a_histogram_on_the_same_scale_in_its_colour(page: Any) -> None:
    pictures = page.xpath(".//svg[starts-with(@aria-label, 'Lengths of')]")
    assert len(pictures) == 4
    for position, picture in enumerate(pictures):
        assert set(picture.xpath("rect/@class")) == {f"c{position}"}
        assert len(picture.xpath("path[@class='outline']")) == 1
    ticks = [picture.xpath("text[@class='tick']/text()") for picture in pictures]
    assert all(row == ticks[0] for row in ticks)
    assert ticks[0][-7:] == ["64", "128", "256", "512", "1,024", "2,048", "4,096"]
    label = pictures[2].get("aria-label").replace("\u00a0", " ")
    assert "2,048 to 4,095 tokens 23.5 % and 41.2 %" in label, "4 of 17 documents, and 17,927 of 43,517 tokens"


def test_a_column_is_as_high_as_its_part() -> None:
    axes = charts.Axes("x", "y")
    picture = str(
        charts.histogram("all", charts.Histogram(["1", "2", "4", "8"], [25, 0, 75], [10, 10, 80], "c3"), axes)
    )
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([0-9.]+)" class="c3"', picture)]
    assert len(heights) == 2, "an empty bucket has no column"
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.2)
    (outline,) = re.findall(r'<path d="([^"]*)" class="outline"', picture)
    levels = [charts.BOTTOM - float(y) for y in re.findall(r"V([0-9.]+)", outline)]
    assert levels[2] == pytest.approx(heights[0] / 25 * 80, abs=0.2)
    assert levels[0] == levels[1] == pytest.approx(levels[2] / 8, abs=0.2)
    assert levels[-1] == 0


def test_many_buckets_keep_the_names_of_their_edges_apart() -> None:
    edges = [f"{1 << power:,}" for power in range(22)]
    picture = str(charts.histogram("all", charts.Histogram(edges, [1.0] * 21, [1.0] * 21, "c0"), charts.Axes("x", "y")))
    named = re.findall(rf'<text x="([0-9.]+)" y="{charts.BOTTOM + 15:.1f}"[^>]*>([^<]*)<', picture)
    assert len(named) >= 4
    spans = [(float(x) - len(word) * charts.HALF_CHAR, float(x) + len(word) * charts.HALF_CHAR) for x, word in named]
    assert all(start >= end for (_, end), (start, _) in pairwise(spans))


def test_a_long_name_at_the_end_stays_in_the_picture() -> None:
    columns = charts.Histogram(["1", "1,048,576"], [1.0], [1.0], "c0")
    picture = str(charts.histogram("all", columns, charts.Axes("x", "y")))
    ((x, word),) = re.findall(r'<text x="([0-9.]+)"[^>]*>(1,048,576)<', picture)
    assert float(x) + len(word) * charts.HALF_CHAR <= charts.WIDTH


def test_upsampling_is_on_the_page_with_its_factors(page: Any) -> None:
    text = words(page)
    assert "Upsampling of papers" in text
    assert "documents scored 16 filtered out 0 mean copies of those that stay 1.81" in text
    assert "tokens before 21,093 tokens after 40,867 after ÷ before 1.94 age as of 2023-07" in text
    (picture,) = page.xpath(".//svg[contains(@aria-label, 'by their number of copies')]")
    assert (
        picture.get("aria-label")
        == "Train documents of papers by their number of copies: 1 copy 6, 2 copies 7, 3 copies 3"
    )
    rows = cells(page, "Documents of papers by category")
    assert rows[0] == {"category": "age young", "documents": "6", "of all": "37.5 %"}
    assert rows[1]["category"] == "Review"
    assert len(rows) == 9
    bounds = cells(page, "Citations of papers")
    assert bounds[0] == {"year": "2015", "bottom, at most": "2", "top, more than": "31"}


def test_those_filtered_out_count_in_no_mean() -> None:
    figures = run().steps["mix"].figures["upsampling"]["papers"]
    figures |= {"documents": {"10": 1, "2": 3, "0": 12}, "tokens_before": 200, "tokens_after": 100}
    filtered = changed("mix", {"upsampling": {"papers": figures}})
    (papers,) = upsampling(filtered.steps["mix"])
    assert list(papers.copies) == [0, 2, 10]
    assert papers.documents == 16
    assert papers.mean_copies == 4
    assert papers.factor == 0.5
    assert "filtered out 12 (75.0 %)" in words(shown(filtered))


def test_a_run_without_upsampling_has_no_word_of_it() -> None:
    assert "psampl" not in words(shown(changed("mix", {"upsampling": {}})))


def test_an_upsampled_source_without_documents_has_dashes_and_no_plot() -> None:
    nothing: dict[str, Any] = {
        "documents": {},
        "categories": {},
        "citations": {},
        "tokens_before": 0,
        "tokens_after": 0,
    }
    page = shown(changed("mix", {"upsampling": {"papers": nothing | {"reference": "2023-07"}}}))
    text = words(page)
    assert "mean copies of those that stay – tokens before 0 tokens after 0 after ÷ before –" in text
    assert not page.xpath(".//svg[contains(@aria-label, 'by their number of copies')]")
    assert "Bounds of citations" not in text
    assert cells(page, "Documents of papers by category") == [{"category": "none", "documents": "–", "of all": "–"}]


def test_plan_and_shards_are_side_by_side(page: Any) -> None:
    rows = {row["corpus"]: row for row in cells(page, "Train tokens by source")}
    assert rows["replay"] == {
        "corpus": "replay",
        "available": "14,020",
        "budget": "1,130",
        "selected": "1,130",
        "in the shards": "1,130",
        "epochs selected": "0.08",
        "epochs in the shards": "0.08",
    }
    assert "The shards hold what was selected" in words(page)


def test_missing_tokens_are_named(page: Any) -> None:
    assert "Every source has the tokens that the configuration asks for." in words(page)
    rows = run().steps["mix"].figures["mixture"]
    rows = [row | {"missing_tokens": 9_133} if row["source"] == "papers" else row for row in rows]
    text = words(shown(changed("mix", {"mixture": rows})))
    assert "papers lacks 9,133 of the 50,000 train tokens that the configuration asks for." in text
    assert "Every source has" not in text


def test_the_split_is_described(page: Any) -> None:
    text = words(page)
    assert "8 of 167 documents (4.8 %) are held out for validation, with 7,364 of 119,791 tokens (6.1 %)." in text
    assert "so all duplicates are on one side. Held-out documents are never repeated." in text


def test_the_reasons_of_all_steps_are_there_by_source_and_add_up(page: Any) -> None:
    rows = {row.pop("documents"): row for row in cells(page, "All that was kept and dropped")}
    for step in run().funnel:
        for source, account in step.accounts.items():
            for reason, count in account.dropped.items():
                assert number(rows[f"− {step.step}: {reason}"][source]) == count
    for column in ("all", "abstracts", "guidelines", "papers", "replay"):
        dropped = sum(number(row[column]) for name, row in rows.items() if name.startswith("−"))
        assert number(rows["in"][column]) - dropped == number(rows["= kept"][column])
    total = run().total
    assert number(rows["= kept"]["all"]) == total["train_documents"] + total["validation_documents"]
    order = [name.removeprefix("− ").partition(":")[0] for name in rows if name.startswith("−")]
    assert order == sorted(order, key=[step.step for step in run().funnel].index)


def test_the_same_reason_in_two_steps_stays_two() -> None:
    accounts = run().steps["mix"].accounts
    papers = accounts["papers"].model_copy(update={"kept": 16, "dropped": {"empty": 1}})
    ledger = way(changed("mix", accounts=accounts | {"papers": papers}).funnel)
    assert ledger.dropped["clean: empty"][0] == 1
    assert ledger.dropped["mix: empty"] == [1, 0, 0, 1, 0]


def test_the_mixture_is_on_the_page_once() -> None:
    page = page_of(run())
    captions = list(map(words, page.xpath("//caption")))
    assert len(captions) == len(set(captions))
    assert sum("table 1 of the MEDITRON paper" in caption for caption in captions) == 1
    assert len(page.xpath("//svg[starts-with(@aria-label, 'Share of the training tokens')]")) == 1
    assert page.xpath("//nav//a[@href='#mixture']")


def test_a_source_without_tokens_is_in_the_table_and_has_no_histogram() -> None:
    page = shown(with_empty_source())
    assert cells(page, "Train tokens by source")[-1]["in the shards"] == "0"
    assert "The shards hold what was selected" in words(page)
    assert len(page.xpath(".//svg[starts-with(@aria-label, 'Lengths of')]")) == 4


def test_an_empty_mixture_has_a_section() -> None:
    nothing = {name: 0 if isinstance(value, int) else value for name, value in run().total.items()}
    figures = {"mixture": [nothing | {"held_out": 0.0, "share": 0.0, "epochs": 0.0}], "lengths": {}, "upsampling": {}}
    new: dict[str, dict[str, Any]] = {"mix": figures, "pretrain": {"validation": []}}
    fields = {name: {"figures": step.figures | new.get(name, {}), "accounts": {}} for name, step in run().steps.items()}
    text = words(shown(updated(fields)))
    assert "No document is in the mixture." in text
    assert "Nothing was read." in text


def test_hostile_names_of_upsampled_sources_and_categories_are_text() -> None:
    hostile = renamed("papers", "Review", "2015", "2023-07")
    assert "<script" not in render(hostile)
    page = shown(hostile)
    assert words(page).count("<script>alert('x')</script>") > 8
    assert any("</script>" in label for label in page.xpath(".//svg/@aria-label"))


def test_the_order_of_a_manifests_keys_changes_no_byte() -> None:
    written = json.loads(WRITTEN)
    for step in written:
        if step["step"] == "mix":
            for name in ("lengths", "upsampling"):
                step["figures"][name] = _reversed(step["figures"][name])
    assert render(run(json.dumps(written))) == render(run())


def _reversed(tree: Any) -> Any:
    """The tree with the keys of every mapping in the opposite order."""
    return {key: _reversed(tree[key]) for key in reversed(tree)} if isinstance(tree, dict) else tree


def test_documents_of_the_shards_count_their_copies() -> None:
    steps, total = run().steps, run().total
    by_name = {split.name: split for split in splits(steps["shard"])}
    extra = sum((times - 1) * count for times, count in upsampling(steps["mix"])[0].copies.items())
    assert by_name["train"].documents == total["train_documents"] + extra
    assert by_name["train"].tokens == total["train_tokens"]
    assert by_name["validation"].documents == total["validation_documents"]


def test_the_figures_of_the_made_up_run_agree_as_a_real_runs_do() -> None:
    mix = run().steps["mix"]
    rows = {row["source"]: row for row in run().mixture}
    for source, buckets in lengths(mix).items():
        assert sum(bucket.tokens for bucket in buckets if bucket.split == "train") == rows[source]["train_tokens"]
        assert all(bucket.tokens >= bucket.least * bucket.documents for bucket in buckets)
    (papers,) = upsampling(mix)
    assert papers.tokens_after == rows[papers.source]["available_tokens"]
    assert papers.documents == rows[papers.source]["train_documents"]
