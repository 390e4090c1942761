"""The text of a PDF from a GROBID server, which knows papers: it gets the PDF and answers TEI XML."""

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import httpx
from lxml import etree

from ingest.pages.page import Page, PageNote
from ingest.pages.pdf import MAX_BYTES, pdf_text
from ingest.pages.pdf_text import BULLET
from ingest.sources.escaped import unescaped
from ingest.sources.jats_signs import UNDERLINED, script
from ingest.sources.jats_tables import rows
from ingest.sources.jats_tree import NEAR, children, first, following, join_scripts, local
from ingest.sources.paper_text import named
from ingest.sources.xml_guard import SAFE
from ingest.web.politeness import backoff
from lake.decision import Drop, Reason

SECONDS: Final = 300.0
CONNECT_SECONDS: Final = 10.0
MAX_ANSWER: Final = 64 * 2**20

RETRIES: Final = 3
FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 10.0
"""Of asking a busy server again; waits are in seconds. GROBID answers 503 while all its threads work."""

DOCTYPE: Final = b"<!DOCTYPE"
BLOCKS = frozenset({"div", "p", "list", "figure", "formula"})
SKIPPED = frozenset({"note", "head", "list", "figure", "listBibl"})
"""Elements that are no part of running text. Heads, lists and figures are written as blocks."""

SPACED = frozenset({"p", "s", "lb", "pb", "formula", "label"})
"""Elements that separate words."""


class _AnswerError(Exception):
    """The server gave no page; the text says why."""


