"""The base model is imported with the project's tokens, and what was trained from it is exported as its sibling."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lake.dataset import Output
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import TokenizerSettings, TrainSettings, adopt, train
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.tokenizer import FOLDER
from ray_jobs.export import ExportJob
from ray_jobs.import_base import ImportJob
from tests.train.tiny import SIZES, save
from train.recipe import BaseSettings, ExportSettings, Recipe


def test_a_base_comes_in_and_its_successor_goes_out(tmp_path: Path) -> None:
    base = tmp_path / "base"
    made = train(["a fever and a cough"], TokenizerSettings(train=TrainSettings(vocab_size=400)))
    made.save(base)
    plain = json.loads((base / "tokenizer.json").read_text())
    added = {*FORMAT_TOKENS, *CHAT_TOKENS}
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] not in added]
    (base / "tokenizer.json").write_text(json.dumps(plain))
    settings = {"eos_token": made.end, "model_max_length": 99, "add_bos_token": True, "chat_template": "{{ 1 }}"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    save(base, LlamaForCausalLM(LlamaConfig(**SIZES | {"vocab_size": 320})))

    project = adopt(TokenizerSettings(path=str(base)))
    project.save(tmp_path / "tokenizer" / FOLDER)
    tokenizer = Output(str(tmp_path / "tokenizer"))
    figures = ImportJob(BaseSettings(path=str(base)), tokenizer, tmp_path / "import").run()
    assert figures["vocab_size"] == project.vocab_size
    assert figures["fresh_rows"] >= len(added)
    assert figures["argmax_agreement"] == 1

    trained = (tmp_path / "import" / "megatron").rename(tmp_path / "step-00000001")
    ids = np.arange(192).reshape(6, 32) % 100 + 100
    from ray_jobs.import_base import shape_of_base

    recipe = Recipe.model_validate(
        {
            "model": shape_of_base(BaseSettings(path=str(base))).model_dump(),
            "sequence": 32,
            "batch": {"total": 1, "micro": 1},
            "steps": 2,
            "optimizer": {"lr": 1e-3},
            "validation": {"every": 1},
        }
    )
    ExportJob(
        recipe,
        ExportSettings().tolerance,
        trained,
        tmp_path / "import" / "model",
        lambda: ids,
        tokenizer,
        tmp_path / "model",
    ).run()
    for name in ("import/model", "model"):
        read = AutoTokenizer.from_pretrained(tmp_path / name)
        assert (read.chat_template, read.model_max_length) == ("{{ 1 }}", 99)
        assert read(CHAT_TOKENS[0]).input_ids == [project.backend.token_to_id(CHAT_TOKENS[0])]
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert model.config.max_position_embeddings == SIZES["max_position_embeddings"]
        assert model.get_input_embeddings().weight.shape == (project.vocab_size, 32)
    with pytest.raises(FileNotFoundError):
        (tmp_path / ".model").stat()
