"""Pages for tests: prose around what is tried, and the text or notes that extraction makes of it."""

from ingest.fidelity.ledger import Ledger
from ingest.pages.extract import extract
from ingest.pages.page import Page

PARAGRAPH = (
    "Paragraph {} tells the reader in plain prose what the ward does when somebody comes in with this"
    " complaint, and why "
    "it is done in this order."
)
PROSE = "".join(f"<p>{PARAGRAPH.format(number)}</p>" for number in range(12))


def page(html: str, content: str | None = None, ledger: Ledger | None = None) -> Page:
    """A page of prose with some HTML at its end."""
    source = (
        f"<!DOCTYPE html><html><head><meta charset=utf-8><title>Dosing of a drug</title></head><body><main><article>"
        f"<h1>Dosing of a drug</h1>{PROSE}{html}<p>End.</p></article></main></body></html>"
    )
    extracted = extract(source.encode(), content, ledger=ledger)
    assert isinstance(extracted, Page), extracted
    return extracted


def shown(html: str, content: str | None = None) -> str:
    """What becomes of HTML at the end of a page of prose."""
    text = page(html, content).text
    before = PARAGRAPH.format(11)
    assert [PARAGRAPH.format(number) in text for number in range(12)] == [True] * 12
    return text[text.index(before) + len(before) :].removesuffix("End.").strip()
