"""The report step: three files from manifests alone, and cards that the Hub's own parser takes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from dedup.decontaminate import DecontaminateSettings
from dedup.settings import DedupSettings
from eval.questions import EvaluateSettings
from eval.report import KNOWN
from eval.summary import by_step
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings
from lake.config import Settings
from lake.step import Manifest, Step
from mixing.mixture import MixSettings
from mixing.shards import ShardSettings
from mixing.tokenizer.build import TokenizerSettings
from ray_jobs.cards import dataset_card, model_card, report, size_category
from train.convert import ExportSettings
from train.recipe import Recipe

FILE = Path(__file__).parents[1] / "manifests.json"
WRITTEN = FILE.read_text(encoding="utf-8")
EVIL = "<script>alert(1)</script>\n---\nlicense: mit\n|`*x*` \ud800\x00"


def manifests(written: str = WRITTEN) -> dict[str, Manifest]:
    return by_step([Manifest.model_validate(one) for one in json.loads(written)])


def changed(step: str, figures: dict[str, Any], **fields: Any) -> dict[str, Manifest]:
    steps = manifests()
    update = {"figures": steps[step].figures | figures, **fields}
    return steps | {step: steps[step].model_copy(update=update)}


def configured(step: str, figures: dict[str, Any], **keys: Any) -> dict[str, Manifest]:
    """The run with some keys of a step's config and some of its figures replaced."""
    return changed(step, figures, config=manifests()[step].config | keys)


def plain(card: str) -> str:
    """On one line, without hard blanks."""
    return " ".join(card.split())


def all_under(licence: str) -> dict[str, Manifest]:
    """The run with every document free and under one licence."""
    kept = {source: one.kept for source, one in manifests()["clean"].accounts.items()}
    licenses = {source: {licence: count} for source, count in kept.items()}
    return changed("clean", {"licenses": licenses, "redistributable": kept})


