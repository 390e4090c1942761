"""Read on Ray: every record has its document or its reason, whatever the workers and wherever it was killed."""

import gzip
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingest.inputs import ReadSettings, units
from lake.dataset import Output
from lake.decision import DECISION
from lake.document import DOCUMENT, document_id
from lake.error import UserError
from lake.step import Account, Step
from ray_jobs import read as job
from ray_jobs.cluster import RaySettings, start
from ray_jobs.read import READ, UnitReader
from tests import reasons
from tests.jobs.outputs import content, has_decisions, rows

pytestmark = pytest.mark.engine


def read_step(lake: Path, settings: ReadSettings, data: str) -> Step[ReadSettings]:
    step = Step("read", READ, settings, str(lake), extra={"data": data})
    step.run()
    return step


@pytest.fixture(scope="module")
def step(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory, sample_inputs: ReadSettings, samples: str
) -> Step[ReadSettings]:
    return read_step(tmp_path_factory.mktemp("lake"), sample_inputs, samples)


def test_each_planted_record_is_dropped_for_its_reason_and_no_other(
    step: Step[ReadSettings], planted: dict[str, dict[str, str]]
) -> None:
    decisions = rows(step, "decisions")
    assert {row["id"]: row["reason"] for row in decisions if not row["keep"]} == planted["read"]
    assert set(planted["read"].values()) == reasons.READ
    assert all(row["evidence"] for row in decisions if not row["keep"])
    assert {row["step"] for row in decisions} == {"read"}


def test_every_record_has_one_decision_and_every_kept_one_a_document(step: Step[ReadSettings]) -> None:
    decisions, documents = rows(step, "decisions"), rows(step, "documents")
    kept = sorted((row["id"], row["source"]) for row in decisions if row["keep"])
    assert kept == sorted((row["id"], row["source"]) for row in documents)
    total = step.manifest().total
    assert (total.entered, total.kept) == (len(decisions), len(documents))
    assert total.entered == 249
    once = ("hostile_xml", "malformed_annotation", "malformed_xml", "no_body", "no_pubmed_id")
    assert step.manifest().accounts["papers"].dropped == dict.fromkeys(once, 1)


def test_tables_have_their_schema_and_figures_count_the_files(step: Step[ReadSettings], samples: str) -> None:
    # Of the first seven loose papers by name, which follow the archive, three are rejected.
    for table, schema, count in (("documents", DOCUMENT, 4), ("decisions", DECISION, 7)):
        assert set(step.output.scan(table).schema.names) == set(schema.names)
        name = step.output.parts(table, "papers")[1]
        stored = step.output.read_part(table, name, schema.names)
        assert stored.cast(schema).num_rows == count
    assert has_decisions(step)
    figures = step.manifest().figures
    assert figures["files_by_source"] == {"abstracts": 3, "guidelines": 6, "papers": 13, "replay": 1}
    folders = ("abstracts", "guidelines", "papers", "replay", "s2")
    raw = [path for name in folders for path in Path(samples, name).rglob("*.*")]
    raw += Path(samples).glob("crawl/*/*.warc*")
    assert figures["bytes"] == sum(path.stat().st_size for path in raw)
    assert figures["files"] == 23


def test_a_unit_is_a_part(step: Step[ReadSettings], sample_inputs: ReadSettings, samples: str) -> None:
    places = [(unit.part, sample_inputs.inputs[unit.input].source) for unit in units(sample_inputs, samples)]
    for table in ("documents", "decisions"):
        assert sorted(Output.part_place(name) for name in step.output.parts(table)) == sorted(places)


def test_killed_it_resumes_with_the_parts_that_lack_decisions(
    step: Step[ReadSettings], sample_inputs: ReadSettings, samples: str, tmp_path: Path
) -> None:
    root = tmp_path / step.output.local().name
    shutil.copytree(step.output.local(), root)
    (root / "manifest.json").unlink()
    # One worker died between the two parts of a unit, another in the middle of a file.
    (root / "decisions" / Output.part_name(0, "guidelines")).unlink()
    lost = root / "documents" / Output.part_name(8, "papers")
    (root / "decisions" / Output.part_name(8, "papers")).unlink()
    lost.rename(lost.with_name(f".{lost.name}.0123abcd"))
    untouched = root / "decisions" / Output.part_name(7, "papers")
    written_at = untouched.stat().st_mtime_ns
    other = read_step(tmp_path, sample_inputs, samples)
    assert not lost.with_name(f".{lost.name}.0123abcd").exists()
    assert content(other) == content(step)
    assert untouched.stat().st_mtime_ns == written_at
    assert other.manifest().accounts == step.manifest().accounts


