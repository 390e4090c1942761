"""`gap convert`: a Hugging Face model to a Megatron checkpoint, and back."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gap.command import user_errors
from lake.error import UserError
from train.families import CONFIG, shape_of

if TYPE_CHECKING:
    from train.weights import Rows

LONGEST = 512
"""Tokens at the gate."""

BESIDE = ("tokenizer*", "special_tokens_map.json", "*.jinja", "vocab.json", "merges.txt", "generation_config.json")
"""Files that go along unchanged."""


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.argument("target", metavar="TO", type=click.Path(path_type=Path))
@click.option("--like", type=click.Path(path_type=Path), help="Hugging Face folder with the config of a checkpoint.")
@click.option("--tolerance", default=1e-3, show_default=True, help="How far the logits of both models may differ.")
@user_errors
def convert(source: Path, target: Path, like: Path | None, tolerance: float) -> None:
    """Convert the Hugging Face folder FROM to the Megatron checkpoint TO, or the checkpoint FROM to the folder TO.

    Llama 2 and 3, Mistral, SmolLM2, Qwen2 and Qwen2.5, as safetensors. Any layout of workers loads the checkpoint, and
    a checkpoint of any layout can be converted. Weights are read one by one: a 70B model needs memory for its largest
    matrix in float32, a few gigabytes.

    TO appears only if it is the same model: both compute the same logits, and converting back gives the same bits.
    What would get lost is refused by its name.

    A checkpoint keeps config and tokenizer of the folder that it came from, so it can be converted back. Training
    writes checkpoints without a config; there, --like names a folder that has it. Convert only checkpoints that you
    trust: their index is a Python pickle.

    \b
    Examples:
      gap convert /models/Llama-2-7b-hf /models/llama-2-7b-megatron
      gap convert /models/llama-2-7b-megatron /models/llama-2-7b-back
      gap convert runs/x/pretrain-0a1b2c3d4e5f/checkpoints/step-00001000 model --like runs/x/import-5f4e3d2c1b0a/model
    """
    if target.exists():
        raise UserError(f"{target}: already there; name a new folder")
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    # torch and Megatron take seconds to import, and --help needs neither.
    from train.store import is_checkpoint
    from train.weights import ParityError

    try:
        figures = (
            _to_hf(source, draft, like or source, tolerance)
            if is_checkpoint(source)
            else _to_megatron(source, draft, tolerance)
        )
    except ParityError as error:
        raise UserError(f"{error}; the rejected model is in {draft}") from None
    draft.rename(target)
    click.echo(
        f"{target}: {figures['parameters']:,} parameters; logits differ by up to "
        f"{figures['max_logit_difference']:.1e}, "
        f"{figures['argmax_agreement']:.1%} same top token; {figures['identical_tensors']:,} tensors equal bit by bit"
    )


def _to_megatron(source: Path, draft: Path, tolerance: float) -> Mapping[str, Any]:
    from train.convert import Gate, to_megatron
    from train.hf import open_folder
    from train.weights import Rows

    base = open_folder(source)
    base.check()
    rows = Rows(base.vocab_size)
    figures = to_megatron(base, draft, rows, Gate(_sample(source, rows, base.shape.window), tolerance), "convert")
    shutil.copy2(source / CONFIG, draft)
    _beside(source, draft)
    return figures


def _to_hf(source: Path, draft: Path, like: Path, tolerance: float) -> Mapping[str, Any]:
    from train.convert import Gate, Target, to_hf
    from train.hf import read_configs
    from train.weights import Rows

    if not (like / CONFIG).is_file():
        raise UserError(f"{like}: a checkpoint without {CONFIG}; name a Hugging Face folder of the model with --like")
    config, generation = read_configs(like)
    shape = shape_of(config, str(like / CONFIG))
    vocab_size = int(config["vocab_size"])
    sample = _sample(like, Rows(vocab_size), shape.window)
    to = Target(draft, config, vocab_size, generation=generation)
    figures = to_hf(source, shape, to, Gate(sample, tolerance), "convert")
    _beside(like, draft)
    return figures


def _beside(source: Path, draft: Path) -> None:
    for file in {file for pattern in BESIDE for file in source.glob(pattern)}:
        if file.is_file() and not (draft / file.name).exists():
            shutil.copy2(file, draft)


def _sample(folder: Path, rows: "Rows", window: int | None) -> Any:
    """Token ids of a text by the folder's tokenizer. Where it has none, bytes stand in for tokens."""
    from mixing.tokenizer.build import TokenizerSettings, adopt
    from train.gate import sample

    try:
        made = adopt(TokenizerSettings(path=str(folder)))
    except UserError:
        click.echo(f"{folder}: no tokenizer; the logits are compared on bytes of a text", err=True)
        tokens = sample(lambda text: [byte % rows.size for byte in text.encode()], rows)
    else:
        # Ids beyond the base's own are none of this text.
        tokens = sample(lambda text: [number for number in made.encode([text])[0].tolist() if number < rows.size], rows)
    return tokens[:, : min(LONGEST, window or LONGEST)]
