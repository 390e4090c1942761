"""Whether a site's scraper still finds what it should: a crawl's yield against what is expected and the last one."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field, NonNegativeInt

from ingest.site import Site
from lake.config import Settings

FALL = 0.2
"""A crawl may yield this much less than the last one."""

FEW = 5
"""Of fewer documents than this no share is told."""

RISE = 0.1
"""The share of documents without text may be this much larger than at the last crawl."""

MISSING = 0.5
"""From this share of pages on without the content selector, it is the selector that is wrong."""


class Look(NamedTuple):
    """One fetched document: its words (0: its extraction was empty), whether the content selector matched on all of its
    pages that are to have it, and what else it lacks, as a Note's `what`; `chapters` and `title` are those of selectors
    that match nothing."""

    url: str
    words: int
    shown: bool = True
    notes: tuple[str, ...] = ()


class Yield(Settings):
    """What a crawl of a site yielded, as its manifest keeps it.

    Attributes:
        site: The site's tag.
        fetched: Documents fetched.
        looked: How many of them were extracted: all, or a sample.
        documents: Documents with text, of all fetched: reckoned from the sample.
        words: Their words, likewise.
        empty: Of those looked at, documents without text.
        hidden: Of those looked at, documents in which the content selector matches nothing, or nothing in a chapter.
        notes: Of those looked at, documents with text that lack something, by what: `scanned pages`, `title`, …
        listed: Documents that index pages and seeds list now; None where that was not counted.
        index: An index page that led to nothing, or else the first.
        links: How many documents each index page led to.
        unread: Index pages that could not be read.
        empty_at, hidden_at, noted_at: The first page that shows it.
    """

    site: str
    fetched: NonNegativeInt
    looked: NonNegativeInt
    documents: NonNegativeInt
    words: NonNegativeInt
    empty: NonNegativeInt = 0
    hidden: NonNegativeInt = 0
    notes: dict[str, NonNegativeInt] = Field(default_factory=dict)
    listed: NonNegativeInt | None = None
    index: str | None = None
    links: dict[str, int] = Field(default_factory=dict)
    unread: tuple[str, ...] = ()
    empty_at: str | None = None
    hidden_at: str | None = None
    noted_at: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, site: str, looks: Iterable[Look], fetched: int | None = None, index: str | None = None) -> Self:
        """Add looks up. `fetched` is how many documents they are a sample of; by default they are all."""
        seen = list(looks)
        empty = [look.url for look in seen if not look.words]
        hidden = [look.url for look in seen if not look.shown]
        noted: dict[str, set[str]] = {}
        for look in seen:
            for note in look.notes if look.words else ():
                noted.setdefault(note, set()).add(look.url)
        whole = len(seen) if fetched is None else fetched
        scale = whole / len(seen) if seen else 0.0
        return cls(
            site=site,
            fetched=whole,
            looked=len(seen),
            documents=round((len(seen) - len(empty)) * scale),
            words=round(sum(look.words for look in seen) * scale),
            empty=len(empty),
            hidden=len(hidden),
            notes={what: len(noted[what]) for what in sorted(noted)},
            index=index,
            empty_at=min(empty, default=None),
            hidden_at=min(hidden, default=None),
            noted_at={what: min(noted[what]) for what in sorted(noted)},
        )

    @property
    def current(self) -> int:
        """Documents fetched, without those that an earlier crawl kept and nothing lists any more."""
        return self.fetched if self.listed is None else min(self.fetched, self.listed)

    @property
    def empty_share(self) -> float:
        return self.empty / self.looked if self.looked else 0.0

    @property
    def words_each(self) -> float:
        return self.words / self.documents if self.documents else 0.0


class Symptom(StrEnum):
    """What is wrong. The value is what tables and manifests show."""

    NOTHING = "found_nothing"
    INDEX = "barren_index"
    SELECTOR = "missing_selector"
    NEVER = "unmatched_selector"
    EMPTY = "empty_extractions"
    FEWER = "fewer_documents"
    SHORTER = "shorter_documents"
    FALL = "sharp_fall"


class Fault(NamedTuple):
    """A symptom of a site, the page that shows it, and what to do. As a string it is one line."""

    site: str
    symptom: Symptom
    said: str
    page: str | None
    do: str

    def __str__(self) -> str:
        where = f"; see {self.page}" if self.page else ""
        return f"{self.site}: {self.symptom.value}: {self.said}{where}; {self.do}"


def expected(site: Site, limit: int | None) -> Site:
    """The site as a crawl of at most `limit` documents may be expected to find it."""
    whole = site.expect
    if limit is None or limit >= whole.documents:
        return site
    words = max(1, whole.words * limit // whole.documents)
    part = whole.model_copy(update={"documents": limit, "words": words})
    return site.model_copy(update={"expect": part})


def health(site: Site, found: Yield, last: Yield | None = None) -> list[Fault]:
    """Everything that is wrong with a crawl of the whole site, the cause before what follows from it; none: healthy."""
    if not found.fetched:
        return [_nothing(site, found)]
    if not found.looked:
        do = "run `gap crawl` again: the pages that were fetched are not there"
        return [Fault(found.site, Symptom.NOTHING, f"none of {found.fetched} fetched pages could be read", None, do)]
    checks = (
        *_index(site, found, last),
        _selector(site, found),
        _never(found, "chapters", site.chapters, "look for the links to chapters now", "run `gap crawl` again"),
        _never(found, "title", site.title, "look for what holds the title now", "no new crawl is needed"),
        _empty(site, found, last),
        _fewer(site, found, last),
        _shorter(site, found, last),
    )
    return [fault for fault in checks if fault is not None]


def _nothing(site: Site, found: Yield) -> Fault:
    index = site.index
    by = f"index.find `{index.find}`" if index.find else f"index.links `{index.links}`"
    if not index.urls:
        return Fault(found.site, Symptom.NOTHING, "no seed gave a page", site.seeds[0], "open it and mend seeds")
    match = f" and index.match `{index.match}`" if index.match else ""
    said = f"no page came of {by}{match}"
    do = "open it in a browser and mend the rule in the site's YAML, or read in the table fetches why its URLs failed"
    return Fault(found.site, Symptom.NOTHING, said, found.index or index.urls[0], do)


def _index(site: Site, found: Yield, last: Yield | None) -> Iterator[Fault]:
    """Pages of a paged index come and go: there it counts whether any leads on, and how many documents are listed."""
    if found.unread:
        said = f"{len(found.unread)} index pages could not be read"
        do = "read in the table fetches why, and run `gap crawl` again"
        yield Fault(found.site, Symptom.INDEX, said, found.unread[0], do)
    led = {} if last is None or site.index.paging is not None else last.links
    barren = [url for url, links in found.links.items() if not links and led.get(url) and url not in found.unread]
    if site.index.urls and found.links and not any(found.links.values()):
        said = f"none of {len(found.links)} index pages leads to a document"
        barren = [url for url in found.links if url not in found.unread]
    else:
        said = f"{len(barren)} index pages that led to documents at the last crawl lead to none"
    if barren:
        do = "open it in a browser and mend index (links, find, through, match) in the site's YAML"
        do += _or_accept(found) if any(found.links.values()) else ""
        yield Fault(found.site, Symptom.INDEX, said, barren[0], do)


def _selector(site: Site, found: Yield) -> Fault | None:
    if site.content is None or found.hidden < max(1.0, MISSING * found.looked):
        return None
    said = f"content `{site.content}` matches nothing in {found.hidden} of {found.looked} documents"
    do = "look for what holds the text now and put it into content in the site's YAML; no new crawl is needed"
    return Fault(found.site, Symptom.SELECTOR, said, found.hidden_at, do)


def _never(found: Yield, name: str, selector: str | None, look: str, then: str) -> Fault | None:
    """That one document has no chapters or title may be right; where none has, it is the selector that is wrong."""
    read = found.looked - found.empty
    if selector is None or not 0 < read == found.notes.get(name, 0):
        return None
    said = f"{name} `{selector}` matches nothing in any of {read} documents with text"
    do = f"{look} and put it into {name} in the site's YAML; {then}"
    return Fault(found.site, Symptom.NEVER, said, found.noted_at.get(name), do)


def _empty(site: Site, found: Yield, last: Yield | None) -> Fault | None:
    usual = site.expect.empty if last is None else max(site.expect.empty, last.empty_share + RISE)
    if found.empty == found.looked:
        said = f"none of {found.looked} documents has text"
    elif found.looked >= FEW and found.empty_share > usual:
        said = f"{found.empty} of {found.looked} documents have no text, {usual:.0%} may"
    else:
        return None
    do = "hold content, start_at and mode in the site's YAML against the page"
    return Fault(found.site, Symptom.EMPTY, said, found.empty_at, do)


def _fewer(site: Site, found: Yield, last: Yield | None) -> Fault | None:
    """Of all that was fetched: documents without text have a fault of their own."""
    page = found.index or next(iter([*site.index.urls, *site.seeds]))
    do = "see whether the index lists more (paging, next, links) and in the table fetches which URLs failed"
    if found.current < site.expect.at_least * site.expect.documents:
        said = f"{found.current} documents, about {site.expect.documents} are expected"
        return Fault(found.site, Symptom.FEWER, said, page, do)
    if last is not None and found.current < (1 - FALL) * last.current:
        said = f"{found.current} documents, the last crawl had {last.current}"
        return Fault(found.site, Symptom.FALL, said, page, do + _or_accept(found))
    return None


def _shorter(site: Site, found: Yield, last: Yield | None) -> Fault | None:
    if not found.documents:
        return None
    usual = site.expect.words / site.expect.documents
    do = "hold content, start_at and stop_at in the site's YAML against the page: text may be lost"
    if found.words_each < site.expect.at_least * usual:
        said = f"{found.words_each:.0f} words a document, about {usual:.0f} are expected"
        return Fault(found.site, Symptom.SHORTER, said, found.empty_at or found.index, do)
    if last is not None and found.words_each < (1 - FALL) * last.words_each:
        said = f"{found.words_each:.0f} words a document, at the last crawl {last.words_each:.0f}"
        return Fault(found.site, Symptom.FALL, said, found.empty_at or found.index, do + _or_accept(found))
    return None


def _or_accept(found: Yield) -> str:
    return f"; if the site truly has no more, run `gap check CONFIG {found.site} --accept`"
