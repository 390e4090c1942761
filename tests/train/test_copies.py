"""Checkpoints that outlive the disk they were written to."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lake.dataset import Output
from lake.error import UserError
from tests.train.test_saver import STEPS, files, job_in, names, state, steps, undisturbed
from train.copies import Copies
from train.guard import TrainingStopped
from train.history import DIGESTS, STATE
from train.loop import train


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "far away")
        return
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="copies")
    yield "s3://copies/trainings"
    server.stop()


def test_a_training_that_lost_its_disk_goes_on_from_the_copy(alone: None, tmp_path: Path, url: str) -> None:
    job = job_in(tmp_path, every=1, copy_to=url)
    answers = iter([False, True])
    with pytest.raises(TrainingStopped, match="stopped as asked after step 2"):
        train(replace(job, stop=lambda: next(answers)))
    shutil.rmtree(job.folder)

    copies = Copies(url, job.folder, 2)
    job.folder.mkdir()
    copies.fetch()
    assert names(job) == copies.names()[-1:] == steps(2)
    train(job)
    assert state(job)["resumed_from"] == [2]
    assert state(job)["failed_saves"] == []
    assert files(job) == files(undisturbed(job_in(tmp_path)))
    assert copies.names()[-1] == names(job)[-1]
    assert len(copies.names()) <= 2


def test_a_copy_that_is_not_whole_gives_way_to_the_one_before(alone: None, tmp_path: Path) -> None:
    url = str(tmp_path / "copies")
    job = job_in(tmp_path, copy_to=url)
    train(job)
    copies, place = Copies(url, job.folder, 2), Output(url).below(job.folder.name)
    whole = copies.names()[-1]
    for name, missing in (("step-00000098", STATE), ("step-00000099", DIGESTS)):
        for file in place.files(whole):
            if file != missing:
                place.write_bytes(place.read_bytes(whole, file), name, file)
    shutil.rmtree(job.folder)
    copies.fetch()
    assert names(job) == [whole]


def test_a_copy_that_fails_is_told_and_a_new_run_makes_it(alone: None, tmp_path: Path) -> None:
    url = tmp_path / "copies"
    url.write_text("a file where the folder should be")
    job = job_in(tmp_path, copy_to=str(url))
    last = f"step-{STEPS:08d}"
    with pytest.raises(TrainingStopped, match=f"{last}: no copy: .*; a new run copies it"):
        train(job)
    assert "no copy" in state(job)["failed_saves"][0]["reason"]

    url.unlink()
    train(job)
    assert Copies(str(url), job.folder, 2).names() == [last]


def test_a_place_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path, url: str) -> None:
    Copies(url, tmp_path / "run", 2).check()
    with pytest.raises(UserError, match=r"pretrain\.checkpoints\.copy_to: s4://copies/run cannot be opened: "):
        Copies("s4://copies", tmp_path / "run", 2).check()
