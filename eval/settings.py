"""The section `evaluate`: what is asked, and how."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from eval.protocol import protocol_file
from eval.task import task_file
from lake import bundled
from lake.config import Settings
from lake.error import UserError
from lake.values import Count, Seconds, Seed, Text, Workers

Mode = Literal["letters", "cloze", "answer", "thought", "vote"]
"""How a model answers: by the label with the largest log-probability (`letters`), by the option whose text has it
(`cloze`), by what it writes (`answer`), by what it writes after thinking step by step (`thought`), or by the majority
of several such thoughts (`vote`)."""

SEEDS = (1234, 432, 32)
"""Those of MEDITRON."""


class BenchmarkSettings(Settings):
    """A benchmark to ask, and how.

    Attributes:
        task: The name of a file in eval/tasks, or the path of a YAML file.
        limit: Ask only this many questions, those whose ids have the smallest hashes. A larger limit adds questions to
            this random sample and removes none. Decontamination searches for all.
        files: Paths below the data folder that replace the task's own. Each must exist.
        protocol: The name of a file in eval/protocols, or the path of a YAML file.
        mode: How the model answers.
        shots: Solved questions before each question.
        seeds: Each draws other shots, or other samples of a vote. Without either, each question is asked once.
        chat: Ask in the form of the model's own chat template.
        rotate: Ask each question once for each rotation of its options.
        branches: Thoughts of a vote.
        temperature: Of the samples of a vote.
        max_tokens: The most tokens that the model may write.
    """

    task: Text
    limit: Count | None = None
    files: tuple[Text, ...] = ()
    protocol: Text = "strict"
    mode: Mode = "letters"
    shots: int = Field(default=0, ge=0, le=64)
    seeds: tuple[Seed, ...] = Field(default=SEEDS, min_length=1)
    chat: bool = False
    rotate: bool = False
    branches: Annotated[Count, Field(le=1024)] = 5
    temperature: float = Field(default=0.8, ge=0, le=4)
    max_tokens: Count = 256

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        try:
            task_file(task)
        except UserError as error:
            raise ValueError(str(error)) from None
        return task

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, protocol: str) -> str:
        try:
            protocol_file(protocol)
        except UserError as error:
            raise ValueError(str(error)) from None
        return protocol

    @property
    def name(self) -> str:
        """The benchmark's name in tables and reports."""
        return bundled.tag(self.task)

    @property
    def score(self) -> str:
        """The name of the score. Two that differ are never in one column."""
        words = [self.name, bundled.tag(self.protocol), self.mode, f"{self.shots}-shot"]
        return " ".join(words + ["chat"] * self.chat + ["rotated"] * self.rotate)

    @property
    def rounds(self) -> tuple[int, ...]:
        """The seeds that make a difference."""
        return self.seeds if self.shots or self.mode == "vote" else self.seeds[:1]


class EvaluateSettings(Settings):
    """The benchmarks for a model.

    Attributes:
        benchmarks: In the order of the report. One may be named several times, if it is asked in several ways.
        dtype: The type of weights and arithmetic. `auto` is bfloat16 on a GPU or a CPU with AVX-512, else float32.
        max_length: The most tokens of a prompt with its answer. The default is the limit of the model's config.
        replicas: The most engines side by side, as far as the cluster has room for them. The default is one for each
            group of `tensor` GPUs, else one.
        tensor: GPUs that share the matrices of one engine, all in one machine. Without a GPU, it does not count.
        timeout: The most seconds that an engine may take for some questions before it is replaced.
        checkpoints: Ask every kept checkpoint of a training, not only the last.
    """

    benchmarks: tuple[BenchmarkSettings, ...] = Field(min_length=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_length: Annotated[Count, Field(ge=16)] | None = None
    replicas: Workers | None = Field(default=None, exclude=True)
    tensor: Workers = 1
    timeout: Seconds = Field(default=3600, exclude=True)
    checkpoints: bool = Field(default=False, exclude=True)

    @field_validator("benchmarks")
    @classmethod
    def _once(cls, benchmarks: tuple[BenchmarkSettings, ...]) -> tuple[BenchmarkSettings, ...]:
        names = [benchmark.score for benchmark in benchmarks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} is named twice")
        return benchmarks
