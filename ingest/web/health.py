"""Whether a site's scraper still works: a crawl's yield compared with what is expected and with the last crawl."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field, NonNegativeInt

from ingest.site import Site
from lake.config import Settings

FALL = 0.2
"""A crawl may yield less than the last one by this share."""

FEW = 5
"""With fewer documents, shares mean nothing."""

RISE = 0.1
"""The share of documents without text may be larger than at the last crawl by this much."""

MISSING = 0.5
"""If the content selector matches nothing on this share of the pages, the selector is wrong."""


class Look(NamedTuple):
    """A fetched document that was extracted.

    `words` is 0 if it has no text. `shown` says whether the content selector matched on all pages that should have it.
    `notes` are what else it lacks, as `what` of a Note, with `chapters` and `title` for selectors that match nothing.
    """

    url: str
    words: int
    shown: bool = True
    notes: tuple[str, ...] = ()


class Yield(Settings):
    """What a crawl of a site yielded, as its manifest stores it.

    Attributes:
        site: The site's tag.
        fetched: Documents fetched.
        looked: How many of them were extracted: all, or a sample.
        documents: How many of all fetched documents have text, estimated from the sample.
        words: Their words, estimated likewise.
        empty: Extracted documents without text.
        hidden: Extracted documents in which the content selector matches nothing, or nothing in a chapter.
        notes: Extracted documents with text that lack something, by what: `scanned pages`, `title`, …
        listed: Documents that index pages and seeds list now; None if that was not counted.
        index: An index page that led to nothing, or else the first.
        links: How many documents each index page led to.
        unread: Index pages that could not be read.
        empty_at, hidden_at, noted_at: The first page that shows the problem.
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
        """Add up looks. They are a sample of `fetched` documents, or by default all."""
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
        """Fetched documents, without those of an earlier crawl that nothing lists any more."""
        return self.fetched if self.listed is None else min(self.fetched, self.listed)

    @property
    def empty_share(self) -> float:
        return self.empty / self.looked if self.looked else 0.0

    @property
    def words_each(self) -> float:
        return self.words / self.documents if self.documents else 0.0


class Symptom(StrEnum):
    """What is wrong. Tables and manifests show the value."""

    NOTHING = "found_nothing"
    INDEX = "barren_index"
    SELECTOR = "missing_selector"
    NEVER = "unmatched_selector"
    EMPTY = "empty_extractions"
    FEWER = "fewer_documents"
    SHORTER = "shorter_documents"
    FALL = "sharp_fall"


class Fault(NamedTuple):
    """A symptom of a site, the page that shows it, and what to do. As a string, it is one line."""

    site: str
    symptom: Symptom
    message: str
    page: str | None
    do: str

    def __str__(self) -> str:
        where = f"; see {self.page}" if self.page else ""
        return f"{self.site}: {self.symptom.value}: {self.message}{where}; {self.do}"


