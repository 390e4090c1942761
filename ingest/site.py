"""A guideline site as data: a YAML file that says where its documents are listed, how to read them, what to expect."""

import html
import json
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from ingest.pages.selectors import valid_selector
from lake import bundled
from lake.config import Settings

SITES = Path(__file__).parent / "sites"


class Paging(Settings):
    """`{page}` in an index URL becomes `first`, `first + step`, … for at most `most` pages, or until no link is new."""

    first: NonNegativeInt = 1
    step: PositiveInt = 1
    most: PositiveInt = 100


class Index(Settings):
    """Where a site lists its documents.

    Attributes:
        urls: Index pages. A URL with `{page}` or `{letter}` (a to z) stands for several.
        paging: What `{page}` becomes.
        next: CSS selector of the link to the following index page, if there is one.
        links: CSS selector of the links to documents, or, with `through`, to pages that hold such links.
        through: CSS selector of the links to documents on the pages that `links` lead to.
        match: Regular expression that a document's URL must contain.
        pdf: The index page is itself a PDF, whose link annotations lead to the documents.
        find: For an index that is not HTML, such as JSON or an XML sitemap: regular expression whose one group is the
            link. It is searched in the text instead of `links`; see `listed`.
        put_in: URL in which each link that `find` matches replaces `{found}`.
        more: Regular expression: links that contain it lead to further index pages, such as the parts of a sitemap.
    """

    urls: tuple[str, ...] = ()
    paging: Paging | None = None
    next: str | None = None
    links: str = "a[href]"
    through: str | None = None
    match: str | None = None
    pdf: bool = False
    find: str | None = None
    put_in: str | None = None
    more: str | None = None

    _css = field_validator("next", "links", "through")(valid_selector)

    @field_validator("match", "find", "more")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.paging is not None) != any("{page}" in url for url in self.urls):
            raise ValueError("paging and {page} in urls go together")
        if self.find is None and (self.put_in is not None or self.more is not None):
            raise ValueError("put_in and more need find")
        if self.find is not None and re.compile(self.find).groups != 1:
            raise ValueError("find needs one group in round brackets, the link")
        if self.put_in is not None and "{found}" not in self.put_in:
            raise ValueError("put_in needs {found} where the link goes")
        return self

    def listed(self, page: str) -> list[str]:
        """Links that `find` matches in the text of an index page, each once, in order, as they stand in `put_in`.

        Escapes of JSON and entities of XML are resolved. Empty if there is no `find`.
        """
        if self.find is None:
            return []
        links = dict.fromkeys(_unescaped(match[1]) for match in re.finditer(self.find, page) if match[1])
        return [link if self.put_in is None else self.put_in.replace("{found}", link) for link in links]


def _unescaped(link: str) -> str:
    if "\\" in link:
        try:
            link = str(json.loads(f'"{link}"'))
        except ValueError:
            return link
    return html.unescape(link)


class SiteCleaning(Settings):
    """Which lines of a document stay. ingest.text.sitelines says how lines are compared.

    Attributes:
        start_at: Headings. The text begins at the first that occurs.
        stop_at: Headings. The text ends before the first of them in its second half, by characters. An earlier one,
            such as the acknowledgements at the front of a book, goes with what is below it up to the next heading,
            or alone if the line has no heading's mark. A heading before the first prose does not count. Appendices
            and tables behind the end stay.
        skip: Headings of sections that go, each with everything below it up to the next heading of its level or above.
        drop: Beginnings of lines that go, in whole words.

    No rule takes a line or a section, lists of references apart, that has a dose, a finding or a warning. In a document
    of several chapters, each page starts and stops by itself.
    """

    start_at: tuple[str, ...] = ()
    stop_at: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    @field_validator("start_at", "stop_at", "skip", "drop")
    @classmethod
    def _no_blank(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        if any(not line.strip(" *") for line in lines):
            raise ValueError("an empty line would match every line")
        return lines


class Expected(Settings):
    """Roughly what a healthy crawl of the whole site yields.

    Attributes:
        documents: Documents with text.
        words: Their words.
        at_least: Below this share of `documents`, or of the usual words of a document, something is wrong.
        empty: Share of documents that may have no text.
    """

    documents: PositiveInt
    words: PositiveInt
    at_least: float = Field(default=0.5, gt=0, le=1)
    empty: float = Field(default=0.1, ge=0, lt=1)


class Site(Settings):
    """One site of the guidelines corpus.

    Attributes:
        name: What the source is called in full.
        audience: For whom it writes.
        license: Its licence, or its terms in words.
        redistributable: Whether a data set may carry its text.
        mode: `html`: a document is a page. `pdf`: it is a file. `chapters`: it is several pages, joined in order.
            `browser`: it is a page that builds its content with JavaScript.
        index: Where documents are listed.
        seeds: Documents that no index lists.
        content: CSS selector of the main content. By default the page's structure shows what it is.
        title: CSS selector of the title. By default it is the page's heading or <title>.
        chapters: CSS selector, on a document's first page, of the links to its chapters.
        wait_for: CSS selector that a browser waits for.
        clean: Which lines stay.
        expect: What a whole crawl yields.
        rate: Requests per second, at most; robots.txt may ask for fewer.
        checked: When and how this file was last compared with the site, or why it could not be.
    """

    name: str
    audience: Literal["doctor", "patient", "both"]
    license: str
    redistributable: bool
    mode: Literal["html", "pdf", "chapters", "browser"]
    index: Index = Index()
    seeds: tuple[str, ...] = ()
    content: str | None = None
    title: str | None = None
    chapters: str | None = None
    wait_for: str | None = None
    clean: SiteCleaning = SiteCleaning()
    expect: Expected
    rate: PositiveFloat = Field(default=1.0, le=50)
    checked: str

    _css = field_validator("content", "title", "chapters")(valid_selector)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.index.urls and not self.seeds:
            raise ValueError("index.urls, seeds: give at least one")
        if (self.mode == "chapters") != (self.chapters is not None):
            raise ValueError("chapters: needed in mode chapters, and in no other")
        return self


def site_file(name: str) -> Path:
    """The YAML of a site, by tag or path. Raises UserError if there is none."""
    return bundled.locate(name, SITES, "site")


def load_site(name: str) -> Site:
    """A site by its tag, or by the path of your own YAML file. Raises UserError if it is missing or wrong."""
    return bundled.read(site_file(name), Site)