def test_pdfs_that_grobid_did_not_read_are_counted_and_named(ray_cluster: None, samples: str, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{closed.getsockname()[1]}"
        pages: dict[str, Any] = {"format": "warc", "source": "guidelines", "paths": ["crawl/example-agency/*.warc"]}
        pages |= {"site": str(Path(samples, "sites", "example-agency.yaml"))}
        alone, with_grobid = (
            read_step(tmp_path, ReadSettings.model_validate({"inputs": [pages | more]}), samples)
            for more in ({}, {"grobid": server})
        )
    documents = rows(with_grobid, "documents")
    assert documents == rows(alone, "documents")
    assert documents
    fallbacks = rows(with_grobid, "fallbacks")
    assert [(row["source"], row["document"]) for row in fallbacks] == [("guidelines", row["url"]) for row in documents]
    assert all(row["why"].startswith(f"{server}: ") for row in fallbacks)
    assert with_grobid.manifest().figures["pdfs_without_grobid"] == {"guidelines": len(documents)}
    assert alone.manifest().figures["pdfs_without_grobid"] == {}


def test_what_kept_pages_lack_is_counted_with_an_example(ray_cluster: None, samples: str, tmp_path: Path) -> None:
    plain = Path(samples, "sites", "example-clinic.yaml").read_text(encoding="utf-8")
    site = tmp_path / "example-clinic.yaml"
    site.write_text(plain.replace("title: article.guideline h1", "title: h1.gone"), encoding="utf-8")
    pages: dict[str, Any] = {"format": "warc", "source": "guidelines", "paths": ["crawl/example-clinic/*.warc"]}
    well, ill = (
        read_step(tmp_path, ReadSettings.model_validate({"inputs": [pages | {"site": file}]}), samples)
        for file in (str(Path(samples, "sites", "example-clinic.yaml")), str(site))
    )
    urls = sorted(row["url"] for row in rows(ill, "documents"))
    notes = rows(ill, "notes")
    assert sorted(note["document"] for note in notes) == urls
    texts = {(note["what"], note["details"], note["source"]) for note in notes}
    assert texts == {("title", "h1.gone matches nothing", "guidelines")}
    figure = {"guidelines": {"title": {"documents": len(urls), "example": urls[0]}}}
    assert ill.manifest().figures["notes"] == figure
    assert ill.manifest().accounts == well.manifest().accounts
    assert well.manifest().figures["notes"] == {}


def test_memory_holds_a_batch_and_row_groups_are_batches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample_inputs: ReadSettings, samples: str
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(job, "BATCH_ROWS", 10)
    reader = UnitReader(Output(str(tmp_path)), "read", sample_inputs, samples)
    unit = next(unit for unit in units(sample_inputs, samples) if unit.files[0].name == "pubmed26n0001.xml.gz")
    assert sum(row["count"] for row in reader.read(unit)) == 62
    groups = pq.ParquetFile(reader.output.local("decisions", Output.part_name(unit.part, "abstracts"))).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [10] * 6 + [2]


def test_files_without_a_record_are_read_in_silence(ray_cluster: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "blank.jsonl").write_bytes(b"\n\r\n  \n")
    (data / "empty.jsonl").write_bytes(b"")
    (data / "packed.jsonl.gz").write_bytes(gzip.compress(b""))
    (data / "zero.jsonl.gz").write_bytes(b"")
    settings = ReadSettings.model_validate({"inputs": [{"format": "jsonl", "source": "web", "paths": ["*"]}]})
    step = read_step(tmp_path, settings, str(data))
    assert step.manifest().accounts == {"web": Account.of(0, {"truncated_file": 1})}
    assert step.output.scan("documents").to_table().num_rows == 0
    assert len(step.output.parts("documents", "web")) == 4


def test_bad_records_raise_nothing(ray_cluster: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lines = [
        b'{"text": "\\ud800 half a pair", "title": "\\udfff", "url": "\\ud83d"}',
        b'{"text": "a", "citations": 99999999999}',
        b'{"text": "a", "citations": "' + b"9" * 5000 + b'"}',
        b'{"text": "a", "citations": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"text": {"a": 1}}',
        b'{"text": "a", "fetched_at": "0001-01-01T00:00:00+14:00"}',
        b'{"text": "a", "mesh": [1, null]}',
        b"\xff\xfe",
        b"\x00",
        b"NaN",
        b'{"text": "nul \\u0000"}',
    ]
    (data / "bad.jsonl").write_bytes(b"\n".join(lines))
    fields = {name: name for name in ("text", "title", "url", "citations", "fetched_at", "mesh")}
    raw = {"format": "jsonl", "source": "web", "paths": ["*"], "fields": fields}
    step = read_step(tmp_path, ReadSettings.model_validate({"inputs": [raw]}), str(data))
    assert (step.manifest().total.entered, step.manifest().total.kept) == (12, 6)


def test_a_file_that_cannot_be_read_is_one_line_from_the_worker(ray_cluster: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_bytes(b"")
    settings = ReadSettings.model_validate({"inputs": [{"format": "jsonl", "source": "web", "paths": ["*"]}]})
    (unit,) = units(settings, str(data))
    (data / "a.jsonl").unlink()
    output = Output(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"a\.jsonl: No such file"):
        UnitReader(output, "read", settings, str(data)).read(unit)
    assert output.parts("documents") == output.parts("decisions") == []
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_one_cpu_writes_the_same_bytes(
    step: Step[ReadSettings], sample_inputs: ReadSettings, samples: str, tmp_path: Path
) -> None:
    import ray

    ray.shutdown()
    start(RaySettings(cpus=1))
    try:
        assert content(read_step(tmp_path, sample_inputs, samples)) == content(step)
    finally:
        ray.shutdown()
        start(RaySettings(cpus=2))


def test_rows_that_repeat_a_record_are_all_counted(ray_cluster: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_bytes(b'{"id": 1, "text": "a"}\n' * 3)
    raw = {"format": "jsonl", "source": "web", "paths": ["*"], "fields": {"id": "id", "text": "text"}}
    step = read_step(tmp_path, ReadSettings.model_validate({"inputs": [raw]}), str(data))
    assert step.manifest().accounts == {"web": Account.of(3)}
    decisions: pa.Table = step.output.scan("decisions").to_table()
    assert decisions["id"].to_pylist() == [document_id("web", "1")] * 3


def test_what_a_sample_passes_over_is_counted_and_no_decision(ray_cluster: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lines = [json.dumps({"text": f"Text {n}.", "meta": {"source": "c4"}}) + "\n" for n in range(2000)]
    (data / "a.jsonl").write_text("".join(lines[:1500]), encoding="utf-8")
    (data / "b.jsonl").write_text("".join(lines[1500:]), encoding="utf-8")
    (data / "all.json").write_text("".join(lines), encoding="utf-8")
    steps = []
    for paths in (["*.jsonl"], ["all.json"]):
        sampled = {"format": "redpajama", "source": "replay", "paths": paths, "keep": 0.05}
        plain = {"format": "jsonl", "source": "web", "paths": ["b.jsonl"], "limit": 3}
        settings = ReadSettings.model_validate({"inputs": [sampled, plain]})
        steps.append(read_step(tmp_path / paths[0].strip("*."), settings, str(data)))
    accounts = steps[0].manifest().accounts
    drawn = accounts["replay"].entered
    assert 50 <= drawn <= 150
    assert steps[0].manifest().figures["unsampled"] == {"replay": 2000 - drawn}
    assert steps[0].output.scan("decisions", "replay").count_rows() == drawn
    assert len(steps[0].output.parts("unsampled")) == 2
    ids = [set(step.output.scan("documents", "replay").to_table()["id"].to_pylist()) for step in steps]
    assert ids[0] == ids[1]
    assert steps[1].manifest().figures["unsampled"] == steps[0].manifest().figures["unsampled"]
    assert steps[1].manifest().accounts == accounts
