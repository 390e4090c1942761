"""The guidelines: crawled pages of four sites, and a hospital's own as lines of JSON."""

import re
from typing import Any

from samples import sites
from samples.archive import Answer, WarcFile
from samples.bank import PHRASES, PLANTED, TOPICS, Dice, passages
from samples.packing import Record, gzipped, line
from samples.pdf import pdf, scan
from samples.reasons import Reasons, loser
from samples.sites import Guide

LARGE = 220_000
"""Bytes of the record that is over the demo's `max_bytes` of 200,000."""

AMERICAN = {"haemo": "hemo", "anaemia": "anemia", "oesophag": "esophag", "colour": "color", "tumour": "tumor"}
PAGES = {head[0]: Guide(head[0], head[1], text) for head, text in passages("pages.txt")}
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")
DAMAGED = b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: as long as it takes\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"

OVERVIEWS = "wikidoc"
"""The tag of a site whose overviews stand for their sub-pages."""


def guideline(topic: str, lines: dict[str, list[str]] | None = None) -> Guide:
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
    return Guide(topic, title, "\n\n".join(parts))


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


def make_guidelines(questions: list[Record], reasons: Reasons) -> dict[str, bytes]:
    """Files by name; what must leave is added to `reasons`."""
    topics = list(TOPICS)
    guides = {topic: guideline(topic) for topic in topics}
    files = clinic([guides[topic] for topic in topics[:14]], questions, reasons)
    files |= society([guides[topic] for topic in topics[14:31]], guides, reasons)
    files |= institute([guides[topic] for topic in topics[31:39]])
    files |= agency(reasons)
    files |= hospital([guides[topic] for topic in topics[39:]], guides, reasons)
    return files


# Crawled sites --------------------------------------------------------------------------------------------------------


def clinic(guides: list[Guide], questions: list[Record], reasons: Reasons) -> dict[str, bytes]:
    own, new = TOPICS["gout"][1], PLANTED["revision gout"]
    revised = Guide("gout-revised", "Gout, as revised", guideline("gout", own | new).text)
    scanned = Guide("malaria-scan", "Malaria", lossy(guideline("malaria").text, 50, 170))
    (_, french, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "fr")
    foreign = Guide("hypertension-fr", french, text)
    teaching = PLANTED["teaching delirium"]
    question = next(one for one in questions if "backwards" in one["question"])
    text = "\n\n".join(sentence for key in "DSETF" for sentence in teaching[key])
    case = Guide("teaching-case", "A teaching case", text.replace("%delirium", question["question"]))
    every = [*guides, revised, scanned, foreign, case]
    warc = WarcFile("example-clinic", "2023-08-01", packed=False)
    for answer in (sites.robots(sites.CLINIC), sites.index(sites.CLINIC, every)):
        warc.add(answer)
    for guide in every:
        answer = sites.clinic(guide, every)
        warc.add(answer)
        if guide in (scanned, foreign, case):
            reason = {scanned: "near_duplicate", foreign: "non_english", case: "contaminated"}[guide]
            reasons[answer.url] = reason
    rebuilt = Guide("under-construction", "Under construction", "This part of the site is being rebuilt. Come back.")
    reasons[warc.add(sites.clinic(rebuilt, every, holder="page"))] = "no_content"
    return warc.files()


def society(guides: list[Guide], known: dict[str, Guide], reasons: Reasons) -> dict[str, bytes]:
    mirror = known["migraine"]._replace(slug="migraine-mirror")
    reprint = known["hf"]._replace(slug="hf-reprint", text=lossy(shortened(known["hf"].text), 90))
    every = [*guides, mirror, reprint]
    warc = WarcFile("example-society", "2023-08-02", packed=True)
    for answer in (sites.robots(sites.SOCIETY), sites.index(sites.SOCIETY, every)):
        warc.add(answer)
    for guide in every:
        answer = sites.society(guide, every)
        warc.add(answer)
        if guide is reprint:
            reasons[answer.url] = "near_duplicate"
        elif guide is mirror:
            original = f"https://{sites.CLINIC}/guidance/migraine"
            reasons[loser("guidelines", original, answer.url)] = "exact_duplicate"
    return warc.files()


def institute(guides: list[Guide]) -> dict[str, bytes]:
    warc = WarcFile("example-institute", "2023-08-03", packed=True)
    for answer in (sites.robots(sites.INSTITUTE), sites.index(sites.INSTITUTE, guides)):
        warc.add(answer)
    for guide in guides:
        for answer in sites.institute(guide):
            warc.add(answer)
    return warc.files()


