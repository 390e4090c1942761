"""Writes the sample corpus from the sentences in samples/text: the same bytes in every run.

Usage: python -m samples.make [FOLDER]; without FOLDER the files beside this script are written anew.
"""

import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from samples.bank import EXTRAS, PHRASES, PLANTED, TEXT, TOPICS, Dice, blocks, passages
from samples.jats import paper_xml
from samples.studies import Study

HERE = Path(__file__).resolve().parent
LARGE = 220_000
"""Bytes of the record that is over the demo's `max_bytes` of 200,000."""

PAPERS_WITH_ABSTRACT = 14
ENTITY = '[\n<!ENTITY lab "an entity of its own">\n]'
GZIP_HEADER = bytes.fromhex("1f8b08000000000002ff")
"""No file name, no time, unknown system: nothing that differs between machines."""

Record = dict[str, Any]
Expected = dict[str, dict[str, str]]
"""Reason by source and native id, or `file:line` for a record that is no document."""

AMERICAN = {"haemo": "hemo", "anaemia": "anemia", "oesophag": "esophag", "colour": "color", "tumour": "tumor"}
SITES = ("example-clinic", "example-society", "example-institute")


def guideline(topic: str, lines: dict[str, list[str]] | None = None) -> Record:
    """The page on a topic; `lines` replaces the topic's own sentences while everything chosen stays the same."""
    title, own = TOPICS[topic]
    dice = Dice(f"guideline {topic}")
    named = title if title[:2].isupper() else title[0].lower() + title[1:]
    notes = dice.some(PHRASES["guideline.note"], 4)
    parts = [dice.pick(PHRASES["guideline.opening"]).format(topic=named)]
    for key in dice.pick(["DCSETFPN", "DSECTFPN", "NDCSETPF", "DCSEPTFN", "DNSCETFP"]):
        sentences = (lines or own)[key]
        parts.append(f"# {dice.pick(PHRASES[f'heading.{key}'])}")
        as_list = len(sentences) > 1 and dice.number(0, 2) == 0
        parts.append("\n".join(f"- {one}" for one in sentences) if as_list else " ".join(sentences))
        if key in "STP":
            parts.append(notes.pop())
    parts += ["# " + dice.pick(["Before the patient leaves", "Safety net", "Finally"]), notes.pop()]
    parts.append(dice.pick(PHRASES["guideline.closing"]))
    return page(f"gl-{topic}", title, "\n\n".join(parts))


def page(native: str, title: str, text: Any) -> Record:
    site = SITES[len(native) % len(SITES)]
    url = f"https://{site}.example.org/guidance/{native.removeprefix('gl-')}"
    return {"id": native, "title": title, "text": text, "url": url, "site": site, "license": "Apache-2.0"}


def lossy(text: str, *words: int) -> str:
    """A poor copy: without the words at these positions, counted over the whole text."""
    spans = [found.span() for found in re.finditer(r" \S+", text)]
    for start, end in (spans[word] for word in sorted(words, reverse=True)):
        text = text[:start] + text[end:]
    return text


def american(text: str) -> str:
    for british, spelling in AMERICAN.items():
        text = text.replace(british, spelling)
    return text


def shortened(text: str) -> str:
    """Without its last line."""
    return text.rpartition("\n")[0].rstrip()


