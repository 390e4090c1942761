"""The report step: four files from manifests and answers, and cards that the Hub's own parser takes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from eval.summary import Run
from gap.cards import dataset_card, size_category
from gap.cards import model_card as card_of
from gap.report import FILES, REPORT, ReportSettings
from lake.config import Settings
from lake.step import Body, Kind, Outcome, Step
from tests.eval.paged import (
    changed,
    configured,
    renamed,
    run,
    unanswered,
    updated,
    with_second_model,
    with_tuned_model,
    without,
)
from tests.eval.saved import chosen, entry, save, searched

EVIL = "<script>alert(1)</script>\n---\nlicense: mit\n|`*x*` \ud800\x00"


def model_card(about: Run) -> str:
    """Of the first model."""
    return card_of(about, about.models[0])


def plain(card: str) -> str:
    """On one line, without hard blanks."""
    return " ".join(card.split())


def all_under(licence: str) -> Run:
    """The run with every document free and under one licence."""
    kept = {source: account.kept for source, account in run().steps["clean"].accounts.items()}
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


def report_step(folder: Path, about: Run) -> Step[ReportSettings]:
    """The step `report` in a lake with the manifests of a run."""
    before: dict[str, Step[Any]] = {}
    for manifest in about.manifests:
        body: Body[Any] = Body(lambda _: Outcome(), manifest.kind, manifest.engine, manifest.version)
        inputs = {"documents": before["clean"]} if manifest.kind is Kind.DECONTAMINATION else {}
        step = before[manifest.step] = Step(manifest.step, body, Settings(), str(folder), inputs)
        if step.kind is Kind.EVALUATION:
            save(step.output.local(), [entry()], [chosen(entry(), "1", "A", "B")])
        if step.kind is Kind.DECONTAMINATION:
            searched(step)
        step.output.write_json(manifest.model_dump(mode="json", by_alias=True), "manifest.json")
    return Step("report", REPORT, ReportSettings(name="demo"), str(folder), before)


def test_the_step_writes_page_and_cards_with_their_digests(tmp_path: Path) -> None:
    steps = [report_step(tmp_path / name, run()) for name in ("first", "second")]
    digests, again = (step.run().figures["files"] for step in steps)
    assert digests == again
    assert list(digests) == list(FILES) == ["report.html", "questions.html", "dataset_card.md", "model_card.md"]
    for name, digest in digests.items():
        assert hashlib.sha256(steps[0].output.read_bytes(name)).hexdigest() == digest
    assert b'"quoting": [["papers d1", "https://example.org/d1"]]' in steps[0].output.read_bytes("questions.html")


def test_no_document_quotes_a_question(tmp_path: Path) -> None:
    step = report_step(tmp_path, run())
    searched(step.inputs["decontaminate"], hits=0)
    step.run()
    assert b'"quoting": []' in step.output.read_bytes("questions.html")


def test_the_dataset_card_is_one_for_the_hub() -> None:
    card = DatasetCard(dataset_card(run()))
    assert card.data.language == ["en"]
    assert card.data.license == "other"
    assert card.data.license_name == "mixed-see-sources"
    assert card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["text-generation"]
    for title in ("Mixture", "Sources and licences", "Processing", "Splits", "How to load", "Limits", "Personal and"):
        assert f"\n## {title}" in card.text


def test_the_dataset_card_has_the_numbers_of_the_manifests() -> None:
    card = dataset_card(run())
    for row in run().mixture:
        shown = table(card, "corpus")[row["source"]]
        names = ("train_documents", "validation_documents", "train_tokens", "validation_tokens")
        assert shown[:4] == [f"{row[name]:,}" for name in names]
    processing = table(card, "step")
    assert processing["dedup"][:2] == ["223", "199"]
    assert processing["dedup"][2] == "`exact_duplicate` 3, `id_duplicate` 14, `near_duplicate` 7"
    assert table(card, "benchmark")["sample-qa"] == ["41", "38", "2"]
    assert table(card, "split") == {
        "split": ["documents with copies", "tokens"],
        "---": ["---:", "---:"],
        "train": ["172", "112,427"],
        "validation": ["8", "7,364"],
    }
    assert "Not every document may be redistributed" in card
    assert "| papers | 17 | 14 | CC-BY-4.0 (14), CC-BY-NC (2), unknown (1) |" in card


def test_the_dataset_card_has_epochs_and_upsampling() -> None:
    card = dataset_card(run())
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
    papers = run().steps["mix"].figures["upsampling"]["papers"] | {"documents": {"0": 10, "1": 4, "2": 2}}
    filtered = dataset_card(changed("mix", {"upsampling": {EVIL: papers}}))
    (row,) = (
        cells for name, cells in table(filtered.replace("\\|", "/"), "upsampled corpus").items() if "script" in name
    )
    assert row[:4] == ["16", "10", "4 in 1 copy, 2 in 2 copies", "1.33"]
    assert "<script" not in filtered
    assert "Upsampling" not in dataset_card(changed("mix", {"upsampling": {}}))


MEDICAL = {source: {"characters": 2000, "min_probability": 0.5} for source in ("abstracts", "guidelines", "papers")}


@pytest.mark.parametrize(
    ("checked", "codes", "dataset", "model"),
    [
        (
            MEDICAL | {"replay": {}, "web": None},
            ["en"],
            "- Texts are English, according to a language identifier. -",
            "- It was trained on English; texts in other languages were dropped. -",
        ),
        (
            MEDICAL | {"replay": None},
            ["en", "und"],
            "- Texts of abstracts, guidelines, papers are English, according to a language identifier. "
            "The language of replay was not checked. -",
            "- It was trained on English from abstracts, guidelines, papers; the language of replay was not checked. -",
        ),
        (
            {"web": {}},
            ["und"],
            "- The language of the texts was not checked. -",
            "- The language of its training texts was not checked. -",
        ),
    ],
)
def test_the_cards_claim_english_of_the_corpora_that_were_held_to_it(
    checked: dict[str, Any], codes: list[str], dataset: str, model: str
) -> None:
    steps = configured("clean", {}, language=checked)
    for card, sentence in (
        (DatasetCard(dataset_card(steps)), dataset),
        (ModelCard(model_card(steps)), model),
    ):
        assert card.data.language == codes
        assert sentence in plain(card.text)


def test_the_dataset_card_names_what_was_masked_by_corpus() -> None:
    nothing = plain(dataset_card(run()))
    assert "No step searched for or removed personal information. " in nothing
    assert "masked" not in nothing
    masks = {"guidelines": ["email"], "papers": [], "replay": ["email", "phone"], "web": ["record"]}
    steps = configured("clean", {"masked": {"replay": {"phone": 1234}}}, mask=masks)
    card = dataset_card(steps)
    assert "\n\n- guidelines: email 0\n- replay: email 0, phone 1,234\n\n" in card.replace("\u00a0", " ")
    assert "No step searched for personal information of other kinds or in other corpora." in plain(card)


def test_the_dataset_card_says_what_a_sequence_is() -> None:
    assert "One document is one sequence." in dataset_card(run())
    packed = plain(dataset_card(configured("shard", {}, pack=2048)))
    assert "One document is one sequence." not in packed
    assert "cut into sequences of 2,048 tokens" in packed


def test_the_dataset_card_says_what_was_compared() -> None:
    card = plain(dataset_card(run()))
    assert "and in guidelines pages of one site and title. MinHash" in card
    assert "earlier corpora" not in card
    figures = {"earlier": {"documents": 4321, "removed_for": 12}}
    card = plain(dataset_card(configured("dedup", figures, titles=["web"])))
    assert "near-duplicates. MinHash" in card
    assert "compared with 4,321 documents of earlier corpora, and 12 were removed as duplicates of those." in card


def test_the_model_card_tells_the_passes_over_the_mixture() -> None:
    assert "Training read 122,880 tokens from it, 1.09 passes." in plain(model_card(run()))


def test_the_model_card_is_one_for_the_hub_and_has_the_scores() -> None:
    card = ModelCard(model_card(run()))
    assert card.data.library_name == "transformers"
    assert card.data.license == "other"
    results = {result.dataset_type: result for result in card.data.eval_results}
    assert results["openlifescienceai/medmcqa"].metric_value == 0.245
    assert results["sample-qa"].metric_value == 0.325
    scores = table(card.text, "benchmark")["MedMCQA, strict letters 0-shot"]
    assert scores[:6] == ["200", "accuracy", "24.5 %", "19.1 % to 30.9 %", "25.0 %", "34.0 %"]
    assert table(card.text, "validation")["**by tokens**"][:2] == ["8.528", "4.307"]
    for text in ("5.3e-06", "AutoModelForCausalLM", "from vllm import LLM", "1,475,712", "`betas` | 0.9, 0.95"):
        assert text in card.text


def test_the_model_card_is_of_the_first_model_and_compares_all() -> None:
    card = ModelCard(model_card(with_second_model()))
    results = {result.dataset_name: result.metric_value for result in card.data.eval_results}
    assert results == {"Sample QA": 0.325, "MedMCQA": 0.245}, "the index claims no score of another model"
    assert "The run trained 2 models; this card is about `pretrain`." in plain(card.text)
    assert table(card.text, "validation")["**by tokens**"][:2] == ["8.528", "4.307"]
    text = card.text.replace("\u00a0", " ")
    assert "| pretrain | MedMCQA, strict letters 0-shot | 200 | accuracy | 24.5 % | 19.1 % to 30.9 % |" in text
    assert "| pretrain-slow | MedMCQA, strict letters 0-shot | 200 | accuracy | 50.0 % | 43.1 % to 56.9 % |" in text


def test_a_tuned_model_has_a_card_of_what_it_learned(tmp_path: Path) -> None:
    about = with_tuned_model()
    tuned = ModelCard(card_of(about, about.models[1]))
    assert tuned.data.license == "other"
    assert {"instruct", "conversational"} < set(tuned.data.tags or [])
    text = plain(tuned.text)
    assert "which gap-replay tuned to answer, by LoRA adapters" in text
    assert "Training started from `pretrain`, the model that this run trained on text" in text
    assert table(tuned.text, "input")["chat"] == ["42", "40", "`no_answer` 2"]
    assert "Of 4,000 tokens, 600 are in answers" in plain(text.replace("\u00a0", " "))
    assert "| adapters (LoRA) | rank 16, alpha 32 |" in text.replace("\u00a0", " ")
    assert "apply_chat_template" in text
    assert "It was not tuned" not in text
    first = model_card(about)
    assert "It was not tuned to follow instructions" in first
    assert "apply_chat_template" not in first
    files = report_step(tmp_path, about).run().figures["files"]
    assert list(files) == [*FILES, "model_card-finetune.md"]


def test_the_cards_of_a_run_without_evaluation_say_so() -> None:
    card = ModelCard(model_card(without("evaluate")))
    assert card.data.eval_results is None
    assert "The model was not evaluated." in card.text
    assert "## Export" in card.text
    assert "## Export" not in model_card(without("export", "evaluate"))


def test_the_model_card_has_the_safety_advisory_before_all_else() -> None:
    card = model_card(run())
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
    for card in (ModelCard(model_card(steps)), DatasetCard(dataset_card(steps))):
        assert card.data.license == shown
        assert card.data.get("license_name") == name
    assert "Every document may be redistributed, all under" in dataset_card(steps)


def test_one_licence_that_is_not_known_is_none() -> None:
    assert ModelCard(model_card(all_under("unknown"))).data.license == "other"


def test_hostile_names_neither_leave_their_cell_nor_the_head() -> None:
    names = ("guidelines", "Sample QA", "medmcqa", "Apache-2.0", "openlifescienceai/medmcqa", "train-papers-00000")
    hostile = renamed(*names, evil=EVIL)
    for card in (ModelCard(model_card(hostile)), DatasetCard(dataset_card(hostile))):
        assert card.data.license == "other"
        assert "<script" not in card.text
        assert card.text.lstrip().startswith(r"# &lt;script&gt;alert(1)&lt;/script&gt; --- license: mit \|\`\*x\*\`")
        card.content.encode("utf-8")
        for line in card.text.splitlines():
            assert not line.startswith(("license:", "---"))
    rows = table(dataset_card(hostile).replace("\\|", "/"), "corpus")
    assert {len(cells) for cells in rows.values()} == {7}


def test_a_benchmark_without_answers_is_in_the_table_and_not_in_the_index() -> None:
    card = ModelCard(model_card(unanswered()))
    assert card.data.eval_results is None
    shown = table(card.text, "benchmark")["Sample QA, strict letters 0-shot"]
    assert shown == ["0", "accuracy", *"––––––", "no question answered"]


def test_runs_without_validation_documents_or_losses_have_cards() -> None:
    assert "No validation loss was measured." in model_card(
        changed("pretrain", {"validation": [], "losses": []}, config={})
    )
    nothing = {name: 0 if isinstance(value, int) else value for name, value in run().total.items()}
    figures = {"mix": {"mixture": [nothing], "missing_tokens": {"papers": 9}}, "shard": {"shards": [], "mixture": []}}
    empty = updated(
        {name: {"accounts": {}, "figures": step.figures | figures.get(name, {})} for name, step in run().steps.items()}
    )
    card = DatasetCard(dataset_card(empty))
    assert card.data.size_categories == ["n<1K"]
    assert "papers has 9 tokens fewer than the configuration asks for." in card.text
    ModelCard(model_card(empty))


def test_nothing_of_the_environment_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_environment_secret")
    step = report_step(tmp_path, run())
    for name in step.run().figures["files"]:
        assert b"secret" not in step.output.read_bytes(name)


@pytest.mark.parametrize(
    ("documents", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (21_100_000, "10M<n<100M"), (10**13, "n>1T")],
)
def test_sizes_are_the_hubs_categories(documents: int, category: str) -> None:
    assert size_category(documents) == category


def test_the_heads_are_plain_yaml() -> None:
    for card in (model_card(run()), dataset_card(run())):
        assert isinstance(yaml.safe_load(card.split("---\n")[1]), dict)
