"""Web pages of four invented sites: the text of a guideline, and all that a real page puts around it."""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from samples.archive import Answer
from samples.bank import Dice

CLINIC, SOCIETY = "example-clinic.example.org", "example-society.example.org"
INSTITUTE, AGENCY = "example-institute.example.org", "example-agency.example.net"
CONSENT = (
    "We use cookies to make this site work and to count visits. By continuing to browse you agree to our cookie policy."
)
MENU = ("Home", "Guidance", "Training", "News", "About us", "Contact")


class Guide(NamedTuple):
    """A guideline; headings of `text` are `#`, bullets `- `."""

    slug: str
    title: str
    text: str


def blocks_of(text: str) -> Iterator[str]:
    """Headings, lists and paragraphs as HTML."""
    items: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("- "):
            items.append(f"<li>{escape(line[2:], quote=False)}</li>")
            continue
        if items:
            yield f"<ul>\n{chr(10).join(items)}\n</ul>"
            items = []
        if line.startswith("# "):
            yield f"<h2>{escape(line[2:], quote=False)}</h2>"
        elif line:
            yield f"<p>{escape(line, quote=False)}</p>"


def links(found: list[Guide], base: str) -> str:
    return "\n".join(f'<li><a href="{base}{one.slug}">{escape(one.title)}</a></li>' for one in found)


def related(guides: list[Guide], to: Guide, count: int = 4) -> list[Guide]:
    others = {one.slug: one for one in guides if one.slug != to.slug}
    return [others[slug] for slug in Dice(f"related {to.slug}").some(list(others), count)]


def menu() -> str:
    return "\n".join(f'<li><a href="/{name.lower().replace(" ", "-")}">{name}</a></li>' for name in MENU)


def robots(host: str) -> Answer:
    body = f"User-agent: *\nDisallow: /search\nCrawl-delay: 1\nSitemap: https://{host}/sitemap.xml\n".encode()
    return Answer(f"https://{host}/robots.txt", body, kind="robots", type="text/plain")


def index(host: str, guides: list[Guide]) -> Answer:
    body = page(
        "All guidance",
        f'<nav class="menu"><ul>{menu()}</ul></nav>\n<h1>All guidance</h1>\n<ul class="guidance-list">\n'
        f"{links(guides, '/guidance/')}\n</ul>",
    )
    return Answer(f"https://{host}/guidance/", body, kind="index")


def page(title: str, body: str) -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<link rel="stylesheet" href="/site.css">\n<script>window.visits = window.visits || [];</script>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    ).encode()


# A site whose YAML names the element that holds the text ------------------------------------------------------------


def clinic(guide: Guide, guides: list[Guide], holder: str = "guideline") -> Answer:
    """References, a review date and a button stand within the element; the site's cleaning rules take them out."""
    dice = Dice(f"clinic {guide.slug}")
    inner = list(blocks_of(guide.text))
    first = next(place for place, one in enumerate(inner) if one.startswith("<p>"))
    inner[first] = inner[first].removesuffix("</p>") + '<sup><a href="#ref1">[1]</a></sup></p>'
    year = dice.number(2012, 2022)
    body = f"""<div id="cookie-banner" class="cookie-banner" role="dialog"><p>{CONSENT}</p><button>Accept</button></div>
<header class="site-header"><a href="/" class="logo">Example Clinic</a>
<nav><ul>
{menu()}
</ul></nav></header>
<main>
<ol class="breadcrumbs"><li><a href="/">Home</a></li><li><a href="/guidance/">Guidance</a></li></ol>
<article class="{holder}">
<h1>{escape(guide.title)}</h1>
<p class="reviewed">Last reviewed: {dice.number(1, 28)} March {year}</p>
{chr(10).join(inner)}
<h2>References</h2>
<ol><li id="ref1">The guidance group of the Example Clinic. Search of the literature, {year}.</li></ol>
</article>
<aside class="related"><h2>Related guidance</h2>
<ul>
{links(related(guides, guide), "/guidance/")}
</ul></aside>
</main>
<footer><p>© Example Clinic. Nothing on this page is advice for the care of a patient.</p>
<ul><li><a href="/privacy">Privacy policy</a></li><li><a href="/terms">Terms of use</a></li></ul></footer>
<script>visits.push("{guide.slug}");</script>"""
    return Answer(f"https://{CLINIC}/guidance/{guide.slug}", page(f"{guide.title} | Example Clinic", body))


# An older site: nothing but its structure tells what is text --------------------------------------------------------


def society(guide: Guide, guides: list[Guide]) -> Answer:
    body = f"""<div id="wrap">
<div id="top"><a href="/">The Example Society</a>
<form action="/search"><input name="q"><button>Search</button></form></div>
<div id="navigation">
<ul>
{menu()}
</ul>
</div>
<div id="columns">
<div id="sidebar">
<h3>Members also read</h3>
<ul>
{links(related(guides, guide, 6), "/guidance/")}
</ul>
<div class="newsletter"><p>Subscribe to our newsletter and get the minutes of the annual meeting by post.</p></div>
</div>
<div id="text">
<h1>{escape(guide.title)}</h1>
{chr(10).join(blocks_of(guide.text))}
<div class="share">Share this page: <a href="/mail">Mail</a> <a href="/print">Print</a></div>
</div>
</div>
<div id="footer">The Example Society, Invented Street 1.
<a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></div>
<div class="consent-overlay">{CONSENT}</div>
</div>"""
    return Answer(f"https://{SOCIETY}/guidance/{guide.slug}", page(guide.title, body), type="text/html")


# A site that cuts a document into chapters ----------------------------------------------------------------------------


def institute(guide: Guide) -> Iterator[Answer]:
    """The first page with the beginning of the text and the list of chapters, then the chapters."""
    url = f"https://{INSTITUTE}/guidance/{guide.slug}"
    opening, *sections = guide.text.split("\n\n# ")
    named = [(section.partition("\n")[0], f"# {section}") for section in sections]
    addresses = [f"{url}/chapter/{place}" for place in range(1, len(named) + 1)]
    contents = "\n".join(
        f'<li><a href="{address}">{escape(name)}</a></li>' for address, (name, _) in zip(addresses, named, strict=True)
    )
    yield _chapter(url, None, guide.title, f"# {guide.title}\n\n{opening}", contents)
    for address, (name, text) in zip(addresses, named, strict=True):
        yield _chapter(address, url, f"{name} | {guide.title}", text, contents)


def _chapter(url: str, document: str | None, title: str, text: str, contents: str) -> Answer:
    body = f"""<header><nav class="global-nav"><ul>
{menu()}
</ul></nav></header>
<div class="layout">
<nav class="chapters"><h2>Contents</h2><ul>
{contents}
</ul></nav>
<div class="chapter">
{chr(10).join(blocks_of(text))}
</div>
<div class="pager"><a href="?previous">Previous</a> <a href="?next">Next</a></div>
</div>
<footer><p>© Example Institute. Accessibility, cookies and terms of use.</p></footer>"""
    kind = "document" if document is None else "chapter"
    return Answer(url, page(title, body), kind=kind, document=document)