def line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def gzipped(data: bytes, cut: bytes | None = None) -> bytes:
    """A gzip member; with `cut` those bytes follow the data, and the stream stops before it is ended."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data)
    if cut is not None:
        return GZIP_HEADER + body + packer.compress(cut) + packer.flush(zlib.Z_SYNC_FLUSH)
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return GZIP_HEADER + body + packer.flush() + trailer


def at(name: str, lines: list[bytes]) -> str:
    """The `file:line` of the line last added."""
    return f"{name}:{len(lines)}"


def make_guidelines(questions: list[Record], expected: Expected) -> dict[str, bytes]:
    reasons = expected["guidelines"]
    topics = list(TOPICS)
    name = "guidelines/guidelines.jsonl"
    lines = [line(guideline(topic)) for topic in topics[:40]]

    def drop(reason: str, record: Record) -> None:
        lines.insert(len(lines) * 5 // 7, line(record))
        reasons[record["id"]] = reason

    def copy(topic: str, suffix: str, text: str) -> Record:
        return page(f"gl-{topic}-{suffix}", TOPICS[topic][0], text)

    texts = {topic: guideline(topic)["text"] for topic in topics}
    drop("exact_duplicate", copy("migraine", "mirror", texts["migraine"]))
    drop("near_duplicate", copy("hf", "reprint", lossy(shortened(texts["hf"]), 90)))
    drop("near_duplicate", copy("malaria", "scan", lossy(texts["malaria"], 50, 170)))
    drop("near_duplicate", copy("malaria", "scan-short", lossy(shortened(texts["malaria"]), 50)))
    drop("near_duplicate", copy("anaemia", "us", shortened(american(texts["anaemia"]))))
    own, new = TOPICS["gout"][1], PLANTED["revision gout"]
    lines.append(line(copy("gout", "revised", guideline("gout", own | new)["text"])))
    teaching = PLANTED["teaching delirium"]
    question = next(one for one in questions if "backwards" in one["question"])
    text = "\n\n".join(sentence for key in "DSETF" for sentence in teaching[key])
    drop("contaminated", page("gl-teaching-case", "A teaching case", text.replace("%delirium", question["question"])))
    (_, french, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "fr")
    drop("non_english", page("gl-hypertension-fr", french, text))
    drop("empty", page("gl-blank", "A page without text", " \n\t\n "))
    drop("too_short", page("gl-stub", "A stub", PLANTED["short guidelines"]["D"][0]))
    for reason, raw in (
        ("malformed_json", line(guideline("gerd") | {"id": "gl-broken"})[:300] + b"\n"),
        ("wrong_type", line(page("gl-number", "A text that is a number", 42))),
        ("missing_field", line({"id": "gl-no-text", "title": "A record without text", "license": "Apache-2.0"})),
    ):
        lines.append(raw)
        reasons[at(name, lines)] = reason
    lines.append(line(guideline(topics[40])))

    more = "guidelines/guidelines-more.jsonl.gz"
    second = [line(guideline(topic)) for topic in topics[41:50]]
    second.append(line(page("gl-large", "A record over the limit", "filler " * (LARGE // 7))))
    reasons[at(more, second)] = "too_large"
    second += [line(guideline(topic)) for topic in topics[50:54]]
    second.append(line(copy("asthma", "leaflet", lossy(shortened(texts["asthma"]), 120, 121))))
    reasons["gl-asthma-leaflet"] = "near_duplicate"

    cut = "guidelines/guidelines-cut.jsonl.gz"
    third = [line(guideline(topic)) for topic in topics[54:]]
    reasons[f"{cut}:{len(third) + 1}"] = "truncated_file"
    lost = line(guideline("burns") | {"id": "gl-lost"})
    return {
        name: b"".join(lines),
        more: gzipped(b"".join(second)),
        cut: gzipped(b"".join(third), cut=lost[: len(lost) // 2]),
    }


def make_papers(studies: list[Study], expected: Expected) -> dict[str, bytes]:
    cited = [study.title for study in studies]
    told = [study for study in studies if study.title in EXTRAS]
    files = {
        f"papers/paper-{number:02d}.xml": paper_xml(study, EXTRAS[study.title], TOPICS[study.topic][1], cited)
        for number, study in enumerate(told, 1)
    }
    bare = [study for study in studies if study.title not in EXTRAS]
    xml = [paper_xml(study, {}, TOPICS[study.topic][1], cited) for study in bare[:3]]
    start, end = xml[1].index("<body>"), xml[1].index("</body>") + len("</body>")
    planted = {
        "malformed_xml": xml[0].replace("</abstract>", "", 1),
        "no_body": xml[1][:start] + xml[1][end:],
        "hostile_xml": re.sub(r"(<!DOCTYPE article)[^>]*>", rf"\1 {ENTITY}>", xml[2], count=1),
    }  # fmt: skip
    for reason, text in planted.items():
        name = f"papers/{reason.replace('_', '-')}.xml"
        files[name] = text
        expected["papers"][name] = reason
    return {name: text.encode() for name, text in files.items()}


def make_abstracts(studies: list[Study], expected: Expected) -> dict[str, bytes]:
    reasons = expected["abstracts"]
    name = "abstracts/abstracts.jsonl.gz"
    papers = [study for study in studies if study.title in EXTRAS][:PAPERS_WITH_ABSTRACT]
    records = [study.record() for study in studies if study.title not in EXTRAS or study in papers]
    reasons |= {study.pmid: "id_duplicate" for study in papers}
    # The last of them is known by its DOI alone: its number in the registry is another one.
    by_doi = next(record for record in records if record["pmid"] == papers[-1].pmid)
    by_doi |= {"pmid": "99000900", "doi": papers[-1].doi}
    reasons["99000900"] = reasons.pop(papers[-1].pmid)
    by_title = {record["title"]: record for record in records}

    def drop(pmid: str, reason: str, title: str, text: str) -> None:
        records.insert(len(records) // 2, by_title[title] | {"pmid": pmid, "abstract": text})
        reasons[pmid] = reason

    kettle = "Height of kettles and scalds in toddlers"
    drop("99000901", "exact_duplicate", kettle, by_title[kettle]["abstract"])
    choir = "Singing as an adjunct to rehabilitation in chronic obstructive pulmonary disease"
    drop("99000902", "near_duplicate", choir, lossy(by_title[choir]["abstract"], 60))
    again = PLANTED["repeated cohort"]
    repeated = studies[-1].record()
    repeated |= {"title": "Distance, ferries and arrival at an island hospital"}
    records.append(repeated | {"abstract": "\n".join(sentence for key in "BMRC" for sentence in again[key])})
    reasons[repeated["pmid"]] = "repeated_id"
    (_, title, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "es")
    records.append(repeated | {"pmid": "99000903", "title": title, "abstract": text})
    reasons["99000903"] = "non_english"
    lines = [line(record) for record in records]
    lines.append(line({"title": "A record without a number", "abstract": studies[-2].abstract, "year": 2015}))
    reasons[at(name, lines)] = "missing_field"
    return {name: gzipped(b"".join(lines))}


def make_replay(questions: list[Record], expected: Expected) -> dict[str, bytes]:
    reasons = expected["replay"]
    name = "replay/replay.jsonl"
    lines: list[bytes] = []

    def add(kind: str, title: str, text: str, reason: str | None = None) -> None:
        slug = re.sub(r"\W+", "-", title.lower()).strip("-")
        number = len(lines)
        meta = {"source": kind, "url": f"https://{kind}.example.org/{slug}"}
        meta["timestamp"] = f"2023-{number % 12 + 1:02d}-{number % 28 + 1:02d}T00:00:00Z"
        lines.append(line({"text": text, "meta": meta}))
        if reason:
            reasons[at(name, lines)] = reason

    texts = passages("replay-1.txt") + passages("replay-2.txt")
    known = {head[1]: body for head, body in texts}
    for number, (head, body) in enumerate(texts):
        add(head[0], head[1], body)
        if number == 12:
            add("c4", "ferry timetable copy", known["ferry timetable"], "exact_duplicate")
        elif number == 20:
            lines.append(b"\n")
            add("c4", "telescope fog copy", lossy(known["telescope fog"], 40), "near_duplicate")
        elif number == 25:
            lines.append(line({"text": "caf\x00", "meta": {"source": "c4"}}).replace(b"\\u0000", b"\xe9 \xff"))
            reasons[at(name, lines)] = "undecodable"
    (_, german, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "de")
    add("c4", german, text, "non_english")
    quiz = PLANTED["quiz malaria"]
    question = next(one for one in questions if "tropical lake" in one["question"])
    text = "\n".join(sentence for key in "DSET" for sentence in quiz[key])
    add("c4", "quiz night", text.replace("%malaria", question["question"]), "contaminated")
    add("c4", "missing page", PLANTED["short replay"]["D"][0], "too_short")
    lines.append(line({"meta": {"source": "c4", "url": "https://c4.example.org/nothing"}}))
    reasons[at(name, lines)] = "missing_field"
    lines.append(b'{"text": "The record stops in the middle of a wo\n')
    reasons[at(name, lines)] = "malformed_json"
    return {name: b"".join(lines)}


def make_questions() -> list[Record]:
    found: list[Record] = []
    for text in (TEXT / "questions.txt").read_text(encoding="utf-8").splitlines():
        if not text.startswith("#"):
            question, *options, answer = (field.strip() for field in text.split("|"))
            found.append({"question": question, "options": dict(zip("ABCD", options, strict=True)), "answer": answer})
    return [{"id": f"qa-{number:03d}"} | record for number, record in enumerate(found, 1)]


def make_benchmark(questions: list[Record], expected: Expected) -> dict[str, bytes]:
    dice = Dice("chart")
    chart = [
        f"Entry {entry}: temperature {dice.number(360, 399) / 10}, pulse {dice.number(60, 130)}, pressure "
        f"{dice.number(90, 160)} over {dice.number(50, 95)}, breaths {dice.number(12, 30)}, saturation "
        f"{dice.number(85, 99)} percent, urine {dice.number(10, 90)} millilitres, "
        f"drink {dice.number(20, 300)} millilitres, pain {dice.number(0, 10)} of 10."
        for entry in range(1, 161)
    ]
    asked = " ".join(["Read the whole chart.", *chart, "Which value was charted first in every entry?"])
    options = {"A": "Temperature", "B": "Pulse", "C": "Pain", "D": "Urine"}
    broken: Record = {"id": "qa-041", "question": "Which bone is the longest of the human body?"}
    broken |= {"options": {"A": "Femur", "B": "Ulna", "C": "Rib"}, "answer": "E"}
    long = {"id": "qa-042", "question": asked, "options": options, "answer": "A"}
    expected["sample-qa"] |= {"qa-041": "malformed_question", "qa-042": "prompt_too_long"}
    return {"benchmarks/sample-qa.jsonl": b"".join(map(line, [*questions, broken, long]))}


def make() -> dict[str, bytes]:
    """Every file of the corpus by its name within the folder."""
    expected: Expected = {source: {} for source in ("guidelines", "papers", "abstracts", "replay", "sample-qa")}
    specs = blocks("studies-1.txt") + blocks("studies-2.txt")
    studies = [Study(number, block) for number, block in enumerate(specs, 1)]
    questions = make_questions()
    files = make_guidelines(questions, expected)
    files |= make_papers(studies, expected)
    files |= make_abstracts(studies, expected)
    files |= make_replay(questions, expected)
    files |= make_benchmark(questions, expected)
    files["expected.json"] = json.dumps(expected, indent=2).encode() + b"\n"
    return files


def main(folder: Path) -> None:
    for name, data in make().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
