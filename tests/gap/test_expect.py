"""What `gap plan` reckons with, and what it makes of it; no engine."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table1
from gap.config import Config
from gap.estimates import efforts, shards, spark_cores, vocabulary
from gap.expect import BYTES_PER_TOKEN, look_ahead, shortfalls
from gap.forecast import page, rounded
from gap.plan import plan
from gap.raw import ANSWERS, QUESTIONS, RAW, missing
from lake.config import load
from lake.error import UserError
from lake.step import Account, Outcome, Step
from mixing.mixture import Amount, Budget, MixSettings, forecast, mixture_table
from train.flops import flops_per_token

ROOT = Path(__file__).resolve().parents[2]
WHOLE = str(ROOT / "configs" / "gap-replay.yaml")
DEMO = str(ROOT / "configs" / "demo.yaml")
SAMPLES = f"data={ROOT / 'samples'}"
SITES = [
    f"read.inputs.{number}.site={ROOT}/samples/sites/example-{name}.yaml"
    for number, name in enumerate(("clinic", "society", "institute", "agency"))
]
EXPECTED = (
    "expected={guidelines: {documents: 1000, tokens: 90_000}, papers: {documents: 100, tokens: 800_000}, "
    "abstracts: {documents: 500, tokens: 100_000}, replay: {documents: 50, tokens: 40_000}}"
)


def config(file: str, lake: Path, *overrides: str) -> Config:
    given = [f"lake={lake}", *([*SITES, SAMPLES] if file == DEMO else [f"data={lake}"]), *overrides]
    return load(file, given, Config)


def foreseen(given: Config) -> Any:
    absent = missing(given)
    steps = plan(given, {files.part for files in absent})
    return steps, look_ahead(given, steps, frozenset(files.name for files in absent if files.part == RAW)), absent


def printed(given: Config) -> list[str]:
    return "\n".join(page(given, *foreseen(given))).replace("\u00a0", " ").splitlines()


def finish(step: Step, **figures: Any) -> None:
    """Mark a step as done with three documents of papers and one of guidelines."""
    accounts = {"guidelines": Account.of(1), "papers": Account.of(3)}
    step.complete(lambda: Outcome(accounts, figures))


# The full mix --------------------------------------------------------------------------------------------------------


def test_the_full_mix_is_planned_without_its_data(tmp_path: Path) -> None:
    given = config(WHOLE, tmp_path)
    lines = [line.replace(str(tmp_path), "/data/lake") for line in printed(given)]
    assert max(map(len, lines)) <= 120
    text = "\n".join(lines)
    assert "crawl/aafp/*.warc.gz and 15 more" in text
    assert "not counted" in text
    assert "Every budget can be met" in text
    table = {cells[0]: cells[1:] for line in lines if len(cells := re.split(r" {2,}", line)) == 9}
    assert table["guidelines"] == ["41.1 K", "2,164", "107 M", "5.65 M", "5.0 %", "0.2 %", "1.00", "3"]
    assert table["abstracts"] == ["15.7 M", "486 K", "5.48 B", "170 M", "3.0 %", "11.7 %", "1.00", "57"]
    assert table["papers"] == ["4.89 M", "151 K", "40.7 B", "1.26 B", "3.0 %", "87.1 %", "1.00", "420"]
    assert table["replay"] == ["494 K", "0", "420 M", "0", "0.0 %", "0.9 %", "1.00", "5"]
    assert table["total"] == ["21.1 M", "639 K", "46.7 B", "1.43 B", "2.9 %", "100.0 %", "1.00", "485"]
    assert list(tmp_path.iterdir()) == []
    # A fingerprint that a run will not have is not shown.
    assert not re.search(r"\b[0-9a-f]{12}\b", text)


def test_the_full_mix_has_the_papers_recipe(tmp_path: Path) -> None:
    given = config(WHOLE, tmp_path)
    recipe = given.pretrain
    assert recipe.model.parameters(32_000) == 6_738_415_616
    assert recipe.tokens == pytest.approx(48e9, rel=0.001)
    assert recipe.parallel.workers == 64
    steps, known, _ = foreseen(given)
    found = efforts(given, steps, known)["pretrain"]
    flops = flops_per_token(recipe.model, vocabulary(given, steps), recipe.sequence) * recipe.tokens
    assert found.gpu_seconds == pytest.approx(flops / (0.431 * 312e12))
    assert found.gpu_seconds / 3600 == pytest.approx(4_091, rel=0.001)
    assert found.seconds == pytest.approx(found.gpu_seconds / 64)
    assert found.core_seconds == 0


def recipe_lines(name: str, lake: Path, *overrides: str) -> list[str]:
    lines = printed(config(str(ROOT / "configs" / f"{name}.yaml"), lake, *overrides))
    lines = [line.replace(str(lake), "/data/lake") for line in lines]
    assert max(map(len, lines)) <= 120
    joined = "\n".join(lines).replace("\n  ", " ").splitlines()
    return [line for line in joined if line.startswith("The step pretrain")]


def test_a_plan_tells_parameters_tokens_steps_memory_and_speed(tmp_path: Path) -> None:
    reads, trains, speed = recipe_lines("meditron-70b", tmp_path)
    assert reads.endswith("reads 48.2 B tokens, 1.03 times the mixture, in 23,000 steps of 2.1 M.")
    assert "trains 69 B weights, with 37.9 GB on the fullest of 128 A100-80GB: weights 2.21 GB, " in trains
    assert "gradients 4.41 GB, optimizer 6.62 GB, activations 24.7 GB (2.32 GB with recompute: full)." in trains
    assert speed.endswith("reads 40.2 K tokens/s on 128 A100-80GB, by the MEDITRON paper's speed: an MFU of 43 %.")


def test_recomputation_trades_time_for_memory(tmp_path: Path) -> None:
    _, memory, speed = recipe_lines("meditron-70b", tmp_path, "pretrain.recompute=full")
    assert "activations 2.32 GB (24.7 GB with recompute: none)" in memory
    assert "reads 30.1 K tokens/s" in speed
    assert "MFU of 32 %" in speed


def test_workers_on_cpus_have_no_speed_of_a_gpu(tmp_path: Path) -> None:
    _, memory = recipe_lines("demo", tmp_path)
    assert "trains 1.26 M weights, with 1" in memory
    assert "MB on 1 worker: weights 5.05 MB" in memory


def test_the_ids_of_a_tokenizer_to_come_are_expected(tmp_path: Path) -> None:
    whole = str(ROOT / "configs" / "llama-3-8b.yaml")
    given = config(whole, tmp_path)
    steps, _, _ = foreseen(given)
    assert vocabulary(given, steps) == 128_272
    assert given.pretrain.model.parameters(128_256) == 8_030_261_248
    other = config(whole, tmp_path, "expected_vocabulary=100")
    fingerprints = ({name: step.fingerprint for name, step in foreseen(one)[0].items()} for one in (given, other))
    assert next(fingerprints) == next(fingerprints)


def test_every_site_is_crawled_and_read(tmp_path: Path) -> None:
    given = config(WHOLE, tmp_path)
    assert given.crawl is not None
    known = sorted(path.stem for path in (ROOT / "ingest" / "sites").glob("*.yaml"))
    assert sorted(given.crawl.sites) == known
    assert sorted(one.site for one in given.read.inputs if one.format == "warc") == known  # type: ignore[union-attr]


# What is reckoned with -----------------------------------------------------------------------------------------------


def test_expected_figures_change_no_fingerprint(tmp_path: Path) -> None:
    plain, expecting = (plan(config(DEMO, tmp_path, *more)) for more in ((), (EXPECTED,)))
    assert {name: step.fingerprint for name, step in plain.items()} == {
        name: step.fingerprint for name, step in expecting.items()
    }


def test_a_source_without_expectation_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected: no entry for papers, which read\.inputs has"):
        config(DEMO, tmp_path, "expected={guidelines: {documents: 1, tokens: 5}}")


def test_without_expectation_tokens_are_estimated_from_raw_bytes(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path)
    steps, known, absent = foreseen(given)
    assert (known.origin, absent) == ("estimated", [])
    assert {source: one.tokens > 100 for source, one in known.held.items()} == dict.fromkeys(known.held, True)
    assert sum(one.size for one in known.raw.values()) == sum(
        path.stat().st_size
        for one in given.read.inputs
        for pattern in one.paths
        for path in Path(given.data).glob(pattern)
    )
    text = "\n".join(printed(given))
    assert "estimated at" in text
    assert all(step.fingerprint in text for step in steps.values())


def test_only_what_is_missing_is_expected(tmp_path: Path) -> None:
    """Benchmarks that lack keep no one from seeing that the raw files are there."""
    given = config(DEMO, tmp_path, EXPECTED, "evaluate.benchmarks=[{task: sample-qa}, {task: medmcqa}]")
    steps, known, absent = foreseen(given)
    assert [(files.name, files.part) for files in absent] == [("medmcqa", QUESTIONS)]
    assert known.origin == "expected"
    assert known.raw["papers"].size < 10**6
    lines = {cells[0]: cells for line in printed(given) if (cells := re.split(r" {2,}", line))}
    shown = {name for name in steps if lines[name][-1] == steps[name].fingerprint}
    assert shown == {"read", "clean", "tokenizer", "dedup"}


def test_instructions_that_are_missing_are_expected_too(tmp_path: Path) -> None:
    answers = "instructions={inputs: [{paths: [nowhere.jsonl]}]}"
    with pytest.raises(UserError, match=r"instructions\.inputs\.0\.paths: no file matches"):
        plan(config(DEMO, tmp_path, answers))
    planned = config(DEMO, tmp_path, EXPECTED, answers)
    steps, _, absent = foreseen(planned)
    assert [(files.part, files.paths) for files in absent] == [(ANSWERS, ("nowhere.jsonl",))]
    assert {name for name, step in steps.items() if not step.settled} == {"instruct", "report"}
    assert any(line.startswith("instruct ") for line in printed(planned))


def test_counted_tokens_come_before_expected_ones(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path, EXPECTED)
    steps = plan(given)
    for name in ("read", "clean"):
        finish(steps[name])
    finish(steps["tokenizer"], tokens_by_source={"guidelines": 400, "papers": 6000}, vocab_size=2048)
    _, known, _ = foreseen(given)
    assert known.origin == "counted"
    # Each document has its end.
    assert known.held == {"guidelines": Amount(1, 401), "papers": Amount(3, 6003)}
    assert known.mixture == forecast(given.mix, known.held)
    found = efforts(given, steps, known)
    assert (found["read"].done, found["read"].core_seconds, found["dedup"].done) == (True, 0, False)
    size_of_read = sum(path.stat().st_size for path in steps["read"].output.local().rglob("*") if path.is_file())
    assert found["read"].size == size_of_read > 0


def test_the_table_of_mix_comes_before_all(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path, EXPECTED)
    steps = plan(given)
    for name in ("read", "clean"):
        finish(steps[name])
    finish(steps["tokenizer"], tokens_by_source={"guidelines": 400, "papers": 6000}, vocab_size=2048)
    table = mixture_table({("papers", "train"): Amount(2, 777)}, {"papers": Budget(5000, 900, 777)})
    for name in ("dedup", "decontaminate"):
        finish(steps[name])
    finish(steps["mix"], mixture=table)
    _, known, _ = foreseen(given)
    assert (known.origin, known.mixture) == ("planned", table)
    text = "\n".join(printed(given))
    assert "as the step mix selected it" in text
    assert "mix.sources.papers: 123 of the 900 tokens asked for are missing (13.7 %)" in text


# Budgets that cannot be met ------------------------------------------------------------------------------------------


def test_a_budget_that_cannot_be_met_says_by_how_much_and_what_helps() -> None:
    sources: dict[str, Any] = {"a": {}, "b": {"tokens": 250}, "c": {"ratio": 0.5}, "d": {"tokens": 9}}
    held = {"a": Amount(1, 100), "b": Amount(1, 200), "c": Amount(1, 100)}
    mix = MixSettings.model_validate({"sources": sources})
    b, c, d = shortfalls(mix, forecast(mix, held))
    assert b.startswith("mix.sources.b: 50 of the 250 tokens asked for are missing (20.0\u00a0%);")
    assert c.startswith("mix.sources.c: 200 of the 300 tokens that ratio 0.5 asks for are missing (66.7\u00a0%);")
    assert d.startswith(
        "mix.sources.d: 9 of the 9 tokens asked for are missing (100.0\u00a0%), because the source has none;"
    )
    assert d.endswith("leave it out with 'mix.sources.d={tokens: 0}'"), "which holds for a source with a ratio, too"


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_said_to_help_does(which: int) -> None:
    """More epochs, or to ask for less."""
    sources: dict[str, Any] = {"a": {"validation": 0.1}, "b": {"tokens": 12_345}, "c": {"ratio": 0.31}}
    held = {"a": Amount(7, 70_001), "b": Amount(3, 7_777), "c": Amount(9, 1_234)}
    mix = MixSettings.model_validate({"sources": sources})
    while lines := shortfalls(mix, forecast(mix, held)):
        key, value = re.findall(r"mix\.sources\.(\S+)=([\d.]+)", lines[0])[which]
        source, setting = key.split(".")
        changed = {name: dict(one) for name, one in sources.items()}
        changed[source][setting] = float(value)
        sources = changed
        mix = MixSettings.model_validate({"sources": sources})
        assert not any(line.startswith(f"mix.sources.{source}:") for line in shortfalls(mix, forecast(mix, held)))
    assert sources["b"] != {"tokens": 12_345}
    assert sources["c"] != {"ratio": 0.31}


def test_a_run_says_it_by_the_tokens_counted(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path, "mix.sources.papers={tokens: 9_000}")
    steps = plan(given)
    for name in ("read", "clean"):
        finish(steps[name])
    finish(steps["tokenizer"], tokens_by_source={"guidelines": 400, "papers": 6000})
    known = look_ahead(given, steps, frozenset())
    assert known.origin == "counted"
    first, *others = shortfalls(given.mix, known.mixture)
    assert first.startswith("mix.sources.papers: 2,997 of the 9,000 tokens asked for are missing (33.3\u00a0%)")
    # Replay has no tokens at all here.
    assert [line.split(":")[0] for line in others] == ["mix.sources.replay"]


# Time and storage ----------------------------------------------------------------------------------------------------


def test_more_cores_take_less_time_for_the_same_work(tmp_path: Path) -> None:
    found = []
    for cores in (8, 16):
        given = config(WHOLE, tmp_path, f"ray.cpus={cores}", f"spark.master=local[{cores}]")
        steps, known, _ = foreseen(given)
        found.append(efforts(given, steps, known))
    eight, sixteen = found
    for name in ("read", "clean", "tokenizer", "dedup", "decontaminate", "mix", "shard"):
        assert eight[name].core_seconds == sixteen[name].core_seconds > 0
        work = eight[name].core_seconds
        assert eight[name].seconds - sixteen[name].seconds == pytest.approx(work / 16)  # type: ignore[operator]


def test_work_grows_with_the_corpus(tmp_path: Path) -> None:
    figures = (("documents", table1.DOCUMENTS), ("tokens", table1.TOKENS))
    twice = [f"expected.{one}.{key}={2 * round(many[one])}" for key, many in figures for one in many]
    found = []
    for more in ([], twice):
        given = config(WHOLE, tmp_path, *more)
        steps, known, _ = foreseen(given)
        found.append(efforts(given, steps, known))
    for name in ("clean", "tokenizer", "dedup", "decontaminate", "mix", "shard"):
        assert found[1][name].core_seconds == pytest.approx(2 * found[0][name].core_seconds, rel=0.001)
        assert found[1][name].size == pytest.approx(2 * found[0][name].size, rel=0.001)  # type: ignore[operator]


def test_a_token_takes_two_bytes_or_four_by_the_vocabulary(tmp_path: Path) -> None:
    sizes = []
    for ids in (32_000, 70_000):
        given = config(WHOLE, tmp_path, f"tokenizer={{train: {{vocab_size: {ids}}}}}")
        steps, known, _ = foreseen(given)
        sizes.append(efforts(given, steps, known)["shard"].size)
    tokens = sum(known.mixture[-1][f"{split}_tokens"] for split in ("train", "validation"))
    assert sizes[1] - sizes[0] == 2 * tokens  # type: ignore[operator]


def test_shards_hold_at_most_so_many_tokens(tmp_path: Path) -> None:
    given = config(WHOLE, tmp_path, "shard.tokens=50_000_000")
    _, known, _ = foreseen(given)
    assert shards(given, known) == {"abstracts": 110 + 4, "guidelines": 3 + 1, "papers": 814 + 26, "replay": 9}


def test_a_cpu_recipe_has_no_gpu_time(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path)
    steps, known, _ = foreseen(given)
    found = efforts(given, steps, known)
    assert not any(one.gpu_seconds for one in found.values())
    assert found["pretrain"].core_seconds > 10


@pytest.mark.parametrize(
    ("spark", "cores"),
    [
        ("{master: 'local[3]'}", 3),
        ("{master: local}", 1),
        ("{master: 'local[*]'}", os.cpu_count()),
        ("{master: yarn}", None),
        ("{master: yarn, options: {spark.executor.instances: '6', spark.executor.cores: '4'}}", 24),
    ],
)
def test_sparks_cores_are_those_of_the_config(spark: str, cores: int | None, tmp_path: Path) -> None:
    assert spark_cores(config(DEMO, tmp_path, f"spark={spark}")) == cores


def test_the_size_of_a_cluster_is_not_made_up(tmp_path: Path) -> None:
    given = config(DEMO, tmp_path, "ray.address=auto")
    steps, known, _ = foreseen(given)
    found = efforts(given, steps, known)
    assert found["read"].seconds is None
    assert found["clean"].seconds is not None
    lines = printed(given)
    assert any(
        line.startswith("Still to run") and line.endswith("on as many cores as the cluster has.") for line in lines
    )


def test_raw_files_to_come_are_as_large_as_is_said(tmp_path: Path) -> None:
    _, known, _ = foreseen(config(WHOLE, tmp_path))
    assert known.raw["papers"].size == 165e9
    # Of guidelines nothing is said: more than their text, packed.
    assert known.raw["guidelines"].size > 113e6 * BYTES_PER_TOKEN / 3.2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10 K"),
        (41_120, "41.1 K"),
        (999_499, "999 K"),
        (999_999, "1 M"),
        (46_680_024_218, "46.7 B"),
    ],
)
def test_counts_are_rounded_as_tables_have_them(number: int, text: str) -> None:
    assert rounded(number).replace("\u00a0", " ") == text
