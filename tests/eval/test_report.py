"""The page of a run: whole, harmless, the same for the same manifests, and true to them."""

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from eval import charts, numbers, text
from eval.ledger import ledger
from eval.report import config, render
from eval.summary import by_step, licences, validation_loss, verdict
from lake.step import Account
from tests.eval.paged import EVIL, FILE, changed, manifests, parsed, section, words


@pytest.fixture(scope="module")
def page() -> Any:
    return parsed(render("demo", manifests()))


def test_the_page_is_whole_and_its_ids_are_unique(page: Any) -> None:
    ids = Counter(page.xpath("//@id"))
    assert max(ids.values()) == 1
    for link in page.xpath("//a/@href"):
        assert link.removeprefix("#") in ids
    for named in page.xpath("//@aria-labelledby"):
        assert named in ids
    assert {one.step for one in manifests()} <= ids.keys()


def test_the_page_loads_nothing_and_runs_nothing(page: Any) -> None:
    assert not page.xpath("//script | //link | //img | //iframe | //object | //embed | //@src | //@srcset")
    assert not page.xpath("//@*[starts-with(name(), 'on') or contains(., 'javascript:')]")
    style = page.xpath("string(//style)")
    assert "url(" not in style
    assert "@import" not in style


def test_headings_go_down_one_level_at_a_time(page: Any) -> None:
    levels = [int(one.tag[1]) for one in page.xpath("//h1 | //h2 | //h3 | //h4")]
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
    assert render("demo", manifests()) == render("demo", manifests())


def test_the_accounts_of_every_step_are_in_its_section(page: Any) -> None:
    for one in manifests():
        if not one.total.entered:
            continue
        table = next(
            table
            for table in section(page, one.step).xpath(".//table")
            if words(table.xpath("caption")[0]).startswith((f"What {one.step} kept", "Questions asked"))
        )
        rows = {words(row[0]): [words(cell) for cell in row[1:]] for row in table.xpath(".//tr")}
        columns = rows.pop(one.unit)
        assert columns[0] == "all"
        for position, source in enumerate(columns):
            account = one.total if source == "all" else one.accounts[source]
            assert rows["in"][position] == f"{account.entered:,}"
            assert rows["= kept"][position] == f"{account.kept:,}"
            for reason in one.total.dropped:
                assert rows[f"− {reason}"][position] == f"{account.dropped.get(reason, 0):,}"


def test_the_headline_has_documents_tokens_parameters_loss_and_scores(page: Any) -> None:
    (head,) = page.xpath("//header")
    said = words(head)
    for figure in ("167", "69.0 % of 242", "112 K", "1.48 M", "4.307", "from 8.528", "32.5 %", "20.1 % to 48.0 %"):
        assert figure in said


def test_pdfs_that_grobid_did_not_read_are_on_the_page() -> None:
    page = parsed(render("demo", changed("read", {"pdfs_without_grobid": {"guidelines": 4321}})))
    assert "PDFs of guidelines that GROBID did not read 4,321" in words(section(page, "read"))


def test_the_figures_of_the_manifests_are_on_the_page(page: Any) -> None:
    steps = by_step(manifests())
    mix = words(section(page, "mixture"))
    for row in steps["mix"].figures["mixture"]:
        for name in ("train_documents", "validation_documents", "train_tokens", "validation_tokens"):
            assert f"{row[name]:,}" in mix
    dedup = words(section(page, "dedup"))
    assert "18 × 5" in dedup
    assert "174 documents have no duplicate" in dedup
    assert "that are to be English, before others were dropped: en 227, es 1, fr 2." in words(section(page, "clean"))
    assert "4,183 3,120 0 0.0 %" in words(section(page, "decontaminate"))
    pretrain = words(section(page, "pretrain"))
    for figure in ("1,475,712", "122,880", "861", "resumed", "abstracts 8.350 4.129 62.1"):
        assert figure in pretrain
    export = words(section(page, "export"))
    for figure in ("5.3e-06", "0.0001", "100.00 %", *steps["export"].figures["files"].values()):
        assert figure in export
    assert "MedMCQA 200 49 24.5 % 19.1 % to 30.9 % 25.0 % 34.0 % 200 24.5 %" in words(section(page, "evaluate"))
    provenance = words(section(page, "provenance"))
    for one in steps.values():
        assert one.fingerprint in provenance
        assert all(version in provenance for version in one.versions.values())


def test_the_questions_found_are_on_the_page_by_benchmark_and_corpus() -> None:
    of = {"questions": 1_273, "searched": 1_200, "hit": 300, "hit_by_source": {"papers": 251, "replay": 77}}
    found = section(parsed(render("demo", changed("decontaminate", {"benchmarks": {"medqa": of}}))), "decontaminate")
    (row,) = found.xpath(".//tr[th = 'medqa']")
    (head,) = row.xpath("ancestor::table/thead/tr")
    cells = {words(name): words(cell) for name, cell in zip(head, row, strict=True)}
    assert cells.pop("benchmark") == "medqa"
    assert cells == {
        "questions": "1,273",
        "searched for": "1,200",
        "found": "300",
        "of those searched": "25.0 %",
        "in abstracts": "0",
        "in guidelines": "0",
        "in papers": "251",
        "in replay": "77",
    }


