"""The data set's repository: a card with the figures of the files, licences, Croissant that its own reader takes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from gap.publish.dataset import dataset_release
from gap.publish.history import Version
from gap.publish.release import Release
from gap.publish.rows import FIELDS
from gap.publish.settings import Override, PublishSettings
from lake.error import UserError
from tests.gap.publish.small_lake import SmallLake, document, documents
from tests.gap.publish.test_rows import REASON
from tests.gap.test_cards import EVIL, plain, table


def released(small: SmallLake, name: str = "demo", **settings: Any) -> Release:
    given = PublishSettings.model_validate({"owner": "me", **settings})
    return dataset_release(small.steps, name, given, str(small.folder / "publish"))


def texts(release: Release, *more: Version) -> dict[str, str]:
    first = release.state.next([], "2026-11-27", None)
    files = release.files([first, *more])
    return {file.path: file.content.decode() for file in files if isinstance(file.content, bytes)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    return SmallLake(tmp_path_factory.mktemp("shared"))


def test_the_head_of_the_card_is_computed_from_the_files(shared: SmallLake) -> None:
    release = released(shared)
    card = DatasetCard(texts(release)["README.md"])
    assert (card.data.license, card.data.license_name, card.data.license_link) == (
        "other",
        "mixed-see-sources",
        "LICENSE.md",
    )
    configs = {config["config_name"]: config for config in card.data["configs"]}
    assert list(configs) == ["default", "guidelines", "papers", "replay"]
    assert configs["papers"]["data_files"] == [
        {"split": "train", "path": "data/papers/train-*.parquet"},
        {"split": "validation", "path": "data/papers/validation-*.parquet"},
    ]
    infos = {info["config_name"]: info for info in card.data["dataset_info"]}
    assert [feature["name"] for feature in infos["default"]["features"]] == list(FIELDS)
    for name, info in infos.items():
        files = [file for file in release.data if name in ("default", file.path.split("/")[1])]
        assert info["download_size"] == sum(file.size for file in files)
        for split in info["splits"]:
            tables = [pq.read_table(file.content) for file in files if f"/{split['name']}-" in file.path]
            assert split["num_examples"] == sum(rows.num_rows for rows in tables)
            assert split["num_bytes"] == sum(rows.nbytes for rows in tables)


def test_the_card_has_sizes_by_source_and_licence_and_what_stays(shared: SmallLake) -> None:
    release = released(shared)
    card = texts(release)["README.md"]
    rows = [row for file in release.data for row in pq.read_table(file.content).to_pylist()]
    total = table(card, "source")["**total**"]
    assert total[1:] == [
        f"{len(rows):,}",
        f"{sum(len(row['text'].encode()) for row in rows):,}",
        f"{sum(row['tokens'] for row in rows):,}",
    ]
    assert set(table(card, "column")) - {"column", "---"} == {f"`{name}`" for name in FIELDS}
    assert "| `papers` | unknown | `no_license` | 4 |" in card
    assert "- `no_license`: no licence is known" in card
    assert "`near_duplicate` 7" in card, "the run's own ledger, with reasons as code"
    assert r"near\_duplicate" not in card
    for title in (
        "Sizes",
        "Columns",
        "How to load",
        "Left behind",
        "Processing",
        "Collection",
        "Limits",
        "Personal and",
    ):
        assert f"\n## {title}" in card
    for title in ("Licence", "Contact and removal", "Citation", "Versions", "Provenance"):
        assert f"\n## {title}" in card
    assert "### Deduplication" in card
    assert "### Decontamination" in card
    assert "| `replay` | 2026-03-01 to 2026-03-04 | – |" in card
    assert 'load_dataset("me/demo", split="train")' in card
    assert "@misc{demo," in card
    assert "| `v1.0.0` | 2026-11-27 |" in card


def test_contact_and_citation_are_the_publishers(shared: SmallLake) -> None:
    card = texts(released(shared, contact="me@example.org", citation="@misc{mine}\n```\n# out"))["README.md"]
    assert "Write to `me@example.org`" in card
    assert "@misc{mine}\n\n# out\n```" in card


def test_the_card_tells_of_no_source_that_stays_behind(tmp_path: Path) -> None:
    rows = documents()
    rows["papers"] = [row | {"redistributable": False} for row in rows["papers"]]
    made = texts(released(SmallLake(tmp_path, rows)))
    assert "| `papers` | CC-BY-4.0 | `not_redistributable` |" in made["README.md"]
    limits = made["README.md"].partition("\n## Limits")[2].partition("\n## Licence")[0]
    assert "Texts are English" in limits
    assert "papers" not in limits
    assert "papers" not in json.loads(made["croissant.json"])["rai:dataCollection"]


def test_addresses_have_no_password_of_the_endpoint(shared: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gap.publish.release.ENDPOINT", "https://reader:password@hub.example.org")
    made = texts(released(shared))
    assert "open a [discussion](https://hub.example.org/datasets/me/demo/discussions)" in made["README.md"].lower()
    assert not [path for path, text in made.items() if "password" in text]


def test_one_licence_of_all_rows_is_that_of_the_repository(tmp_path: Path) -> None:
    rows = {"papers": [document("papers", n, license="CC-BY-4.0", redistributable=True) for n in range(6)]}
    card = DatasetCard(texts(released(SmallLake(tmp_path, rows)))["README.md"])
    assert card.data.license == "cc-by-4.0"
    assert "All rows are under CC-BY-4.0." in card.text
    assert "Every document of the training mixture is here." in card.text
    assert "All documents are under one licence" in texts(released(SmallLake(tmp_path, rows)))["LICENSE.md"]


def test_licences_are_listed_with_their_texts(shared: SmallLake) -> None:
    listed = texts(released(shared))["LICENSE.md"]
    assert "| CC-BY-NC-4.0 | 4 | <https://creativecommons.org/licenses/by-nc/4.0/> |" in listed
    assert "https://creativecommons.org/publicdomain/zero/1.0/" in listed


def test_an_override_is_quoted_in_the_card_and_recorded(shared: SmallLake) -> None:
    override = {"repository": "me/demo", "reason": REASON}
    made = texts(released(shared, override=override))
    assert REASON in plain(made["README.md"])
    assert "may not be redistributed" in made["README.md"]
    assert DatasetCard(made["README.md"]).data.license == "other"
    assert json.loads(made["publication.json"])["override"] == override
    with pytest.raises(UserError, match="it is me/other, but the documents go to me/demo"):
        released(shared, override=override | {"repository": "me/other"})
    with pytest.raises(ValueError, match="at least 20 characters"):
        Override(repository="me/demo", reason="  because          ")


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    licence = "CC-BY-4.0 | `x` <script>alert(1)</script>\n---\nlicense: mit"
    rows = {"papers": [document("papers", n, license=licence, redistributable=True) for n in range(6)]}
    made = texts(released(SmallLake(tmp_path, rows), name=EVIL.replace("\ud800", "")))
    for text in (made["README.md"], made["LICENSE.md"]):
        assert "<script" not in text.replace("pretty_name: <script>", "").partition("\n---\n")[2]
    card = DatasetCard(made["README.md"])
    assert card.data.license == "other"
    assert len(card.text.split("\n@misc{")) == 2
    json.loads(made["croissant.json"])


def test_mlcroissant_takes_the_file_and_reads_the_rows(shared: SmallLake, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    release = released(shared, contact="me@example.org")
    place = tmp_path / "croissant.json"
    place.write_text(texts(release)["croissant.json"], encoding="utf-8")
    content = release.data[0].content
    assert isinstance(content, Path)
    made = mlcroissant.Dataset(jsonld=place, mapping={"repo": content.parents[2]})
    issues = made.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    assert made.metadata.ctx.is_v1_1()
    assert made.metadata.data_limitations
    assert made.metadata.personal_sensitive_information
    assert made.metadata.data_release_maintenance_plan
    raw = json.loads(place.read_text(encoding="utf-8"))
    assert raw["rai:dataCollectionTimeframe"] == ["2026-03-01", "2026-03-14"], "start and end of all sources"
    assert "9 further documents of the mixture stay behind" in raw["rai:dataCollectionMissingData"]
    rows = [row for file in release.data if "/train-" in file.path for row in pq.read_table(file.content).to_pylist()]
    read = list(made.records("train"))
    assert {row["train/id"].decode() for row in read} == {row["id"] for row in rows}
    assert set(read[0]) == {f"train/{name}" for name in FIELDS}


def test_versions_count_up_and_say_what_changed(shared: SmallLake) -> None:
    state = released(shared).state
    first = state.next([], "2026-11-27", None)
    assert (first.version, first.change) == ("1.0.0", "First publication.")
    same = state.next([first], "2026-11-28", "A new contact.")
    assert (same.version, same.change) == (
        "1.0.1",
        "The data is the same; the card or its files changed. A new contact.",
    )
    parts = {**state.parts, "papers": state.parts["papers"] + 2}
    other = replace(state, content="x", parts=parts, run={**state.run, "clean": "0" * 12})
    second = other.next([first, same], "2026-11-29", None)
    assert second.version == "1.1.0"
    assert second.change == f"papers {state.parts['papers']} → {parts['papers']} rows; changed steps: clean."
    card = texts(released(shared), same)["README.md"]
    assert card.index("- `v1.0.1` (2026-11-28)") < card.index("- `v1.0.0` (2026-11-27): First publication.")


def test_an_id_to_withhold_that_is_of_no_document_is_told(
    shared: SmallLake, capsys: pytest.CaptureFixture[str]
) -> None:
    known = shared.rows["replay"][0]["id"]
    released(shared, withheld=[known])
    assert "publish.withheld" not in capsys.readouterr().err
    released(shared, withheld=[known, "0" * 32])
    assert "publish.withheld: 1 of its ids are of no document in the mixture" in capsys.readouterr().err


def test_equal_runs_give_equal_bytes(shared: SmallLake, tmp_path: Path) -> None:
    again = released(SmallLake(tmp_path))
    assert [file.sha256 for file in again.data] == [file.sha256 for file in released(shared).data]
    assert texts(again) == texts(released(shared))


def test_without_a_mixture_or_owner_it_says_what_to_do(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    with pytest.raises(UserError, match=r"publish.owner: name who publishes"):
        dataset_release(small.steps, "demo", PublishSettings(), str(tmp_path))
    (small.steps["mix"].output.local("manifest.json")).unlink()
    with pytest.raises(UserError, match="the mixture has not been made yet"):
        released(small)