def server_url(url: str) -> str:
    """The URL of a server without a slash at its end. Raises ValueError if it is not one."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 2**16:
        raise ValueError(f"{url!r} is not the URL of a server, such as http://localhost:8070")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("a GROBID server's URL is stored with the run; it must have no password, query or fragment")
    return url.rstrip("/")


def grobid_or_pdf_text(data: bytes, url: str) -> Page | Drop:
    """Title and text of a PDF from GROBID. If GROBID gives none, pdfium reads it, and `fallback` says why."""
    page = grobid_text(data, url)
    if isinstance(page, Page):
        return page
    plain = pdf_text(data)
    if isinstance(plain, Drop):
        return Drop(plain.reason, f"{plain.evidence}; not read by GROBID: {page.evidence}", plain.score)
    return replace(plain, fallback=page.evidence)


def grobid_text(data: bytes, url: str, seconds: float = SECONDS, max_answer: int = MAX_ANSWER) -> Page | Drop:
    """Title and text of a PDF, as the GROBID server at `url` reads it, within `seconds`.

    The PDF is dropped if the server is out of reach, busy or too slow, or answers a status other than 200 or more than
    `max_answer` bytes; and if the answer has a DTD, is malformed, is not TEI, or has neither abstract nor body.
    References, notes and acknowledgements are left out.
    """
    if len(data) > MAX_BYTES:
        return Drop(Reason.TOO_LARGE, f"a PDF of {len(data):,} bytes; at most {MAX_BYTES:,} are sent", float(len(data)))
    try:
        answer = asyncio.run(_ask(data, f"{url}/api/processFulltextDocument", seconds, max_answer))
    except TimeoutError:
        return Drop(Reason.NOT_A_PAGE, f"{url} gave no page within {seconds:g} seconds")
    except (httpx.HTTPError, _AnswerError) as error:
        return Drop(Reason.NOT_A_PAGE, f"{url}: {error or type(error).__name__}")
    return tei_text(answer)


async def _ask(data: bytes, url: str, seconds: float, max_answer: int) -> bytes:
    """The bytes of the answer. The limit is on the total time, for a server may send a byte now and then."""
    chance = random.Random(data)
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(timeout=httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))) as client,
    ):
        for attempt in range(RETRIES + 1):
            if attempt:
                await asyncio.sleep(backoff(attempt - 1, FIRST_WAIT, LONGEST_WAIT, chance))
            answer = await _post(client, data, url, max_answer)
            if answer is not None:
                return answer
    raise _AnswerError(f"status 503, {RETRIES + 1} times in a row")


async def _post(client: httpx.AsyncClient, data: bytes, url: str, max_answer: int) -> bytes | None:
    """The answer to a request; None from a busy server."""
    # Consolidation would ask services on the web, and the text would depend on what they answer that day.
    fields = {"consolidateHeader": "0", "consolidateCitations": "0"}
    files = {"input": ("input.pdf", data, "application/pdf")}
    headers = {"accept": "application/xml", "accept-encoding": "identity"}
    async with client.stream("POST", url, data=fields, files=files, headers=headers) as answer:
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        if answer.status_code != httpx.codes.OK:
            raise _AnswerError(f"status {answer.status_code}")
        body = bytearray()
        # Raw, for what a server compresses without being asked could unpack to any size.
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > max_answer:
                raise _AnswerError(f"an answer over {max_answer:,} bytes")
    return bytes(body)


def tei_text(data: bytes) -> Page | Drop:
    """Title and text of TEI XML. A DTD is refused: GROBID writes none, and one could do harm."""
    hostile = Drop(Reason.HOSTILE_XML, "the TEI has a DTD")
    # The parser comes later, for a bomb in an attribute makes it fail with another error.
    if DOCTYPE in data.replace(b"\0", b"").partition(b"<TEI")[0]:
        return hostile
    try:
        root = etree.fromstring(data, etree.XMLParser(**SAFE))
    except etree.XMLSyntaxError as error:
        return Drop(Reason.MALFORMED_XML, f"the TEI is malformed: {error.msg}")
    if root.getroottree().docinfo.internalDTD is not None:
        return hostile
    if local(root) != "TEI":
        return Drop(Reason.WRONG_TYPE, f"<{local(root):.80}> instead of <TEI>")
    join_scripts(root)
    header, text = first(root, "teiHeader"), first(root, "text")
    abstract = list(_blocks(first(first(header, "profileDesc"), "abstract"), 1))
    body = [*_blocks(first(text, "body"), 0), *_annexes(first(text, "back"))]
    if not abstract and not body:
        return Drop(Reason.NO_CONTENT, "the TEI has neither abstract nor body")
    title = _line(first(first(first(header, "fileDesc"), "titleStmt"), "title"))
    struck = [
        *root.iter("{*}del"),
        *(hi for hi in root.iter("{*}hi") if re.search("strike|line-through", hi.get("rend") or "")),
    ]
    notes = (PageNote("struck out text", f"{len(struck):,}"),) if struck else ()
    heads = [f"# {title}"] * bool(title) + ["# Abstract"] * bool(abstract)
    return Page(title or None, "\n\n".join([*heads, *abstract, *body]), notes=notes)


def _annexes(back: etree._Element | None) -> Iterator[str]:
    for div in children(back, "div") if back is not None else ():
        if div.get("type") == "annex":
            yield from _blocks(div, 0)


def _blocks(node: etree._Element | None, depth: int) -> Iterator[str]:
    """The blocks of an element in order; text between blocks is one too. `depth` counts the sections it is in."""
    if node is None:
        return
    running = [node.text or ""]
    for child in node:
        name = local(child)
        if name in BLOCKS:
            yield from _paragraph(running)
            running = [""]
            yield from _block(child, name, depth)
        elif name not in SKIPPED:
            running.append(_styled("".join(_texts(child, running[-1][-NEAR:])), child, running[-1]))
        running.append(child.tail or "")
    yield from _paragraph(running)


def _block(node: etree._Element, name: str, depth: int) -> Iterator[str]:
    if name == "div":
        head = first(node, "head")
        heading = _line(head)
        if head is not None and heading:
            # GROBID writes all sections on one level, and only the number shows how deep a section is.
            deep = depth > 0 or "." in head.get("n", "").strip(".")
            yield f"{'##' if deep else '#'} {heading}"
        yield from _blocks(node, depth + 1)
    elif name == "list":
        items = (BULLET.sub("", _line(item), count=1).strip() for item in node.iter("{*}item"))
        if lines := [f"- {item}" for item in items if item]:
            yield "\n".join(lines)
    elif name == "figure":
        yield from filter(None, [_caption(node), _rows(node)])
    else:
        yield from _blocks(node, depth)


def _caption(figure: etree._Element) -> str:
    word = "Table" if figure.get("type") == "table" else "Figure"
    label = _line(first(figure, "label"))
    head, legend = _line(first(figure, "head")), _line(first(figure, "figDesc"))
    if not head and label:
        head = f"{named(label, word)}:"
    return legend if legend.startswith(head) else f"{head} {legend}".strip()


def _rows(figure: etree._Element) -> str:
    return "\n".join(row for table in figure.iter("{*}table") for row in rows(table, _line))


def _paragraph(running: list[str]) -> Iterator[str]:
    if text := unescaped(" ".join("".join(running).split())):
        yield text


def _line(node: etree._Element | None) -> str:
    """An element's text on one line; empty if there is no element."""
    return "" if node is None else unescaped(" ".join("".join(_texts(node)).split()))


def _texts(node: etree._Element, before: str = "") -> Iterator[str]:
    """The texts of an element, where `before` stands before it."""
    space = " " if local(node) in SPACED else ""
    yield space + (node.text or "")
    last = before + space + (node.text or "")
    for child in node:
        if local(child) not in SKIPPED:
            text = _styled("".join(_texts(child, last[-NEAR:])), child, last)
            yield text
            last += text
        yield child.tail or ""
        last = (last + (child.tail or ""))[-NEAR:]
    yield space


def _styled(text: str, node: etree._Element, before: str) -> str:
    """The text of an element as its looks change it: struck out, underlined, raised or lowered."""
    looks = (node.get("rend") or "").lower() if local(node) == "hi" else local(node)
    if looks == "del" or "strike" in looks or "line-through" in looks:
        return ""
    if "underline" in looks and text.strip() in UNDERLINED:
        return text.replace(text.strip(), UNDERLINED[text.strip()])
    kind = "sup" if "super" in looks else "sub" if "subscript" in looks else ""
    return script(kind, before, text, following(node)) if kind else text
