"""The page of a run: whole, harmless, the same for the same manifests, and true to them."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from eval import charts, numbers, text
from eval.browser import QUESTIONS
from eval.ledger import ledger
from eval.report import render
from eval.summary import Run, licences, validation_loss, verdict
from lake.step import Account, Kind
from tests.eval.paged import (
    EVIL,
    cells,
    changed,
    configured,
    measured,
    page_of,
    renamed,
    run,
    section,
    unanswered,
    updated,
    with_empty_source,
    with_second_model,
    with_tuned_model,
    without,
    words,
)


@pytest.fixture(scope="module", params=[run, with_second_model], ids=["one model", "two models"])
def page(request: pytest.FixtureRequest) -> Any:
    return page_of(request.param())


def test_the_page_is_whole_and_its_ids_are_unique(page: Any) -> None:
    ids = Counter(page.xpath("//@id"))
    assert max(ids.values()) == 1
    for link in page.xpath("//a/@href"):
        assert link.removeprefix("#") in ids or link.partition("#")[0] == QUESTIONS
    for named in page.xpath("//@aria-labelledby"):
        assert named in ids
    assert run().steps.keys() <= ids.keys()


def test_the_page_loads_nothing_and_runs_nothing(page: Any) -> None:
    assert not page.xpath("//script | //link | //img | //iframe | //object | //embed | //@src | //@srcset")
    assert not page.xpath("//@*[starts-with(name(), 'on') or contains(., 'javascript:')]")
    style = page.xpath("string(//style)")
    assert "url(" not in style
    assert "@import" not in style


def test_headings_go_down_one_level_at_a_time(page: Any) -> None:
    levels = [int(heading.tag[1]) for heading in page.xpath("//h1 | //h2 | //h3 | //h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_have_captions_and_scopes_and_pictures_say_what_they_show(page: Any) -> None:
    assert len(page.xpath("//table")) > 10
    assert not page.xpath("//table[not(caption)] | //th[not(@scope)]")
    assert all(picture.get("aria-label") for picture in page.xpath("//svg[@role='img']"))
    assert not page.xpath("//figure[not(.//svg[@role='img']) or not(figcaption)]")
    assert not page.xpath("//svg[not(@role) and not(@aria-hidden) and not(ancestor::svg)]")


def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: Any) -> None:
    for table in page.xpath("//table"):
        widths = {len(row.xpath("th | td")) for row in table.xpath(".//tr")}
        assert len(widths) == 1, words(table.xpath("caption")[0])


def test_the_same_manifests_give_the_same_bytes() -> None:
    assert render(run()) == render(run())


def test_the_accounts_of_every_step_are_in_its_section(page: Any) -> None:
    for step in run().manifests:
        if not step.total.entered:
            continue
        table = next(
            table
            for table in section(page, step.step).xpath(".//table")
            if words(table.xpath("caption")[0]).startswith((f"What {step.step} kept", "Questions asked"))
        )
        rows = {words(row[0]): [words(cell) for cell in row[1:]] for row in table.xpath(".//tr")}
        columns = rows.pop(step.unit)
        assert columns[0] == "all"
        for position, source in enumerate(columns):
            account = step.total if source == "all" else step.accounts[source]
            assert rows["in"][position] == f"{account.entered:,}"
            assert rows["= kept"][position] == f"{account.kept:,}"
            for reason in step.total.dropped:
                assert rows[f"− {reason}"][position] == f"{account.dropped.get(reason, 0):,}"


def test_the_headline_has_documents_tokens_parameters_loss_and_scores(page: Any) -> None:
    header = words(page.xpath("//header")[0])
    for figure in ("167", "69.0 % of 242", "112 K", "1.48 M", "4.307", "from 8.528", "32.5 %", "20.1 % to 48.0 %"):
        assert figure in header


def test_pdfs_that_grobid_did_not_read_are_on_the_page() -> None:
    page = page_of(changed("read", {"pdfs_without_grobid": {"guidelines": 4321}}))
    assert "PDFs of guidelines not read by GROBID 4,321" in words(section(page, "read"))


def test_the_figures_of_the_manifests_are_on_the_page(page: Any) -> None:
    steps = run().steps
    mix = words(section(page, "mixture"))
    for row in steps["mix"].figures["mixture"]:
        for name in ("train_documents", "validation_documents", "train_tokens", "validation_tokens"):
            assert f"{row[name]:,}" in mix
    dedup = words(section(page, "dedup"))
    assert "18 × 5" in dedup
    assert "174 documents have no duplicate" in dedup
    assert "sources that must be English, before other languages were dropped: en 227, es 1, fr 2." in words(
        section(page, "clean")
    )
    assert "4,183 3,120 0 0.0 %" in words(section(page, "decontaminate"))
    pretrain = words(section(page, "pretrain"))
    for figure in ("1,475,712", "122,880", "861", "resumed", "abstracts 8.350 4.129 4,230.2 62.10 −98.5 %"):
        assert figure in pretrain
    export = words(section(page, "export"))
    for figure in ("5.3e-06", "0.0001", "100.00 %", *steps["export"].figures["files"].values()):
        assert figure in export
    (score,) = (
        row for row in cells(section(page, "evaluate"), "Scores of evaluate") if row["score"].startswith("MedMCQA")
    )
    assert list(score.values()) == [
        "MedMCQA, strict letters 0-shot",
        *("200", "1", "accuracy", "24.5 %", "19.1 % to 30.9 %", "25.0 %", "34.0 %", "not distinguishable from chance"),
    ]
    provenance = words(section(page, "provenance"))
    for step in steps.values():
        assert step.fingerprint in provenance
        assert all(version in provenance for version in step.versions.values())
    assert "model: export, hits: decontaminate" in provenance


def test_the_questions_found_are_on_the_page_by_benchmark_and_corpus() -> None:
    counts = {"questions": 1_273, "searched": 1_200, "hit": 300, "hit_by_source": {"papers": 251, "replay": 77}}
    page = page_of(changed("decontaminate", {"benchmarks": {"medqa": counts}}))
    (row,) = cells(section(page, "decontaminate"), "Questions found")
    assert row == {
        "benchmark": "medqa",
        "questions": "1,273",
        "searched for": "1,200",
        "found": "300",
        "of those searched": "25.0 %",
        "in abstracts": "0",
        "in guidelines": "0",
        "in papers": "251",
        "in replay": "77",
    }


def test_the_loss_curve_has_a_point_for_every_step(page: Any) -> None:
    (picture,) = section(page, "pretrain").xpath(".//svg[starts-with(@aria-label, 'Training loss')]")
    assert picture.get("aria-label") == "Training loss by step from 8.126 to 3.918, resumed at step 40"
    (line,) = picture.xpath("path[contains(@class, 'line')]/@d")
    assert len(line.split("L")) == 60


def test_two_models_stand_side_by_side() -> None:
    page = page_of(with_second_model())
    first, slow = cells(section(page, "models"), "Models")
    assert list(first.values()) == ["pretrain", "1,475,712", "122,880", "4.307"]
    assert (slow["model"], slow["validation loss"]) == ("pretrain-slow", "2.500")
    sample, medical = cells(section(page, "models"), "Scores of the models")
    assert (sample["score"], sample["pretrain"]) == ("Sample QA, strict letters 0-shot", "32.5 % (20.1 % to 48.0 %)")
    assert (medical["pretrain"], medical["pretrain-slow"]) == ("24.5 % (19.1 % to 30.9 %)", "50.0 % (43.1 % to 56.9 %)")
    pictures = section(page, "models").xpath(".//svg[@role='img']/@aria-label")
    assert pictures[1].replace("\u00a0", " ") == (
        "MedMCQA, strict letters 0-shot with 95 % intervals: pretrain 24.5 %, pretrain-slow 50.0 %"
    )
    for name in ("pretrain", "export", "evaluate"):
        assert page.xpath(f"//nav//a[@href='#{name}-slow']")
        assert words(section(page, f"{name}-slow")).startswith(f"{name}-slow ")
    assert "56.9 %" in words(section(page, "evaluate-slow"))
    assert "56.9 %" not in words(section(page, "evaluate"))
    assert "56.9 %" not in words(page.xpath("//header")[0])
    assert not page_of(run()).xpath("//section[@id='models']")


@pytest.mark.parametrize(
    "names",
    [("evaluate",), ("export", "evaluate"), ("pretrain", "export", "evaluate"), ("shard",), ("mix",), ("tokenizer",)],
)
def test_a_run_without_some_steps_has_a_page(names: tuple[str, ...]) -> None:
    page = page_of(without(*names))
    ids = set(page.xpath("//@id"))
    assert not ids & set(names)
    links = {link.removeprefix("#") for link in page.xpath("//a/@href") if not link.startswith(QUESTIONS)}
    assert links <= ids
    assert "Documents kept" in words(page.xpath("//header")[0])
    assert "Documents left after each step" in words(section(page, "way"))


def test_a_training_without_export_is_a_model_without_scores() -> None:
    second = with_second_model()
    second = Run("demo", tuple(step for step in second.manifests if step.step != "export-slow"))
    _, medical = cells(section(page_of(second), "models"), "Scores of the models")
    assert (medical["pretrain"], medical["pretrain-slow"]) == ("24.5 % (19.1 % to 30.9 %)", "–")


def test_the_funnel_is_the_longest_chain_of_steps_that_follow_one_another() -> None:
    names = ["read", "clean", "dedup", "decontaminate", "mix", "shard"]
    assert [step.step for step in run().funnel] == names
    assert [step.step for step in with_second_model().funnel] == names
    assert [step.step for step in without("mix").funnel] == names[:4]


def test_a_step_of_a_kind_without_a_template_has_the_general_section() -> None:
    accounts = {"chat": Account.of(40, {"empty": 2})}
    page = page_of(changed("mix", kind=Kind.INSTRUCTIONS, unit="records", accounts=accounts, config={"pack": 512}))
    (row, empty, kept) = cells(section(page, "mix"), "What mix kept and dropped")
    assert [row["all"], empty["chat"], kept["chat"]] == ["42", "2", "40"]
    assert "Configuration of mix pack: 512" in words(section(page, "mix"))


def test_a_tuning_is_told_by_its_answers() -> None:
    page = page_of(with_tuned_model())
    learned = words(section(page, "instruct"))
    for words_of in ("conversations 38", "rows 9", "learned tokens 600", "padding 13.2 %", "cut at the end of a row 1"):
        assert words_of in learned
    assert "Held-out answers before and after finetune." in words(section(page, "finetune"))
    assert "adapters rank 16, alpha 32" in words(section(page, "finetune"))
    assert "Held-out text before and after pretrain." in words(section(page, "pretrain"))
    losses = {row["model"]: row["validation loss"] for row in cells(section(page, "models"), "Models")}
    assert losses == {"pretrain": "4.307", "finetune": "4.279 on answers"}


def test_hostile_names_are_text_and_nothing_else() -> None:
    names = ("guidelines", "MedMCQA", "medmcqa", "Apache-2.0", "near_duplicate", "sample-qa", "who", "en")
    page = render(renamed(*names))
    assert "<script" not in page
    page.encode("utf-8")
    assert "\u202e" not in page
    assert "\x00" not in page
    tree = page_of(renamed(*names))
    assert not tree.xpath("//script")
    assert words(tree.xpath("//h1")[0]).startswith("<script>alert('x')</script> & \"q\"")
    assert any("</script>" in label for label in tree.xpath("//svg/@aria-label"))


def test_a_configuration_is_shown_whole_but_for_passwords() -> None:
    page = page_of(configured("dedup", prefer=["s3://user:hunter2@bucket/x"], new_key=EVIL))
    (shown,) = (words(element) for element in section(page, "dedup").xpath(".//pre"))
    for line in ("threshold: 0.8", "bucket_limit: 64", "s3://bucket/x", "new_key: "):
        assert line in shown
    assert "hunter2" not in render(configured("dedup", prefer=["s3://user:hunter2@bucket/x"]))
    assert "# no settings" in words(section(page_of(changed("read", config={})), "read"))


def test_a_source_without_documents_is_in_the_mixture_and_in_no_account() -> None:
    assert "textbooks 0 0 0 0 0.0 % 0.0 % 0.00" in words(section(page_of(with_empty_source()), "mixture"))
    read = run().steps["read"]
    step = read.model_copy(update={"accounts": read.accounts | {"textbooks": Account()}})
    assert ledger(step).columns == ["abstracts", "guidelines", "papers", "replay"]


def test_a_benchmark_without_answers_has_dashes() -> None:
    page = page_of(unanswered())
    assert "Sample QA, strict letters 0-shot – no question answered" in words(page.xpath("//header")[0])
    (score,) = cells(section(page, "evaluate"), "Scores of evaluate")
    assert list(score.values())[1:] == ["0", "0", "accuracy", *"––––", "no question answered"]
    assert "no data" in words(section(page, "evaluate"))


@pytest.mark.parametrize("validation", [[], [{"step": 0, "sources": {}}]])
def test_a_run_without_validation_says_so(validation: list[Any]) -> None:
    page = page_of(changed("pretrain", {"validation": validation}))
    assert "Validation loss – not measured" in words(page.xpath("//header")[0])
    assert "No validation loss was measured" in words(section(page, "pretrain"))


def test_losses_that_are_not_finite_leave_gaps_and_dashes() -> None:
    nan = float("nan")
    row = run().steps["pretrain"].figures["losses"][0] | {"loss": nan, "grad_norm": nan}
    figures = {
        "losses": [row | {"step": step} for step in range(1, 9)],
        "validation": [{"step": 0, "sources": {"papers": measured(nan)}}],
        "resumed_from": [],
    }
    pretrain = words(section(page_of(changed("pretrain", figures)), "pretrain"))
    assert "papers – – – – – – – –" in pretrain
    assert "nan" not in pretrain
    assert "no data" in pretrain


def test_a_run_that_read_nothing_has_a_page() -> None:
    page = page_of(updated({name: {"accounts": {}} for name in run().steps}))
    assert "Nothing was read." in words(section(page, "way"))
    assert "Nothing entered this step." in words(section(page, "dedup"))


def test_a_corpus_without_duplicates_has_no_plot_of_clusters() -> None:
    page = page_of(changed("dedup", {"clusters_by_size": {"1": 5}}))
    assert "There is no cluster of duplicates: all 5 documents are unique." in words(section(page, "dedup"))


def test_the_page_says_how_many_documents_the_policies_differ_in() -> None:
    figures = {"only_transitive_removes": 1_234}
    assert "would remove 1,234 more" in words(section(page_of(changed("dedup", figures)), "dedup"))
    dedup = words(section(page_of(configured("dedup", figures, policy="transitive")), "dedup"))
    assert "one document of every chain of near-duplicates stayed" in dedup
    assert "would keep 1,234 more" in dedup


def test_earlier_corpora_are_on_the_page_where_there_were_any(page: Any) -> None:
    assert "earlier corpora" not in words(section(page, "dedup"))
    figures = {"earlier": {"documents": 54_321, "removed_for": 1_234}}
    dedup = words(section(page_of(changed("dedup", figures)), "dedup"))
    assert "documents of earlier corpora 54,321" in dedup
    assert "removed as their duplicates 1,234" in dedup


def test_the_validation_loss_is_weighted_by_tokens() -> None:
    first = run()
    sources = first.steps["pretrain"].figures["validation"][-1]["sources"]
    losses = {name: values["loss"] for name, values in sources.items()}
    tokens = {row["source"]: row["validation_tokens"] for row in first.mixture}
    mean = sum(losses[name] * tokens[name] for name in losses) / sum(tokens[name] for name in losses)
    assert validation_loss(first, first.models[0], -1) == pytest.approx(mean)
    unknown = changed("pretrain", {"validation": [{"step": 1, "sources": {"x": measured(2.0), "y": measured(4.0)}}]})
    assert validation_loss(unknown, unknown.models[0], -1) == 3.0


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.26, 0.4, "above chance"),
        (0.1, 0.24, "below chance"),
        (0.2, 0.3, "not distinguishable from chance"),
    ],
)
def test_a_score_is_held_against_chance(low: float, high: float, words: str) -> None:
    assert verdict({"value": 0.3, "low": low, "high": high, "chance": 0.25}) == words


def test_one_licence_counts_only_where_all_documents_are_free() -> None:
    assert licences(run()).only is None
    kept = {source: account.kept for source, account in run().steps["clean"].accounts.items()}
    figures = {"licenses": {source: {"MIT": count} for source, count in kept.items()}, "redistributable": kept}
    assert licences(changed("clean", figures)).only == "MIT"
    assert licences(changed("clean", figures | {"redistributable": kept | {"papers": 0}})).only is None


def test_a_bar_of_shares_fills_its_share_of_the_track(page: Any) -> None:
    (picture,) = page.xpath("//svg[starts-with(@aria-label, 'Share of the training tokens')]")
    widths = picture.xpath("rect[not(@class='track')]/@width")
    assert widths == ["27.59%", "35.05%", "36.35%", "1.01%"]


def test_very_long_curves_are_thinned_and_end_where_they_end() -> None:
    points = [(float(step), 1 / (step + 1)) for step in range(23_000)]
    picture = str(charts.lines("loss", [charts.Line(points, 0)], charts.Axes("step", "loss")))
    (path,) = re.findall(r'<path d="M([^"]*)" class="line', picture)
    places = path.split("L")
    assert 300 < len(places) <= charts.POINTS + 1
    last = float(places[-1].split()[0])
    assert last == pytest.approx(charts.LEFT + 22_999 / 25_000 * (charts.RIGHT - charts.LEFT), abs=0.1)
    alone = str(charts.lines("loss", [charts.Line(points[-1:], 0)], charts.Axes("step", "loss")))
    assert "circle" in alone


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 60, [0, 20, 40, 60]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (4.1, 8.6, [4, 5, 6, 7, 8, 9]), (2, 2, None)],
)
def test_ticks_are_round_and_cover_the_values(low: float, high: float, expected: list[float] | None) -> None:
    ticks = charts.ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) >= 2
    if expected:
        assert ticks == pytest.approx(expected)


def test_numbers_are_written_as_people_read_them() -> None:
    written = [numbers.compact(value) for value in (0, 999, 999_600, 1_475_712, 46.7e9, None, float("nan"))]
    assert [text.replace("\u00a0", " ") for text in written] == ["0", "999", "1 M", "1.48 M", "46.7 B", "–", "–"]
    sizes = [numbers.size(value) for value in (812, 912_345.6, 999_999, None)]
    assert [text.replace("\u00a0", " ") for text in sizes] == ["812 bytes", "912 kB", "1 MB", "–"]
    assert numbers.duration(59.94) == "59.9 s"
    assert numbers.duration(316.2) == "5 min 16 s"
    assert numbers.duration(50_580) == "14 h 3 min"
    assert numbers.perplexity(1e6) == "–"


def test_markdown_shows_hostile_text_as_it_is() -> None:
    assert text.markdown("a|b\n# c <b>*d*</b> [e](f)") == r"a\|b \# c &lt;b&gt;\*d\*&lt;/b&gt; \[e\](f)"
    assert text.code("a`b|``c") == r"``` a`b\|``c ```"