def expected(site: Site, limit: int | None) -> Site:
    """The site with the expectations of a crawl of at most `limit` documents."""
    whole = site.expect
    if limit is None or limit >= whole.documents:
        return site
    words = max(1, whole.words * limit // whole.documents)
    part = whole.model_copy(update={"documents": limit, "words": words})
    return site.model_copy(update={"expect": part})


def health(site: Site, now: Yield, last: Yield | None = None) -> list[Fault]:
    """Everything that is wrong with a crawl of the whole site, causes before consequences; empty if it is healthy."""
    if not now.fetched:
        return [_nothing(site, now)]
    if not now.looked:
        do = "run `gap crawl` again: the fetched pages are missing"
        return [Fault(now.site, Symptom.NOTHING, f"none of {now.fetched} fetched pages could be read", None, do)]
    checks = (
        *_index(site, now, last),
        _selector(site, now),
        _never(now, "chapters", site.chapters, "find the links to chapters", "run `gap crawl` again"),
        _never(now, "title", site.title, "find the element that holds the title now", "no new crawl is needed"),
        _empty(site, now, last),
        _fewer(site, now, last),
        _shorter(site, now, last),
    )
    return [fault for fault in checks if fault is not None]


def _nothing(site: Site, now: Yield) -> Fault:
    index = site.index
    by = f"index.find `{index.find}`" if index.find else f"index.links `{index.links}`"
    if not index.urls:
        return Fault(now.site, Symptom.NOTHING, "no seed gave a page", site.seeds[0], "open it and correct seeds")
    match = f" and index.match `{index.match}`" if index.match else ""
    message = f"{by}{match} gave no page"
    do = "open it in a browser and correct the rule in the site's YAML, or see in the table fetches why its URLs failed"
    return Fault(now.site, Symptom.NOTHING, message, now.index or index.urls[0], do)


def _index(site: Site, now: Yield, last: Yield | None) -> Iterator[Fault]:
    """Faults of index pages. Pages of a paged index come and go; it is at fault only if none leads to documents."""
    if now.unread:
        message = f"{len(now.unread)} index pages could not be read"
        do = "see in the table fetches why, and run `gap crawl` again"
        yield Fault(now.site, Symptom.INDEX, message, now.unread[0], do)
    led = {} if last is None or site.index.paging is not None else last.links
    barren = [url for url, links in now.links.items() if not links and led.get(url) and url not in now.unread]
    if site.index.urls and now.links and not any(now.links.values()):
        message = f"none of {len(now.links)} index pages leads to a document"
        barren = [url for url in now.links if url not in now.unread]
    else:
        message = f"{len(barren)} index pages that led to documents at the last crawl lead to none"
    if barren:
        do = "open it in a browser and correct index (links, find, through, match) in the site's YAML"
        do += _or_accept(now) if any(now.links.values()) else ""
        yield Fault(now.site, Symptom.INDEX, message, barren[0], do)


def _selector(site: Site, now: Yield) -> Fault | None:
    if site.content is None or now.hidden < max(1.0, MISSING * now.looked):
        return None
    message = f"content `{site.content}` matches nothing in {now.hidden} of {now.looked} documents"
    do = "find the element that holds the text now and set content in the site's YAML; no new crawl is needed"
    return Fault(now.site, Symptom.SELECTOR, message, now.hidden_at, do)


def _never(now: Yield, name: str, selector: str | None, look: str, then: str) -> Fault | None:
    """A single document may have no chapters or no title. If none has, the selector is wrong."""
    read = now.looked - now.empty
    if selector is None or not 0 < read == now.notes.get(name, 0):
        return None
    message = f"{name} `{selector}` matches nothing in any of {read} documents with text"
    do = f"{look} and set {name} in the site's YAML; {then}"
    return Fault(now.site, Symptom.NEVER, message, now.noted_at.get(name), do)


def _empty(site: Site, now: Yield, last: Yield | None) -> Fault | None:
    usual = site.expect.empty if last is None else max(site.expect.empty, last.empty_share + RISE)
    if now.empty == now.looked:
        message = f"none of {now.looked} documents has text"
    elif now.looked >= FEW and now.empty_share > usual:
        message = f"{now.empty} of {now.looked} documents have no text, {usual:.0%} are allowed"
    else:
        return None
    do = "compare content, start_at and mode in the site's YAML with the page"
    return Fault(now.site, Symptom.EMPTY, message, now.empty_at, do)


def _fewer(site: Site, now: Yield, last: Yield | None) -> Fault | None:
    """Counts all fetched documents, for `_empty` reports those without text."""
    page = now.index or next(iter([*site.index.urls, *site.seeds]))
    do = "see whether the index lists more (paging, next, links), and in the table fetches which URLs failed"
    if now.current < site.expect.at_least * site.expect.documents:
        message = f"{now.current} documents; about {site.expect.documents} are expected"
        return Fault(now.site, Symptom.FEWER, message, page, do)
    if last is not None and now.current < (1 - FALL) * last.current:
        message = f"{now.current} documents; the last crawl had {last.current}"
        return Fault(now.site, Symptom.FALL, message, page, do + _or_accept(now))
    return None


def _shorter(site: Site, now: Yield, last: Yield | None) -> Fault | None:
    if not now.documents:
        return None
    usual = site.expect.words / site.expect.documents
    do = "compare content, start_at and stop_at in the site's YAML with the page: text may be lost"
    if now.words_each < site.expect.at_least * usual:
        message = f"{now.words_each:.0f} words per document; about {usual:.0f} are expected"
        return Fault(now.site, Symptom.SHORTER, message, now.empty_at or now.index, do)
    if last is not None and now.words_each < (1 - FALL) * last.words_each:
        message = f"{now.words_each:.0f} words per document; the last crawl had {last.words_each:.0f}"
        return Fault(now.site, Symptom.FALL, message, now.empty_at or now.index, do + _or_accept(now))
    return None


def _or_accept(now: Yield) -> str:
    return f"; if the site really has no more, run `gap check CONFIG {now.site} --accept`"
