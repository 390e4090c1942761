"""What an engine is asked: each question of each score in all its rounds, as tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from eval.generate import Request, Tokens, Writing, label_tokens
from eval.prompts import Chat, Encode, Prompt, fit, rotated
from eval.protocol import Protocol, load_protocol
from eval.questions import Question, load_shots, sample
from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.shots import draw
from lake.decision import Drop


@dataclass(frozen=True, slots=True)
class Ask:
    """A question in one round, as it goes to an engine. Rotation n has moved the options by n places."""

    score: str
    seed: int
    rotation: int
    prompt: Prompt
    request: Request


@dataclass(frozen=True)
class Model:
    """What prompts depend on: the tokenizer's rule for text, the most tokens of a prompt with its answer, and how the
    model's own chat template renders messages, if it has one."""

    encode: Encode
    length: int
    chat: Chat | None = None


@dataclass(frozen=True)
class Way:
    """A way to ask a benchmark of a model."""

    benchmark: BenchmarkSettings
    model: Model

    @cached_property
    def protocol(self) -> Protocol:
        return load_protocol(self.benchmark.protocol)

    def rounds(self, question: Question, shots: Mapping[int, Sequence[Question]]) -> list[Ask] | Drop:
        """The question in each round, given the shots by seed.

        One that is too long in some round is not asked in any, so that rounds compare.
        """
        found: list[Ask] = []
        for seed in self.benchmark.rounds:
            for rotation in range(len(question.options) if self.benchmark.rotate else 1):
                turned = rotated(question, rotation)
                prompt = fit(
                    turned, shots[seed], self.protocol, self.benchmark, self.model.encode, self._room(turned), self.model.chat
                )
                if isinstance(prompt, Drop):
                    return prompt
                found.append(Ask(self.benchmark.score, seed, rotation, prompt, self._request(seed, prompt)))
        return found

    def _room(self, question: Question) -> int:
        """The most tokens of a prompt that leave room for the answer."""


def asks(
    settings: EvaluateSettings, data: str, questions: Sequence[Question], model: Model
) -> Iterator[tuple[BenchmarkSettings, Question, list[Ask] | Drop]]:
    """Each question of each score, in order, with its rounds; or why it is not asked."""
    samples = sample(settings, questions)
    for benchmark in settings.benchmarks:
        way, asked, pool = Way(benchmark, model), samples[benchmark.score], load_shots(benchmark, data)
        shots = {seed: draw(pool, asked, benchmark.shots, seed, way.protocol) for seed in benchmark.rounds}
        for place, question in enumerate(asked):
            here = {seed: drawn[place] for seed, drawn in shots.items()}
            yield benchmark, question, question.drop or way.rounds(question, here)