def test_the_page_has_scores_on_all_and_on_clean_questions() -> None:
    (row,) = (r for r in by_step(manifests())["evaluate"].figures["benchmarks"] if r["title"] == "MedMCQA")
    row = row | {"clean_questions": 150, "clean_accuracy": 0.3}
    said = words(section(parsed(render("demo", changed("evaluate", {"benchmarks": [row]}))), "evaluate"))
    assert "MedMCQA 200 49 24.5 % 19.1 % to 30.9 % 25.0 % 34.0 % 150 30.0 %" in said
    assert "questions too short to be searched for (see decontaminate ) count as clean" in said


def test_the_loss_curve_has_a_point_for_every_step(page: Any) -> None:
    (picture,) = section(page, "pretrain").xpath(".//svg[starts-with(@aria-label, 'Training loss')]")
    assert picture.get("aria-label") == "Training loss by step from 8.126 to 3.918"
    (line,) = picture.xpath("path[contains(@class, 'line')]/@d")
    assert len(line.split("L")) == 60


def test_hostile_names_are_text_and_nothing_else() -> None:
    evil = json.dumps(EVIL)[1:-1]
    written = FILE.read_text(encoding="utf-8")
    for name in ("guidelines", "MedMCQA", "medmcqa", "Apache-2.0", "near_duplicate", "sample-qa", "who", "en"):
        written = written.replace(f'"{name}"', f'"{evil}{name}"')
    made = render(EVIL, manifests(written))
    assert "<script" not in made
    made.encode("utf-8")
    assert "\u202e" not in made
    assert "\x00" not in made
    page = parsed(made)
    assert not page.xpath("//script")
    assert words(page.xpath("//h1")[0]).startswith("<script>alert('x')</script> & \"q\"")
    assert any("</script>" in label for label in page.xpath("//svg/@aria-label"))


def test_only_known_keys_of_a_config_are_shown_and_no_password() -> None:
    secret = {"threshold": 0.8, "hub_token": "hf_secret", "prefer": ["s3://user:hunter2@bucket/x"]}
    (one,) = (one for one in changed("dedup", config=secret) if one.step == "dedup")
    shown = config(one)
    assert "threshold: 0.8" in shown
    assert "s3://bucket/x" in shown
    assert "# 1 more, not shown" in shown
    assert "secret" not in shown
    assert "hub_token" not in shown
    assert "hunter2" not in shown


def test_a_source_without_documents_is_in_the_mixture_and_in_no_account() -> None:
    *rows, total = by_step(manifests())["mix"].figures["mixture"]
    empty = {name: 0 if isinstance(value, int) else 0.0 for name, value in rows[0].items()} | {"source": "textbooks"}
    figures = {"mixture": [*rows, empty, total]}
    made = [
        one.model_copy(update={"figures": one.figures | figures}) if one.step in ("mix", "shard") else one
        for one in manifests()
    ]
    page = parsed(render("demo", made))
    assert "textbooks 0 0 0 0 0.0 % 0.0 % 0.00" in words(section(page, "mixture"))
    one = changed("read", accounts=manifests()[0].accounts | {"textbooks": Account()})[0]
    assert ledger(one).columns == ["abstracts", "guidelines", "papers", "replay"]


def test_a_benchmark_without_answers_has_dashes() -> None:
    row: dict[str, Any] = {
        "questions": 0,
        "correct": 0,
        "accuracy": None,
        "low": 0.0,
        "high": 1.0,
        "chance": None,
        "majority": None,
    }
    row |= {"clean_questions": 0, "clean_accuracy": None, "cut": 0, "predicted": {}}
    rows = [by_step(manifests())["evaluate"].figures["benchmarks"][0] | row]
    page = parsed(render("demo", changed("evaluate", {"benchmarks": rows}, accounts={})))
    assert "Sample QA – no question answered" in words(page.xpath("//header")[0])
    assert "Sample QA 0 0 – – – – 0 – 0 no question answered" in words(section(page, "evaluate"))


@pytest.mark.parametrize("validation", [[], [{"step": 0, "losses": {}}]])
def test_a_run_without_validation_says_so(validation: list[Any]) -> None:
    page = parsed(render("demo", changed("pretrain", {"validation": validation})))
    assert "Validation loss – not measured" in words(page.xpath("//header")[0])
    assert "No validation loss was measured" in words(section(page, "pretrain"))


