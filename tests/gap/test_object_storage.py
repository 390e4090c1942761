"""A lake on object storage: shards are written, checked and trained on there, over a real S3 API."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.steps import stand_in
from dedup.decontaminate import DecontaminateSettings
from dedup.settings import DedupSettings
from eval.settings import EvaluateSettings
from lake.dataset import Output
from lake.error import UserError
from lake.step import Step
from mixing.instructions.settings import InstructionSettings
from mixing.shards import FOLDER_OF_SHARDS, read_tokens
from mixing.split import TRAIN, VALIDATION
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.cluster import RaySettings, start
from ray_jobs.instruct import DATASETS, INSTRUCT, PACKED
from ray_jobs.pretrain import check_shards, vocabulary
from ray_jobs.shard_check import check_step
from tests.jobs.sharded import SEED, Before, clean_step, mix_step, tokenizer_step
from train.data import HeldOut, Shards, TrainingData

pytestmark = pytest.mark.engine

LAKE = "s3://lake/corpus"


@pytest.fixture(scope="module")
def remote(ray_cluster: None) -> Iterator[Step]:
    """A finished shard step in a bucket. Ray starts anew, for its workers take the address from the environment."""
    import boto3
    import ray
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        ray.shutdown()
        start(RaySettings(cpus=2))
        boto3.client("s3").create_bucket(Bucket="lake")
        clean = clean_step(LAKE)
        counted = tokenizer_step(LAKE, clean)
        yield Before(clean, counted, mix_step(LAKE, counted)).sharded(LAKE)
    ray.shutdown()
    start(RaySettings(cpus=2))
    server.stop()


def test_shards_have_the_bytes_of_a_local_lake_and_nothing_else_stays(shard_step: Step, remote: Step) -> None:
    files = remote.output.files(FOLDER_OF_SHARDS)
    assert files == shard_step.output.files(FOLDER_OF_SHARDS)
    for name in files:
        there, here = (step.output.read_bytes(FOLDER_OF_SHARDS, name) for step in (remote, shard_step))
        assert there == here
    assert remote.manifest().figures == shard_step.manifest().figures
    assert not remote.output.files("pieces/source=papers")


def test_shards_are_verified_where_they_are(remote: Step) -> None:
    found = check_step(remote)
    assert [one.faults for one in found] == [()] * 5
    assert all(one.sampled == one.exact == one.documents > 0 for one in found)
    name = "train-replay-00000.bin"
    whole = remote.output.read_bytes(FOLDER_OF_SHARDS, name)
    remote.output.write_bytes(whole[:-2], FOLDER_OF_SHARDS, name)
    with pytest.raises(UserError, match=r"s3://lake/.*/train-replay-00000\.bin: corrupt: "):
        check_shards(stand_in("pretrain", LAKE, {"shards": remote}))
    (broken,) = (one for one in check_step(remote) if one.faults)
    remote.output.write_bytes(whole, FOLDER_OF_SHARDS, name)
    assert broken.shard == "train-replay-00000"


def test_a_document_is_read_without_its_shard(remote: Step) -> None:
    made = Tokenizer.of(remote.input("tokenizer").output)
    place = remote.output.scan("index").to_table().to_pylist()[7]
    ids = read_tokens(remote.output.below(FOLDER_OF_SHARDS), place["shard"], place["offset"], place["tokens"])
    texts = remote.input("documents").output.scan("documents").to_table(columns=["id", "text"]).to_pylist()
    assert made.decode(ids[:-1]) == next(row["text"] for row in texts if row["id"] == place["id"])


def test_training_reads_the_same_sequences_from_the_bucket(remote: Step, shard_step: Step) -> None:
    sequences = []
    for step in (remote, shard_step):
        known = vocabulary(Tokenizer.of(step.input("tokenizer").output))
        folder, rows = step.output.below(FOLDER_OF_SHARDS), step.manifest().figures["shards"]
        train = TrainingData(Shards.of(folder, rows, TRAIN), 48, known, 1)
        held_out = HeldOut(Shards.of(folder, rows, VALIDATION), "papers", 9, 48, known)
        both = [train[number] for number in range(30)] + [held_out[number] for number in range(held_out.sequences)]
        sequences.append(np.stack([sample["tokens"].numpy() for sample in both]))
    assert np.array_equal(*sequences)
    assert sequences[0].max() > 0


def test_instruction_data_has_the_bytes_of_a_local_lake(remote: Step, before: Before, tmp_path: Path) -> None:
    talks = (f'{{"question": "Q{n}?", "answer": "{f"{n}! " * n}"}}\n' for n in range(1, 40))
    (tmp_path / "qa.jsonl").write_text("".join(talks))
    settings = InstructionSettings.model_validate({"inputs": [{"paths": ["qa.jsonl"]}], "sequence": 64})
    shutil.copy(Path(__file__).resolve().parents[2] / "samples" / "benchmarks" / "sample-qa.jsonl", tmp_path)
    steps = []
    for lake, counted in ((LAKE, remote.input("tokenizer")), (str(tmp_path), before.counted)):
        asked = EvaluateSettings.model_validate({"benchmarks": [{"task": "sample-qa"}]})
        extra = {"data": str(tmp_path), "asked": asked}
        extra |= {"decontaminate": DecontaminateSettings(), "dedup": DedupSettings()}
        step = Step("instruct", INSTRUCT, settings, lake, {"tokenizer": counted}, seed=SEED, extra=extra)
        step.run()
        steps.append(step)
    there, here = steps
    assert there.manifest().figures == here.manifest().figures
    files = [(table, name) for table in (DATASETS, *PACKED.values()) for name in there.output.files(table)]
    assert len(files) > 4
    for name in files:
        assert there.output.read_bytes(*name) == here.output.read_bytes(*name)


def test_steps_that_map_files_ask_for_a_disk() -> None:
    with pytest.raises(UserError, match=r"^s3://lake/x: .* set disk= to a folder"):
        Output("s3://lake/x").local("model")
