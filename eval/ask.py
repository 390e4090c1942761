"""What an engine is asked: each question of each score in all its rounds, as tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from eval.generate import Request, Tokens, Writing
from eval.prompts import Chat, Encode, Prompt, fit, rotated
from eval.protocol import Protocol, load_protocol
from eval.questions import Question, load_questions, load_shots, sample
from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.shots import shots_of
from eval.task import load_task
from lake import bundled
from lake.decision import Drop
from lake.error import UserError


@dataclass(frozen=True, slots=True)
class Ask:
    """A question in one round, as it goes to an engine. Rotation n has moved the options by n places."""

    score: str
    seed: int
    rotation: int
    prompt: Prompt
    request: Request


@dataclass(frozen=True)
class Examinee:
    """What prompts depend on.

    `encode` takes the strings of control tokens for text, `parse` for these tokens. `prefix` are the ids before every
    text but a chat, such as BOS, if the model was trained with them. `length` is the most tokens of a prompt with its
    answer. `chat` is the model's own chat template, if it has one.
    """

    encode: Encode
    parse: Encode
    length: int
    prefix: Tokens = ()
    chat: Chat | None = None


@dataclass(frozen=True)
class Way:
    """How a benchmark is asked of a model.

    Raises:
        UserError: the model has no chat template, and the benchmark is to be asked in it.
    """

    benchmark: BenchmarkSettings
    model: Examinee

    def __post_init__(self) -> None:
        if self.benchmark.chat and self.model.chat is None:
            raise UserError(
                f"evaluate.benchmarks: {self.benchmark.score}: the model has no chat template; leave out chat"
            )

    @cached_property
    def protocol(self) -> Protocol:
        return load_protocol(self.benchmark.protocol)

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt. A chat template writes its own BOS."""
        if self.benchmark.chat:
            return list(self.model.parse(text))
        plain = self.model.parse if self.protocol.control_tokens == "parsed" else self.model.encode
        return [*self.model.prefix, *plain(text)]

    def rounds(self, question: Question, shots: Mapping[int, Sequence[Question]]) -> list[Ask] | Drop:
        """The question in each round, given the shots by seed.

        One that is too long in some round is not asked in any, so that rounds compare.
        """
        found: list[Ask] = []
        for seed in self.benchmark.rounds:
            for rotation in range(len(question.options) if self.benchmark.rotate else 1):
                prompt = self._prompt(rotated(question, rotation), shots[seed])
                if isinstance(prompt, Drop):
                    return prompt
                found.append(Ask(self.benchmark.score, seed, rotation, prompt, self._request(prompt, seed)))
        return found

    def _prompt(self, question: Question, shots: Sequence[Question]) -> Prompt | Drop:
        chat = self.model.chat if self.benchmark.chat else None
        most = max((len(self.encode(text)) for text in (*question.options, *question.options.values())), default=0)
        # On rating a prompt, vLLM writes a token beyond it.
        room = self.model.length - (most + 2 if self._rates else self.benchmark.max_tokens)
        return fit(question, shots, self.protocol, self.benchmark, self.encode, room, chat)

    @property
    def _rates(self) -> bool:
        return self.benchmark.mode in ("letters", "cloze")

    def _request(self, prompt: Prompt, seed: int) -> Request:
        shared = bool(prompt.shots)
        if self._rates:
            following = self._continuations(prompt)
            return Request(tuple(prompt.tokens), tuple(following.values()), shared=shared)
        way = self.protocol.way(prompt.question.task, self.benchmark.mode)
        writing = Writing(self.benchmark.max_tokens, stop=way.stop)
        if self.benchmark.mode == "vote":
            # Each branch has a seed of its own, and so has each round.
            seeds = tuple(seed * self.benchmark.branches + branch for branch in range(self.benchmark.branches))
            writing = replace(writing, temperature=self.benchmark.temperature, seeds=seeds)
        return Request(tuple(prompt.tokens), writing=writing, shared=shared)

    def _continuations(self, prompt: Prompt) -> dict[str, Tokens]:
        """The tokens by which each continuation follows the prompt.

        Prompt and continuation are encoded together and cut at the prompt's number of tokens, as lm-eval does
        (`TemplateLM._encode_pair`).

        Raises:
            UserError: the tokenizer cannot tell two labels apart, or merges a label with the text before it.
        """
        end = len(prompt.tokens)
        found: dict[str, Tokens] = {}
        for label, text in prompt.continuations.items():
            whole = tuple(self.encode(prompt.text + text))
            tokens = whole[end:]
            if self.benchmark.mode == "letters":
                self._check_label(label, tokens, whole[:end] == tuple(prompt.tokens), found)
            found[label] = tokens
        return found

    def _check_label(self, label: str, tokens: Tokens, apart: bool, others: Mapping[str, Tokens]) -> None:
        where = f"evaluate.benchmarks: {self.benchmark.score}: the model's tokenizer"
        if not apart:
            raise UserError(f"{where} merges “{label}” with the prompt; use another protocol")
        # A label that begins with all of another could never be more likely than that.
        if not tokens or any(tokens[: len(other)] == other[: len(tokens)] for other in others.values()):
            raise UserError(f"{where} cannot tell “{label}” from another option")


@dataclass(frozen=True)
class Sample:
    """The questions of a score, those that are malformed included, and by round the shots of those that are not."""

    benchmark: BenchmarkSettings
    questions: Sequence[Question]
    shots: Mapping[int, Mapping[str, Sequence[Question]]]


def samples(settings: EvaluateSettings, data: str) -> list[Sample]:
    """What is asked of any model.

    Raises:
        UserError: a file is missing or broken, or a protocol has no way to ask a task so.
    """
    questions = load_questions(settings, data)
    chosen = sample(settings, questions)
    found = []
    for benchmark in settings.benchmarks:
        protocol, task = load_protocol(benchmark.protocol), load_task(benchmark.task)
        protocol.way(task, benchmark.mode)
        protocol.template(bundled.tag(benchmark.protocol), task, benchmark.mode)
        whole = [question for question in chosen[benchmark.score] if question.drop is None]
        solved = load_shots(benchmark, data) if benchmark.shots else []
        solved = solved or [one for one in questions if one.benchmark == benchmark.name and one.drop is None]
        ids = [question.id for question in whole]
        shots = {
            seed: dict(zip(ids, shots_of(whole, solved, protocol, benchmark, seed), strict=True))
            for seed in benchmark.rounds
        }
        found.append(Sample(benchmark, chosen[benchmark.score], shots))
    return found


def asks(chosen: Sequence[Sample], model: Examinee) -> Iterator[tuple[BenchmarkSettings, Question, list[Ask] | Drop]]:
    """Each question of each score, in order, with its rounds; or why it is not asked.

    Raises:
        UserError: the model cannot be asked so.
    """
    for one in chosen:
        way = Way(one.benchmark, model)
        for question in one.questions:
            if question.drop is not None:
                yield one.benchmark, question, question.drop
                continue
            shots = {seed: by_question[question.id] for seed, by_question in one.shots.items()}
            yield one.benchmark, question, way.rounds(question, shots)