def test_losses_that_are_not_finite_leave_gaps_and_dashes() -> None:
    nan = float("nan")
    losses = [{"step": step, "loss": nan, "lr": 1e-3, "grad_norm": nan, "seconds": 1.0} for step in range(1, 9)]
    figures = {"losses": losses, "validation": [{"step": 0, "losses": {"papers": nan}}], "resumed_from": []}
    pretrain = section(parsed(render("demo", changed("pretrain", figures))), "pretrain")
    assert "papers – – –" in words(pretrain)
    assert "nan" not in words(pretrain)
    assert "no data" in words(pretrain)


def test_a_run_that_read_nothing_has_a_page() -> None:
    empty = [one.model_copy(update={"accounts": {}}) for one in manifests()]
    page = parsed(render("demo", empty))
    assert "Nothing was read." in words(section(page, "way"))
    assert "Nothing entered this step." in words(section(page, "dedup"))


def test_a_corpus_without_duplicates_has_no_plot_of_clusters() -> None:
    page = parsed(render("demo", changed("dedup", {"clusters_by_size": {"1": 5}})))
    assert "No cluster of duplicates: 5 documents stand alone." in words(section(page, "dedup"))


def test_the_page_says_how_many_documents_the_policies_differ_in() -> None:
    figures = {"only_transitive_removes": 1_234}
    said = words(section(parsed(render("demo", changed("dedup", figures))), "dedup"))
    assert "would remove 1,234 more" in said
    (one,) = (one for one in manifests() if one.step == "dedup")
    made = render("demo", changed("dedup", figures, config=one.config | {"policy": "transitive"}))
    said = words(section(parsed(made), "dedup"))
    assert "one document of every chain of near-duplicates stayed" in said
    assert "would keep 1,234 more" in said


def test_earlier_corpora_are_on_the_page_where_there_were_any(page: Any) -> None:
    assert "earlier corpora" not in words(section(page, "dedup"))
    figures = {"earlier": {"documents": 54_321, "removed_for": 1_234}}
    said = words(section(parsed(render("demo", changed("dedup", figures))), "dedup"))
    assert "documents of earlier corpora 54,321" in said
    assert "removed for one of those 1,234" in said


def test_the_validation_loss_is_weighted_by_tokens() -> None:
    steps = by_step(manifests())
    last = steps["pretrain"].figures["validation"][-1]["losses"]
    tokens = {row["source"]: row["validation_tokens"] for row in steps["mix"].figures["mixture"]}
    wanted = sum(last[name] * tokens[name] for name in last) / sum(tokens[name] for name in last)
    assert validation_loss(steps, -1) == pytest.approx(wanted)
    unknown = by_step(changed("pretrain", {"validation": [{"step": 1, "losses": {"x": 2.0, "y": 4.0}}]}))
    assert validation_loss(unknown, -1) == 3.0


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.26, 0.4, "above chance"),
        (0.1, 0.24, "below chance"),
        (0.2, 0.3, "not distinguishable from chance"),
    ],
)
def test_a_score_is_held_against_chance(low: float, high: float, said: str) -> None:
    assert verdict({"accuracy": 0.3, "low": low, "high": high, "chance": 0.25}) == said


def test_one_licence_counts_only_where_all_documents_are_free() -> None:
    steps = by_step(manifests())
    assert licences(steps).only is None
    kept = {source: one.kept for source, one in steps["clean"].accounts.items()}
    named = {"licenses": {source: {"MIT": count} for source, count in kept.items()}, "redistributable": kept}
    assert licences(by_step(changed("clean", named))).only == "MIT"
    named["redistributable"] = kept | {"papers": 0}
    assert licences(by_step(changed("clean", named))).only is None


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
    ("low", "high", "wanted"),
    [(0, 60, [0, 20, 40, 60]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (4.1, 8.6, [4, 5, 6, 7, 8, 9]), (2, 2, None)],
)
def test_ticks_are_round_and_cover_the_values(low: float, high: float, wanted: list[float] | None) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) >= 2
    if wanted:
        assert found == pytest.approx(wanted)


def test_numbers_are_written_as_people_read_them() -> None:
    written = [numbers.compact(value) for value in (0, 999, 999_600, 1_475_712, 46.7e9, None, float("nan"))]
    assert [one.replace("\u00a0", " ") for one in written] == ["0", "999", "1 M", "1.48 M", "46.7 B", "–", "–"]
    assert numbers.duration(59.94) == "59.9 s"
    assert numbers.duration(316.2) == "5 min 16 s"
    assert numbers.duration(50_580) == "14 h 3 min"
    assert numbers.size(912_345) == "912.3 kB"
    assert numbers.perplexity(1e6) == "–"


def test_markdown_shows_hostile_text_as_it_is() -> None:
    assert text.markdown("a|b\n# c <b>*d*</b> [e](f)") == r"a\|b \# c &lt;b&gt;\*d\*&lt;/b&gt; \[e\](f)"
    assert text.code("a`b|``c") == r"``` a`b\|``c ```"
