"""`gap convert` to Megatron and back, and what it refuses."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from gap.cli import main
from tests.train.tiny import MODELS, save
from train.weights import same_bits


def convert(*words: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, words)])


def test_there_and_back_again(tmp_path: Path) -> None:
    save(tmp_path / "base", MODELS["qwen2-tied"](), shard="1GB")
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages }}")
    for words in (("base", "megatron"), ("megatron", "back")):
        done = convert(*(tmp_path / word for word in words))
        assert done.exit_code == 0, done.output
        assert "tensors equal bit by bit" in done.output
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "back"))
    assert before.keys() == after.keys()
    assert all(same_bits(before[name], after[name]) for name in before)
    for name in ("config.json", "generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "base" / name).read_text() == (tmp_path / "back" / name).read_text()
    again = convert(tmp_path / "base", tmp_path / "megatron")
    assert (again.exit_code, again.output.count("\n")) == (2, 1)
    assert "already there" in again.output


def test_a_checkpoint_without_a_config_needs_one(tmp_path: Path) -> None:
    save(tmp_path / "base", MODELS["llama-2"]())
    assert convert(tmp_path / "base", tmp_path / "megatron").exit_code == 0
    (tmp_path / "megatron" / "config.json").unlink()
    assert "--like" in convert(tmp_path / "megatron", tmp_path / "back").output
    assert convert(tmp_path / "megatron", tmp_path / "back", "--like", tmp_path / "base").exit_code == 0


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = convert(tmp_path / name, tmp_path / "to")
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert not (tmp_path / "to").exists()
