"""Replay: lines as RedPajama-v1 has them, of which the demo draws a share."""

import re
from hashlib import blake2b

from samples.bank import PLANTED, Dice, passages
from samples.guidelines import lossy
from samples.packing import Record, line
from samples.reasons import Reasons, loser

NAME = "replay/replay.jsonl"


def native(record: Record) -> str:
    """What the reader calls a record: its subset, and a hash of its line."""
    subset = record.get("red_pajama_subset") or record["meta"]["source"]
    return f"{subset}:{blake2b(line(record).strip(), digest_size=16).hexdigest()}"


def make_replay(questions: list[Record], reasons: Reasons) -> dict[str, bytes]:
    """The file by its name; what must leave is added to `reasons`."""
    lines: list[bytes] = []

    def add(kind: str, title: str, text: str, reason: str | None = None) -> str:
        record = entry(kind, title, text, len(lines))
        lines.append(line(record))
        if reason:
            reasons[native(record)] = reason
        return native(record)

    texts = passages("replay-1.txt") + passages("replay-2.txt")
    known = {head[1]: body for head, body in texts}
    for number, (head, body) in enumerate(texts):
        added = add(head[0], head[1], body)
        if head[1] == "ferry timetable":
            copied = add("c4", "ferry timetable copy", body)
            reasons[loser("replay", added, copied)] = "exact_duplicate"
        elif number == 20:
            lines.append(b"\n")
        elif number == 25:
            lines.append(
                line({"text": "caf\x00", "meta": {"source": "c4"}}).replace(b"\\u0000", b"\x81\x8d\x8f\x90\x9d" * 4)
            )
            reasons[f"{NAME}:{len(lines)}"] = "undecodable"
    add("c4", "lost umbrella copy", lossy(known["lost umbrella"], 40), "near_duplicate")
    (_, german, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "de")
    add("c4", german, text, "non_english")
    quiz = PLANTED["quiz malaria"]
    question = next(one for one in questions if "tropical lake" in one["question"])
    text = "\n".join(sentence for key in "DSET" for sentence in quiz[key])
    add("c4", "quiz night", text.replace("%malaria", question["question"]), "contaminated")
    add("c4", "missing page", PLANTED["short replay"]["D"][0], "too_short")
    for (reason, title), text in passages("web.txt"):
        add("c4", title, text, None if reason == "kept" else reason)
    add("c4", "harbour log", log(), "too_long")
    lines.append(line({"meta": {"source": "c4", "url": "https://c4.example.org/nothing"}}))
    reasons[f"{NAME}:{len(lines)}"] = "missing_field"
    lines.append(b'{"text": "This record stops in the middle of a wo\n')
    reasons[f"{NAME}:{len(lines)}"] = "malformed_json"
    return {NAME: b"".join(lines)}


def entry(kind: str, title: str, text: str, number: int) -> Record:
    """A record with the keys of its subset; only those of c4 name it in `meta`."""
    slug = re.sub(r"\W+", "-", title.lower()).strip("-")
    about = {"timestamp": f"2023-{number % 12 + 1:02d}-{number % 28 + 1:02d}T00:00:00Z"}
    about |= {"url": f"https://{kind}.example.org/{slug}", "language": "en"}
    if kind == "c4":
        return {"text": text, "meta": about | {"source": "c4"}}
    return {"text": text, "meta": about | {"title": title}, "red_pajama_subset": kind}


def log() -> str:
    """More words than the demo takes."""
    dice = Dice("log")
    winds = ["calm", "a light breeze", "a fresh breeze", "half a gale", "gusts", "fog"]
    quarters = ["north", "north-east", "east", "south", "south-west", "west"]
    ships = [
        "a collier",
        "two trawlers",
        "the mail boat",
        "a yacht under jib",
        "nobody",
        "the dredger",
        "a barge of bricks",
    ]
    return "\n".join(
        f"Watch {watch}: {dice.pick(winds)} from the {dice.pick(quarters)}, glass at {dice.number(980, 1040)}, "
        f"{dice.pick(ships)} came in at {dice.number(1, 12)} and left {dice.number(1, 40)} crates on the quay."
        for watch in range(1, 31)
    )
