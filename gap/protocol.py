"""`gap protocol`: how two protocols ask one question, and where they differ."""

import difflib
import json
from collections.abc import Iterator
from typing import Any, get_args

import click

from eval.prompts import Chat, Messages, Prompt, fit
from eval.protocol import Protocol, load_protocol
from eval.questions import Question
from eval.settings import BenchmarkSettings, Mode
from eval.shots import draw_of
from eval.task import Kind, Task, load_task
from gap.command import table, user_errors
from lake import bundled
from lake.decision import Drop
from mixing.tokenizer.chatml import CHAT_TOKENS, NAMES, ROLES, Message, Role, render

ROOM = 10**6

SHOTS: dict[Kind, dict[str, Any]] = {
    "choice": {
        "text": "Which vitamin is given for scurvy? ",
        "options": {"A": "Vitamin A", "B": "Vitamin B12", "C": " Vitamin C", "D": "Vitamin K"},
        "answer": "C",
        "context": "Sailors without fresh fruit had bleeding gums. Citrus juice cured them within a week.",
        "explanation": "Scurvy is a lack of vitamin C, which citrus fruit has.",
    },
    "number": {
        "text": "A patient takes 2 tablets three times a day. How many tablets is that in a week?",
        "answer": "42",
        "explanation": "2 times 3 is 6 tablets a day. 6 times 7 is 42.",
    },
    "text": {"text": "Can I take ibuprofen with food?", "answer": "Yes, and food protects the stomach."},
    "entities": {"text": "Gout and psoriasis occurred in one family .", "answer": "Gout\npsoriasis"},
}
QUESTIONS: dict[Kind, dict[str, Any]] = {
    "choice": {
        "text": " Which organ makes insulin?",
        "options": {"A": "Liver", "B": "Pancreas ", "C": "Spleen", "D": "Kidney"},
        "answer": "B",
        "context": "Dogs without a pancreas became diabetic. An extract of the gland lowered their blood sugar.",
        "explanation": "The islets of the pancreas make it.",
    },
    "number": {"text": "An infusion of 1,200 ml runs at 100 ml an hour. How many hours does it take?", "answer": "12"},
    "text": {"text": "May I stop an antibiotic once I feel better?", "answer": "Ask the doctor first."},
    "entities": {"text": "No mutation was found in patients with asthma .", "answer": "asthma"},
}
"""A solved question and a question of each kind, with blanks at odd places, for protocols differ in them."""


@click.command()
@click.argument("protocol_a", metavar="A")
@click.argument("protocol_b", metavar="B")
@click.argument("task_name", metavar="[TASK]", default="medqa-4")
@click.option(
    "--mode", type=click.Choice(get_args(Mode)), help="How the model answers.  [default: letters, else answer]"
)
@click.option("--shots", is_flag=True, help="With a solved question before it.")
@click.option("--chat", is_flag=True, help="As ChatML.")
@user_errors
def protocol(protocol_a: str, protocol_b: str, task_name: str, mode: str | None, shots: bool, chat: bool) -> None:
    """Show how the protocols A and B differ, line by line, on one made-up question of the form of TASK.

    A protocol is a name from eval/protocols or the path of a YAML file, a TASK likewise one of eval/tasks. Lines of A
    alone begin with -, those of B alone with +. A blank at the end of a line is shown as ·.

    \b
    Examples:
      gap protocol strict lm-eval
      gap protocol strict meditron pubmedqa --mode thought --shots
    """
    task = load_task(task_name)
    asked = mode or ("letters" if task.kind == "choice" else "answer")
    rules, texts = [], []
    for name in (protocol_a, protocol_b):
        settings = BenchmarkSettings(task=task_name, protocol=name, mode=asked, shots=int(shots), chat=chat)
        loaded = load_protocol(name)
        prompt = _prompt(task, loaded, settings)
        rules.append(_rules(loaded, settings, prompt))
        texts.append(prompt.text)
    rows = [(key, left, rules[1][key]) for key, left in rules[0].items() if left != rules[1][key]]
    if rows:
        click.echo(table(("", bundled.tag(protocol_a), bundled.tag(protocol_b)), rows, set()) + "\n")
    for line in compared(*texts):
        click.echo(line)


def example(task: Task, number: int) -> Question:
    """A solved question (0) or a question (1) of the form of a task."""
    fields = dict((SHOTS, QUESTIONS)[number][task.kind])
    form = task.forms[0]
    if isinstance(form.options, tuple):
        fields |= {"options": {label: label for label in form.options}, "answer": form.options[0]}
    if form.fields.context is None or not task.context:
        fields |= {"context": ""}
    group = form.groups[0] if form.groups else ""
    return Question(task, "example", str(number), group=group, cluster=str(number), **fields)


def _prompt(task: Task, protocol: Protocol, settings: BenchmarkSettings) -> Prompt:
    shots = [example(task, 0)][: settings.shots]
    chat = Chat(_chatml) if settings.chat else None
    prompt = fit(example(task, 1), shots, protocol, settings, str.encode, ROOM, chat)
    assert not isinstance(prompt, Drop)
    return prompt


def _chatml(messages: Messages) -> str:
    """The messages as ChatML, and the beginning of the answer."""
    said = render([Message(ROLES[message["role"]], message["content"]) for message in messages])
    return f"{said}{CHAT_TOKENS[0]}{NAMES[Role.ASSISTANT]}\n"


def _rules(protocol: Protocol, settings: BenchmarkSettings, prompt: Prompt) -> dict[str, str]:
    """What a prompt does not show, and how the model may answer."""
    task = prompt.question.task
    way = protocol.way(task, settings.mode)
    rules: dict[str, Any] = protocol.model_dump(exclude={"title", "templates", "ways"})
    rules |= {"draw": draw_of(protocol, settings, task), "stop": way.stop, "extract": way.extract}
    rules |= {"continuations": tuple(prompt.continuations.values())}
    return {key: json.dumps(value, ensure_ascii=False) for key, value in rules.items()}


def compared(left: str, right: str) -> Iterator[str]:
    """The lines of both texts: those of one alone begin with - or +, those of both with a blank."""
    old, new = left.split("\n"), right.split("\n")
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        yield from (f"{' ' if kind == 'equal' else '-'} {_shown(line)}" for line in old[a:b])
        yield from (f"+ {_shown(line)}" for line in new[c:d] if kind != "equal")


def _shown(line: str) -> str:
    words = line.rstrip(" ")
    return words + "·" * (len(line) - len(words))