def table(card: str, first: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins with `first`, by their first cell."""
    lines = card.replace("\u00a0", " ").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
        rows[name] = cells
    return rows


def test_the_step_writes_page_and_cards_and_tells_their_digests(tmp_path: Path) -> None:
    made = []
    for folder in ("one", "two"):
        step = Step("report", "python", 1, {"name": "demo"}, str(tmp_path / folder))
        digests = report(step, "demo", list(manifests().values())).figures["files"]
        assert set(digests) == {"report.html", "dataset_card.md", "model_card.md"}
        for file, digest in digests.items():
            assert hashlib.sha256(step.output.read_bytes(file)).hexdigest() == digest
        made.append(digests)
    assert made[0] == made[1]


def test_the_dataset_card_is_one_for_the_hub() -> None:
    card = DatasetCard(dataset_card("demo", manifests()))
    assert card.data.language == ["en"]
    assert card.data.license == "other"
    assert card.data.license_name == "mixed-see-sources"
    assert card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["text-generation"]
    for title in ("Mixture", "Sources and licences", "Processing", "Splits", "How to load", "Limits", "Personal and"):
        assert f"\n## {title}" in card.text


def test_the_dataset_card_has_the_numbers_of_the_manifests() -> None:
    steps = manifests()
    card = dataset_card("demo", steps)
    for row in steps["mix"].figures["mixture"][:-1]:
        shown = table(card, "corpus")[row["source"]]
        names = ("train_documents", "validation_documents", "train_tokens", "validation_tokens")
        assert shown[:4] == [f"{row[name]:,}" for name in names]
    processing = table(card, "step")
    assert processing["dedup"][:2] == ["223", "199"]
    assert processing["dedup"][2] == r"exact\_duplicate 3, id\_duplicate 14, near\_duplicate 7"
    assert table(card, "benchmark")["sample-qa"] == ["41", "38", "2"]
    assert table(card, "split") == {
        "split": ["documents with copies", "tokens"],
        "---": ["---:", "---:"],
        "train": ["172", "112,427"],
        "validation": ["8", "7,364"],
    }
    assert "Not every document may be redistributed" in card
    assert "| papers | 17 | 14 | CC-BY-4.0 (14), CC-BY-NC (2), unknown (1) |" in card


def test_the_dataset_card_tells_epochs_and_upsampling() -> None:
    card = dataset_card("demo", manifests())
    assert table(card, "corpus")["replay"][-1] == "0.08"
    assert table(card, "upsampled corpus")["papers"] == [
        "16",
        "0",
        "6 in 1 copy, 7 in 2 copies, 3 in 3 copies",
        "1.81",
        "21,093",
        "40,867",
        "1.94",
        "2023-07",
    ]
    told = manifests()["mix"].figures["upsampling"]["papers"] | {"documents": {"0": 10, "1": 4, "2": 2}}
    filtered = dataset_card("demo", changed("mix", {"upsampling": {EVIL: told}}))
    (row,) = (
        cells for name, cells in table(filtered.replace("\\|", "/"), "upsampled corpus").items() if "script" in name
    )
    assert row[:4] == ["16", "10", "4 in 1 copy, 2 in 2 copies", "1.33"]
    assert "<script" not in filtered
    assert "Upsampling" not in dataset_card("demo", changed("mix", {"upsampling": {}}))


MEDICAL = {source: {"characters": 2000, "min_probability": 0.5} for source in ("abstracts", "guidelines", "papers")}


@pytest.mark.parametrize(
    ("checked", "codes", "dataset", "model"),
    [
        (
            MEDICAL | {"replay": {}, "web": None},
            ["en"],
            "- Texts are English, as a model of languages takes them. -",
            "- It was trained on English; texts in other languages were dropped. -",
        ),
        (
            MEDICAL | {"replay": None},
            ["en", "und"],
            "- Texts of abstracts, guidelines, papers are English, as a model of languages takes them. "
            "The language of replay was not looked at. -",
            "- Of abstracts, guidelines, papers it was trained on English, texts in other languages were dropped; "
            "the language of replay was not looked at. -",
        ),
        (
            {"web": {}},
            ["und"],
            "- The language of the texts was not looked at. -",
            "- The language of the texts that it was trained on was not looked at. -",
        ),
    ],
)
def test_the_cards_claim_english_of_the_corpora_that_were_held_to_it(
    checked: dict[str, Any], codes: list[str], dataset: str, model: str
) -> None:
    steps = configured("clean", {}, language=checked)
    for card, said in (
        (DatasetCard(dataset_card("demo", steps)), dataset),
        (ModelCard(model_card("demo", steps)), model),
    ):
        assert card.data.language == codes
        assert said in plain(card.text)


def test_the_dataset_card_names_what_was_masked_by_corpus() -> None:
    nothing = plain(dataset_card("demo", manifests()))
    assert "No step searched for or removed personal information. " in nothing
    assert "masked" not in nothing
    masks = {"guidelines": ["email"], "papers": [], "replay": ["email", "phone"], "web": ["record"]}
    steps = configured("clean", {"masked": {"replay": {"phone": 1234}}}, mask=masks)
    card = dataset_card("demo", steps)
    assert "\n\n- guidelines: email 0\n- replay: email 0, phone 1,234\n\n" in card.replace("\u00a0", " ")
    assert "No step searched for or removed personal information of other kinds or in other corpora." in plain(card)


def test_the_dataset_card_says_what_a_sequence_is() -> None:
    assert "One document is one sequence." in dataset_card("demo", manifests())
    packed = plain(dataset_card("demo", configured("shard", {}, pack=2048)))
    assert "One document is one sequence." not in packed
    assert "cut into sequences of 2,048 tokens" in packed


def test_the_dataset_card_says_what_was_compared() -> None:
    card = plain(dataset_card("demo", manifests()))
    assert "and in guidelines pages of one site and title. MinHash" in card
    assert "earlier corpora" not in card
    figures = {"earlier": {"documents": 4321, "removed_for": 12}}
    card = plain(dataset_card("demo", configured("dedup", figures, titles=["web"])))
    assert "near-duplicates. MinHash" in card
    assert "compared with 4,321 documents of earlier corpora, too; 12 went for one of those." in card


def test_the_model_card_tells_the_passes_over_the_mixture() -> None:
    assert "Training took 122,880 tokens from it, 1.09 passes." in plain(model_card("demo", manifests()))


def test_the_model_card_is_one_for_the_hub_and_has_the_scores() -> None:
    card = ModelCard(model_card("demo", manifests()))
    assert card.data.library_name == "transformers"
    assert card.data.license == "other"
    results = {one.dataset_type: one for one in card.data.eval_results}
    assert results["openlifescienceai/medmcqa"].metric_value == 0.245
    assert results["sample-qa"].metric_value == 0.325
    scores = table(card.text, "benchmark")["MedMCQA"]
    assert scores[:5] == ["200", "24.5 %", "19.1 % to 30.9 %", "25.0 %", "34.0 %"]
    assert table(card.text, "validation")["**by tokens**"] == ["8.528", "4.307"]
    for said in ("5.3e-06", "AutoModelForCausalLM", "from vllm import LLM", "1,475,712", "betas | 0.9, 0.95"):
        assert said in card.text


def test_the_model_card_has_the_safety_advisory_before_all_else() -> None:
    card = model_card("demo", manifests())
    advisory = " ".join(card.replace("> ", "").split())
    assert "randomised controlled trials" in advisory
    assert "not a medical device" in advisory
    assert card.index("Medical safety advisory") < card.index("\n## ")


@pytest.mark.parametrize(
    ("licence", "shown", "name"),
    [("Apache-2.0", "apache-2.0", None), ("CC-BY-4.0", "cc-by-4.0", None), ("public-domain", "other", "public-domain")],
)
def test_one_free_licence_of_all_documents_is_that_of_the_cards(licence: str, shown: str, name: str | None) -> None:
    steps = all_under(licence)
    for card in (ModelCard(model_card("demo", steps)), DatasetCard(dataset_card("demo", steps))):
        assert card.data.license == shown
        assert card.data.get("license_name") == name
    assert "Every document may be redistributed, all under" in dataset_card("demo", steps)


def test_one_licence_that_is_not_known_is_none() -> None:
    assert ModelCard(model_card("demo", all_under("unknown"))).data.license == "other"


def test_hostile_names_neither_leave_their_cell_nor_the_head() -> None:
    evil = json.dumps(EVIL)[1:-1]
    written = WRITTEN
    for name in ("guidelines", "Sample QA", "medmcqa", "Apache-2.0", "openlifescienceai/medmcqa", "train-papers-00000"):
        written = written.replace(f'"{name}"', f'"{evil}{name}"')
    steps = manifests(written)
    for card in (ModelCard(model_card(EVIL, steps)), DatasetCard(dataset_card(EVIL, steps))):
        assert card.data.license == "other"
        assert "<script" not in card.text
        assert card.text.lstrip().startswith(r"# &lt;script&gt;alert(1)&lt;/script&gt; --- license: mit \|\`\*x\*\`")
        card.content.encode("utf-8")
        for line in card.text.splitlines():
            assert not line.startswith(("license:", "---"))
    rows = table(dataset_card(EVIL, steps).replace("\\|", "/"), "corpus")
    assert {len(cells) for cells in rows.values()} == {7}


def test_a_benchmark_without_answers_is_in_the_table_and_not_in_the_index() -> None:
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
    rows = [manifests()["evaluate"].figures["benchmarks"][0] | row]
    card = ModelCard(model_card("demo", changed("evaluate", {"benchmarks": rows}, accounts={})))
    assert card.data.eval_results is None
    assert table(card.text, "benchmark")["Sample QA"] == ["0", "–", "–", "–", "–", "–", "no question answered"]


def test_runs_without_validation_documents_or_losses_have_cards() -> None:
    steps = changed("pretrain", {"validation": [], "losses": []}, config={})
    assert "No validation loss was measured." in model_card("demo", steps)
    steps = {name: one.model_copy(update={"accounts": {}}) for name, one in manifests().items()}
    *_, total = steps["mix"].figures["mixture"]
    nothing = {name: 0 if isinstance(value, int) else value for name, value in total.items()}
    figures = steps["mix"].figures | {"mixture": [nothing], "missing_tokens": {"papers": 9}}
    steps["mix"] = steps["mix"].model_copy(update={"figures": figures})
    empty: dict[str, Any] = {"shards": [], "mixture": [nothing]}
    steps["shard"] = steps["shard"].model_copy(update={"figures": steps["shard"].figures | empty})
    card = DatasetCard(dataset_card("demo", steps))
    assert card.data.size_categories == ["n<1K"]
    assert "papers has 9 tokens fewer than the configuration asks for." in card.text
    ModelCard(model_card("demo", steps))


def test_nothing_of_the_environment_and_no_unknown_key_is_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_environment_secret")
    steps = manifests()
    steps["pretrain"] = steps["pretrain"].model_copy(
        update={"config": steps["pretrain"].config | {"hub_token": "hf_config_secret"}}
    )
    step = Step("report", "python", 1, {}, str(tmp_path))
    for file in report(step, "demo", list(steps.values())).figures["files"]:
        assert b"secret" not in step.output.read_bytes(file)


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        ("read", ReadSettings),
        ("clean", CleanSettings),
        ("tokenizer", TokenizerSettings),
        ("dedup", DedupSettings),
        ("decontaminate", DecontaminateSettings),
        ("mix", MixSettings),
        ("shard", ShardSettings),
        ("pretrain", Recipe),
        ("export", ExportSettings),
        ("evaluate", EvaluateSettings),
    ],
)
def test_the_report_knows_every_key_that_decides_a_steps_output(step: str, settings: type[Settings]) -> None:
    kept = {name for name, field in settings.model_fields.items() if not field.exclude}
    assert kept <= set(KNOWN[step])


@pytest.mark.parametrize(
    ("documents", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (21_100_000, "10M<n<100M"), (10**13, "n>1T")],
)
def test_sizes_are_the_hubs_categories(documents: int, category: str) -> None:
    assert size_category(documents) == category


def test_the_heads_are_plain_yaml() -> None:
    for card in (model_card("demo", manifests()), dataset_card("demo", manifests())):
        assert isinstance(yaml.safe_load(card.split("---\n")[1]), dict)
