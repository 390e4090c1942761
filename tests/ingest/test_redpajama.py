"""RedPajama's lines: the sample is the same whatever the files, their order and who reads them."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.inputs import ReadSettings, records, units
from ingest.records import Note, Original, Rejected, Unsampled
from ingest.sources.redpajama import RedpajamaInput
from ingest.sources.sampling import draw
from lake.config import load
from lake.error import UserError

BASE: dict[str, Any] = {"format": "redpajama", "source": "replay", "paths": ["*.jsonl*"]}
SUBSETS = ("c4", "arxiv", "github")


def made(**changes: Any) -> RedpajamaInput:
    return RedpajamaInput.model_validate(BASE | changes)


def record(n: int) -> str:
    meta = {"url": f"https://example.org/{n}", "timestamp": "2019-04-25T12:57:54Z", "source": SUBSETS[n % 3]}
    return json.dumps({"text": f"Text {n}.", "meta": meta}) + "\n"


def read(path: Path, config: RedpajamaInput) -> tuple[list[Any], int]:
    """Documents and rejected records, and how many were passed over."""
    found = [record for record in config.read(path, path.name) if not isinstance(record, Original)]
    passed = sum(one.count for one in found if isinstance(one, Unsampled))
    return [one for one in found if not isinstance(one, Unsampled)], passed


def texts(data: Path, **changes: Any) -> tuple[set[str], int]:
    settings = ReadSettings.model_validate({"inputs": [BASE | changes]})
    found = [one for unit in units(settings, str(data)) for one in records(unit, settings, str(data))]
    passed = sum(one.count for one in found if isinstance(one, Unsampled))
    return {one["text"] for one in found if isinstance(one, dict)}, passed


@pytest.fixture
def lines() -> list[str]:
    return [record(n) for n in range(3000)]


def test_a_record_becomes_a_document(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(record(0), encoding="utf-8")
    ((document,), passed) = read(path, made(license="mixed"))
    assert passed == 0
    assert document["source"] == "replay"
    assert (document["text"], document["url"], document["license"]) == ("Text 0.", "https://example.org/0", "mixed")
    assert document["meta"]["site"] == "c4"
    assert document["fetched_at"].isoformat() == "2019-04-25T12:57:54+00:00"


@pytest.mark.parametrize(
    ("given", "config", "site"),
    [
        ({"meta": {"source": "C4"}}, {}, "c4"),
        ({"meta": {}, "source": "cc/2019-30/en_head_0000.json.gz/line7"}, {}, "common_crawl"),
        ({"meta": json.dumps({"url": "a"}), "red_pajama_subset": "wikipedia"}, {"subset": "book"}, "wikipedia"),
        ({"meta": {"arxiv_id": "1"}}, {"subset": "arxiv"}, "arxiv"),
        ({"meta": "{broken"}, {}, "unknown"),
        ({"meta": ["a"], "source": 3}, {}, "unknown"),
    ],
)  # fmt: skip
def test_the_subset_is_what_the_record_says(
    tmp_path: Path, given: dict[str, Any], config: dict[str, Any], site: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "A text."} | given), encoding="utf-8")
    ((document,), _) = read(path, made(**config))
    assert document["meta"]["site"] == site


def test_the_sample_has_the_size_that_was_asked_for_and_grows_with_it(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    small, passed = texts(tmp_path, keep=0.1)
    large, _ = texts(tmp_path, keep=0.3)
    assert 240 <= len(small) <= 360
    assert passed == 3000 - len(small)
    assert small < large
    assert texts(tmp_path, keep=1.0) == ({f"Text {n}." for n in range(3000)}, 0)
    other, _ = texts(tmp_path, keep=0.1, seed=7)
    assert len(other & small) < 60


def test_files_their_order_and_their_packing_change_nothing(tmp_path: Path, lines: list[str]) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    (one / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    random.Random(3).shuffle(lines)
    (many / "b.jsonl").write_text("".join(lines[:700]).replace("\n", "\r\n\n"), encoding="utf-8")
    (many / "a.jsonl.gz").write_bytes(gzip.compress("".join(lines[700:1900]).encode()))
    (many / "c.jsonl.zst").write_bytes(pa.Codec("zstd").compress("".join(lines[1900:]).encode(), asbytes=True))
    assert texts(one, keep=0.2) == texts(many, keep=0.2)
    ids = [{one["id"] for one in read(path, made(keep=0.2))[0]} for path in sorted(many.iterdir())]
    assert set().union(*ids) == {one["id"] for one in read(one / "a.jsonl", made(keep=0.2))[0]}


def test_a_subset_may_have_a_share_of_its_own(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    found, passed = read(path, made(keep=0.1, shares={"github": 0.5, "arxiv": 0}))
    sites = [one["meta"]["site"] for one in found]
    assert set(sites) == {"c4", "github"}
    assert 420 <= sites.count("github") <= 580
    assert 70 <= sites.count("c4") <= 130
    assert passed == 3000 - len(found)
    plain = {one["id"] for one in read(path, made(keep=0.1))[0] if one["meta"]["site"] == "c4"}
    assert plain == {one["id"] for one in found if one["meta"]["site"] == "c4"}


def test_a_limit_counts_what_was_drawn(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    found, passed = texts(tmp_path, keep=0.1, limit=5)
    assert len(found) == 5
    assert 0 < passed < 3000


def test_broken_records_are_told_where_they_were_drawn(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    bad = ['{"text": 3}', '{"meta": {}}', '{"text": null}', "[1]", '{"text": "cut', '{"text": "ok"}', "x" * 200]
    path.write_text("\n".join(bad), encoding="utf-8")
    found, passed = read(path, made(max_bytes=100))
    reasons = [one.drop.reason.value for one in found if isinstance(one, Rejected)]
    assert reasons == ["wrong_type", "missing_field", "missing_field", "wrong_type", "malformed_json", "too_large"]
    assert all(one.drop.evidence.startswith(one.native) for one in found if isinstance(one, Rejected))
    assert passed == 0
    few, passed = read(path, made(max_bytes=100, keep=1e-9))
    assert [one.drop.reason.value for one in few] == ["too_large"]
    assert passed == 6


def test_a_packed_file_that_ends_early_is_counted(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("".join(lines).encode())[:-3])
    found, _ = read(path, made())
    assert found[-1].drop.reason.value == "truncated_file"
    assert not any(isinstance(one, Rejected) for one in found[:-1])


@pytest.mark.parametrize("change", ["keep: 0", "keep: 1.5", "shares: {c4: 2}", "keeps: 1"])
def test_wrong_settings_are_told(tmp_path: Path, change: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"inputs: [{{format: redpajama, source: replay, paths: ['*'], {change}}}]", encoding="utf-8")
    with pytest.raises(UserError, match=change.partition(":")[0]):
        load(file, (), ReadSettings)


@given(st.binary(), st.integers())
def test_a_draw_is_a_share_and_depends_on_the_seed(data: bytes, seed: int) -> None:
    assert 0 <= draw(data, seed) < 1
    assert draw(data, seed) != draw(data, seed + 1)


@settings(max_examples=150)
@given(st.data())
def test_no_mutation_of_a_record_raises(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    line = bytearray(record(data.draw(st.integers(0, 5))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"\\ud800"])
        )
    path = tmp_path_factory.getbasetemp() / "mutated.jsonl"
    path.write_bytes(bytes(line))
    found, passed = read(path, made())
    assert passed == 0
    assert sum(not isinstance(one, Note) for one in found) == sum(bool(one.strip()) for one in bytes(line).split(b"\n"))


def test_a_wrong_detail_and_bytes_that_are_not_utf8_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    meta = b'"meta": {"timestamp": "soon", "title": 5, "url": NaN}'
    path.write_bytes(b'{"text": "Give 10\x9620 mg a day, and no more of it.", ' + meta + b"}\n")
    (*notes, document), _ = read(path, made())
    assert [note.what for note in notes] == ["bytes that are not UTF-8", "wrong title", "wrong fetched_at"]
    assert document["text"].startswith("Give 10–20 mg")
