"""Which models to serve: those of a run, or folders. Everything about them is checked before an engine starts."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from eval.generate import check_heads, choose_dtype
from eval.numbers import SPACE, size
from gap.config import Config
from gap.plan import plan
from gap.serve.deployment import Deployed
from gap.serve.models import QUESTION_AND_ANSWER, Model
from gap.serve.settings import ServeSettings
from lake.bundled import nearest
from lake.error import UserError
from lake.step import Kind, Step, of_kind
from mixing.tokenizer.chatml import CHAT_TEMPLATE, CHAT_TOKENS
from mixing.tokenizer.kept import TEMPLATE, settings_of
from train.families import GENERATION, read_config
from train.hf import HfFolder, weight_files

MOST_CONTEXT = 8192
"""The default where a model would take more."""

PROCESSES = 2.0e9
"""Bytes of the processes of an engine on a CPU, without weights and cache."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Choice:
    """A model to serve, by its name and folder."""

    name: str
    folder: Path


def of_run(config: Config, file: str, names: Sequence[str]) -> list[Choice]:
    """The models of a run that are named, or all that are there.

    Raises:
        UserError: the run has no such model, or it is not there yet.
    """
    steps = plan(config)
    made = {_name(step): step for kind in (Kind.BASE, Kind.EXPORT) for step in of_kind(steps, kind)}
    if unknown := next((name for name in names if name not in made), None):
        raise UserError(f"{unknown}: no such model{nearest(unknown, made)}; the run has {', '.join(made)}")
    chosen = {name: made[name] for name in names} or {name: step for name, step in made.items() if step.done}
    if missing := next((name for name, step in chosen.items() if not step.done), None):
        raise UserError(f"{missing} is not there yet; run it first: gap run {file} {made[missing].name}")
    if not chosen:
        raise UserError(f"{file}: the run has no model yet; run it first: gap run {file}")
    return [Choice(name, step.output.local("model")) for name, step in chosen.items()]


def _name(step: Step[Any]) -> str:
    """As the report calls it: by its training. The model that training started from is the base."""
    return "base" if step.kind is Kind.BASE else step.input("trained").name


def of_folders(folders: Sequence[Path]) -> list[Choice]:
    """Hugging Face folders, each under its own name. A run calls the folder itself `model`."""
    choices = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give that of a Hugging Face model")
        whole = folder.absolute()
        choices.append(Choice(whole.parent.name if whole.name == "model" else whole.name, whole))
    return choices


def checked(choices: Sequence[Choice], settings: ServeSettings, on_cpu: bool) -> list[tuple[Model, Deployed]]:
    """The models as the ingress serves them and as they are deployed.

    Raises:
        UserError: two have one name, a folder is incomplete, a context is too long, or on a CPU a model's heads have no
            attention or the memory does not suffice.
    """
    names = [choice.name for choice in choices]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice}: two models have this name; rename the folder of one")
    models = [_checked(choice, settings, on_cpu) for choice in choices]
    if on_cpu:
        _check_memory(choices, settings)
    return models


def _checked(choice: Choice, settings: ServeSettings, on_cpu: bool) -> tuple[Model, Deployed]:
    config = read_config(choice.folder)
    weight_files(choice.folder)
    if on_cpu:
        check_heads(config, str(choice.folder / "config.json"))
    limit = int(config.get("max_position_embeddings") or MOST_CONTEXT)
    if settings.context is not None and settings.context > limit:
        raise UserError(f"serve.context: {settings.context} tokens, {choice.name} takes {limit}; set it to less")
    context = settings.context or min(limit, MOST_CONTEXT)
    own = learned_template(choice.folder, config)
    takes_system = not own or _takes_system(choice.folder)
    model = Model(choice.name, context, own, takes_system, settings.advisory)
    return model, Deployed(choice.name, choice.folder, context, None if own else QUESTION_AND_ANSWER)


def learned_template(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder has a chat template that its model has learned.

    Every tokenizer of a run has the project's own template. A model that was tuned on it ends its texts with the
    template's end of a turn, too; one that was only pretrained does not.
    """
    template = settings_of(folder).get(TEMPLATE)
    if template != CHAT_TEMPLATE:
        return template is not None
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    end = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == CHAT_TOKENS[1])
    file = folder / GENERATION
    generation = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    ends = [config.get("eos_token_id"), generation.get("eos_token_id")]
    return any(end in (each if isinstance(each, list) else [each]) for each in ends)


def _takes_system(folder: Path) -> bool:
    """Whether the chat template has a place for a system prompt. Some refuse it, some leave it out.

    Raises:
        UserError: the tokenizer or its template cannot be used.
    """
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    probe, question = "the advisory", [{"role": "user", "content": "a question"}]
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001 - a tokenizer from anywhere may raise anything
        raise UserError(f"{folder}: its tokenizer cannot be used: {' '.join(str(error).split())}") from None
    try:
        talk = [{"role": "system", "content": probe}, *question]
        return probe in tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False


def _check_memory(choices: Sequence[Choice], settings: ServeSettings) -> None:
    """Each engine of a CPU has processes, weights and a cache of its own."""
    wide = BYTES[choose_dtype(settings.dtype)]
    weights = sum(_parameters(choice.folder) for choice in choices) * wide
    needed = weights + len(choices) * (PROCESSES + settings.cache_gb * 2**30)
    free = psutil.virtual_memory().available
    if needed > free:
        served = "this model takes" if len(choices) == 1 else f"these {len(choices)} models take"
        line = f"{served} {size(needed)} of memory, {size(free)} are free; name fewer, or set serve.dtype=bfloat16"
        raise UserError(line.replace(SPACE, " "))


def _parameters(folder: Path) -> int:
    with HfFolder(folder) as weights:
        return sum(math.prod(weights.described(name)[0]) for name in weights)


def on_cpu(address: str) -> bool:
    """Whether engines will run on this machine's CPUs. A running cluster may have GPUs elsewhere."""
    if address != "local" or os.environ.keys() & {"RAY_JOB_ID", "RAY_ADDRESS"}:
        return False
    # Asked last, for it takes seconds to import.
    import torch

    return not torch.cuda.is_available()
