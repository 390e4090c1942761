"""Which models are served, and what is found wrong before an engine starts."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gap.command import load_config
from gap.plan import plan
from gap.serve import choosing, server
from gap.serve.choosing import Choice, checked, learned_template, of_folders, of_run
from gap.serve.guard import LOOPBACK
from gap.serve.keys import VARIABLE
from gap.serve.models import QUESTION_AND_ANSWER
from gap.serve.settings import ServeSettings
from lake.dataset import MANIFEST
from lake.error import UserError
from lake.step import Kind, of_kind
from tests.gap.command import DEMO, ROOT, called
from tests.gap.serve.folders import change, folder_of_model
from tests.gap.serve.played import KEY, PlayedEngine, desk
from train.families import read_config

USERS_ONLY = "{% for m in messages %}{{ raise_exception('no') if m.role == 'system' }}{{ m.content }}{% endfor %}"
SILENT = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_model(tmp_path_factory.mktemp("models") / "tuned")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tuned"))


def learned(folder: Path) -> bool:
    return learned_template(folder, read_config(folder))


def test_a_template_counts_as_learned_if_the_model_ends_its_turns(folder: Path) -> None:
    assert learned(folder)
    ends = read_config(folder)["eos_token_id"]
    change(folder / "config.json", eos_token_id=ends[0])
    assert learned(folder), "generation_config.json has it, too"
    change(folder / "generation_config.json", eos_token_id=ends[0])
    assert not learned(folder)
    change(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    assert learned(folder), "a template from elsewhere is the model's own"
    change(folder / "tokenizer_config.json", chat_template=None)
    assert not learned(folder)


@pytest.mark.parametrize(("template", "takes"), [(None, True), (USERS_ONLY, False), (SILENT, False)])
def test_a_template_is_asked_whether_it_takes_a_system_prompt(folder: Path, template: str | None, takes: bool) -> None:
    if template is not None:
        change(folder / "tokenizer_config.json", chat_template=template)
    ((model, deployed),) = checked([Choice("tuned", folder)], ServeSettings(), on_cpu=True)
    assert (model.takes_system, deployed.template) == (takes, None)


def test_a_base_model_is_asked_as_question_and_answer(folder: Path) -> None:
    change(folder / "tokenizer_config.json", chat_template=None)
    ((model, deployed),) = checked([Choice("base", folder)], ServeSettings(context=512), on_cpu=True)
    assert (model.own_template, model.context, deployed.template) == (False, 512, QUESTION_AND_ANSWER)
    assert model.card["chat_template"] == "question and answer"
    assert "It is a base model" in model.description
    assert model.stops == ["\nQuestion:"]
    talk = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(QUESTION_AND_ANSWER)
    text = template.render(messages=talk, add_generation_prompt=True, bos_token="<s>")
    assert text == "<s>s\n\nQuestion: u\nAnswer: a\n\nQuestion: u\nAnswer:"


def test_folders_have_their_names_and_a_run_calls_each_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "export-1" / "model").mkdir(parents=True)
    assert [choice.name for choice in of_folders([folder, tmp_path / "export-1" / "model"])] == ["tuned", "export-1"]


def test_a_run_has_its_base_and_each_training_once_they_are_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    demo, tuned = (yaml.safe_load((ROOT / file).read_text("utf-8")) for file in (DEMO, "configs/demo-tuned.yaml"))
    del demo["tokenizer"], demo["pretrain"]["model"], tuned["extends"]
    settings = demo | tuned | {"base": {"path": str(folder)}, "lake": str(tmp_path / "lake")}
    (file := tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    config = load_config(str(file), [])
    with pytest.raises(UserError, match="no model yet"):
        of_run(config, "config.yaml", [])
    steps = plan(config)
    (base,), (pretrained, finetuned, _) = of_kind(steps, Kind.BASE), of_kind(steps, Kind.EXPORT)
    for step in (base, pretrained, finetuned):
        step.output.local().mkdir(parents=True)
        step.output.local(MANIFEST).touch()
    assert [choice.name for choice in of_run(config, "config.yaml", [])] == ["base", "pretrain", "finetune"]
    assert of_run(config, "config.yaml", ["finetune"]) == [Choice("finetune", finetuned.output.local("model"))]
    with pytest.raises(UserError, match=r"finetune-lora is not there yet; run it first: gap run config\.yaml export"):
        of_run(config, "config.yaml", ["base", "finetune-lora"])


def test_what_is_wrong_is_found_before_an_engine_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings()
    with pytest.raises(UserError, match="two models have this name"):
        checked([Choice("a", folder), Choice("a", folder)], settings, on_cpu=True)
    with pytest.raises(UserError, match=r"serve\.context: 4096 tokens, a takes 2048"):
        checked([Choice("a", folder)], ServeSettings(context=4096), on_cpu=True)
    monkeypatch.setattr(choosing, "PROCESSES", 1e15)
    with pytest.raises(UserError, match=r"this model takes .* of memory, .* are free; name fewer"):
        checked([Choice("a", folder)], settings, on_cpu=True)
    checked([Choice("a", folder)], settings, on_cpu=False)
    change(folder / "config.json", head_dim=48)
    with pytest.raises(UserError, match=r"config\.json: heads of 48 .* on a CPU vLLM takes"):
        checked([Choice("a", folder)], settings, on_cpu=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        checked([Choice("a", folder)], settings, on_cpu=False)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name a config or a folder: gap serve CONFIG"),
        (["--model", "nowhere"], "nowhere: no such folder"),
        (["--model", "docs"], "docs/config.json: no such file"),
        (["nowhere.yaml"], "nowhere.yaml: no such config file"),
        ([DEMO, "pretrian", "lake=nowhere"], "pretrian: no such model; did you mean pretrain?; the run has pretrain"),
        (
            [DEMO, "pretrain", "lake=nowhere"],
            "pretrain is not there yet; run it first: gap run",
        ),
        ([DEMO, "lake=nowhere"], "the run has no model yet"),
        ([DEMO, "serve.limits.at_one=1"], "did you mean at_once?"),
        ([DEMO, "serve.replicas=2", "serve.most_replicas=1"], "most_replicas: 1 is less than replicas, 2"),
        (["--model", "docs", "serve.tensr=1"], "did you mean tensor?"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    done = called("serve", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


def test_it_listens_on_loopback_and_advises_unless_told_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(server, "run", lambda *given: calls.append(given))
    for words in ([], ["--no-advisory", "--host", "0.0.0.0", "--port", "9000", "serve.limits.at_once=3"]):
        monkeypatch.setenv(VARIABLE, KEY)
        assert called("serve", "--model", str(folder), *words).returncode == 0
    (models, _, settings, _, host, port), (others, _, changed, _, elsewhere, other_port) = calls
    assert (host, port, settings.limits.at_once) == ("127.0.0.1", 8000, 32)
    assert (elsewhere, other_port, changed.limits.at_once) == ("0.0.0.0", 9000, 3)
    ((model, _),), ((silent, _),) = models, others
    assert (model.advised, silent.advised) == (True, False)
    assert silent.description == f"{model.description} The operator switched the advisory off as a system prompt."


def test_another_host_than_loopback_warns(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        server._announce(desk(PlayedEngine()), host, 8000, host in LOOPBACK)
        shown = capsys.readouterr()
        assert ("0.0.0.0 is open to other machines, and there is no TLS" in shown.err) == (host == "0.0.0.0")
        assert f"API      http://{host}:8000/v1" in shown.out


def test_without_a_key_or_with_a_taken_port_nothing_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for host in ("127.0.0.1", "0.0.0.0"):
        done = called("serve", "--model", str(folder), "--host", host)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "export GAP_API_KEY=$(openssl rand -hex 24)" in done.stderr
    monkeypatch.setenv(VARIABLE, KEY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = called("serve", "--model", str(folder), "--port", port)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert KEY not in done.stderr