def agency(reasons: Reasons) -> dict[str, bytes]:
    """PDFs, among them some that cannot be read, in a file of which one record is damaged."""
    warc = WarcFile("example-agency", "2023-08-04", packed=False)
    good = [PAGES["heat-exhaustion"], PAGES["night-splints"]]
    locked = Guide("rota", "Duty rota", "For members of the agency only.")
    warc.add(sites.robots(sites.AGENCY))
    warc.add(sites.index(sites.AGENCY, good))

    def add(name: str, body: bytes, media: str = "application/pdf", kind: str | None = "document") -> str:
        return warc.add(Answer(f"https://{sites.AGENCY}/guidance/{name}", body, kind=kind, type=media))

    for guide in good:
        add(f"{guide.slug}.pdf", pdf(guide, "Example Agency: short guides"))
    reasons[add("rota.pdf", pdf(locked, "Example Agency", locked=True))] = "encrypted_pdf"
    reasons[add("poster.pdf", scan("Poster"))] = "scanned_pdf"
    reasons[add("damaged.pdf", b"%PDF-1.4\nThe rest of this file was lost.\n")] = "malformed_pdf"
    reasons[add("logo.png", PNG, "image/png", kind=None)] = "not_a_page"
    reasons[warc.add_raw(DAMAGED)] = "malformed_warc"
    add(
        "", sites.page("After the damage", "<p>An index page behind a damaged record is still found.</p>"), kind="index"
    )
    return warc.files()


# A hospital's own -----------------------------------------------------------------------------------------------------


def entry(native: str, title: str, text: Any, site: str = "example-hospital") -> Record:
    url = f"https://{site}.example.com/guidance/{native.removeprefix('gl-')}"
    return {"id": native, "title": title, "text": text, "url": url, "site": site, "license": "Apache-2.0"}


def hospital(guides: list[Guide], known: dict[str, Guide], reasons: Reasons) -> dict[str, bytes]:
    name, cut = "guidelines/hospital.jsonl.gz", "guidelines/hospital-cut.jsonl.gz"
    lines = [line(entry(f"gl-{guide.slug}", guide.title, guide.text)) for guide in guides[:-3]]

    def drop(reason: str, record: Record) -> None:
        lines.insert(len(lines) * 5 // 7, line(record))
        reasons[record["id"]] = reason

    def copy(topic: str, suffix: str, text: str) -> Record:
        return entry(f"gl-{topic}-{suffix}", known[topic].title, text)

    drop("near_duplicate", copy("malaria", "scan-short", lossy(shortened(known["malaria"].text), 50)))
    drop("near_duplicate", copy("anaemia", "us", shortened(american(known["anaemia"].text))))
    drop("near_duplicate", copy("asthma", "leaflet", lossy(shortened(known["asthma"].text), 120, 121)))
    leaflet = PAGES["backpain-leaflet"]
    drop("same_title", entry("gl-backpain-leaflet", leaflet.title, leaflet.text))
    again = PLANTED["repeated cohort"]
    text = "\n".join(sentence for key in "BMRC" for sentence in again[key])
    drop("repeated_id", entry("gl-celiac", "Distance, ferries and arrival at an island hospital", text))
    drop("empty", entry("gl-blank", "A page without text", " \n\t\n "))
    drop("too_short", entry("gl-stub", "A stub", PLANTED["short guidelines"]["D"][0]))
    for reason, raw in (
        ("malformed_json", line(entry("gl-broken", known["gerd"].title, known["gerd"].text))[:300] + b"\n"),
        ("wrong_type", line(entry("gl-number", "A text that is a number", 42))),
        ("missing_field", line({"id": "gl-no-text", "title": "A record without text", "license": "Apache-2.0"})),
        ("too_large", line(entry("gl-large", "A record over the limit", "filler " * (LARGE // 7)))),
    ):
        lines.append(raw)
        reasons[f"{name}:{len(lines)}"] = reason
    for slug in ("frostbite-overview", "frostbite-causes", "frostbite-treatment"):
        page = PAGES[slug]
        lines.append(line(entry(f"gl-{slug}", page.title, page.text, OVERVIEWS)))
        if not slug.endswith("overview"):
            reasons[f"gl-{slug}"] = "sub_page"
    last = [line(entry(f"gl-{guide.slug}", guide.title, guide.text)) for guide in guides[-3:]]
    reasons[f"{cut}:{len(last) + 1}"] = "truncated_file"
    lost = line(entry("gl-lost", known["burns"].title, known["burns"].text))
    return {name: gzipped(b"".join(lines)), cut: gzipped(b"".join(last), cut=lost[: len(lost) // 2])}
