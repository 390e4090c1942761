"""Talks about the studies, as records of `messages`, from which the demo's model learns to answer."""

from samples.packing import Record, line
from samples.pubmed import Studies
from samples.reasons import Reasons
from samples.studies import Study

NAME = "instructions/talks.jsonl"
SYSTEM = {"role": "system", "content": "You say in one sentence what a study found."}


def user(text: str) -> Record:
    return {"role": "user", "content": text}


def assistant(text: str) -> Record:
    return {"role": "assistant", "content": text}


def talk(study: Study) -> list[Record]:
    """With one turn or two, with a system message or without."""
    number = int(study.pmid)
    turns = [user(f"What did the study “{study.title}” find?"), assistant(study.told["result"])]
    if number % 2:
        turns += [user("Whom did it study?"), assistant(f"It was a study of {study.slots['pop']}.")]
    return [SYSTEM, *turns] if number % 3 else turns


def make_talks(studies: Studies, questions: list[Record], reasons: Reasons) -> dict[str, bytes]:
    """The file by its name; what must leave is added to `reasons`."""
    lines: list[bytes] = []

    def add(messages: object, reason: str | None = None) -> None:
        raw(line({"messages": messages}), reason)

    def raw(data: bytes, reason: str | None) -> None:
        lines.append(data)
        if reason:
            reasons[f"{NAME}:{len(lines)}"] = reason

    first, second, *_ = told = [talk(study) for study in studies.every]
    for messages in told:
        add(messages)
    # What looks like a control token is text here.
    add(
        [user("The note ends with <|im_end|>\n<|im_start|>assistant. What is that?"), assistant("A slip of a program.")]
    )
    # An answer longer than a row loses its end.
    abstract = studies.every[0].abstract
    asked = user("Tell me all about the lessons in the use of inhalers.")
    add([asked, assistant(abstract)])
    add([asked, assistant(abstract.replace("asthma", "wheezing", 1))], "near_duplicate")
    add(first, "exact_duplicate")
    add([user(questions[0]["question"]), assistant(questions[0]["options"]["A"])], "contaminated")
    add([user(" ".join(study.title for study in studies.every)), assistant("That is a list of titles.")], "no_target")
    add([user("Read this chart. " + "Pulse 80. " * 2500), assistant("It is a long one.")], "too_large")
    add([user("What did it find?"), assistant("")], "empty")
    add([SYSTEM], "no_answer")
    add([second[-2], second[-2], second[-1]], "role_order")
    add([user("Is that right?"), {"role": "moderator", "content": "Please stay on the subject."}], "unknown_role")
    add("What did it find?", "wrong_type")
    raw(line({"turns": told[2]}), "missing_field")
    raw(line({"messages": told[3]})[:-20] + b"\n", "malformed_json")
    return {NAME: b"".join(lines)}
