"""A request for a page, its answer, and the reasons why a URL gave no page."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal


class Miss(StrEnum):
    """Why a URL gave no page. The value is what the table `fetches` and manifests show."""

    BAD_URL = "bad_url"
    ROBOTS = "robots"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    BAD_ENCODING = "bad_encoding"
    REDIRECT_LOOP = "redirect_loop"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    OFF_SITE = "off_site"
    PRIVATE_ADDRESS = "private_address"
    NOT_BUILT = "not_built"
    SAME_PAGE = "same_page"
    OVER_LIMIT = "over_limit"
    GONE = "gone"


PASSING = {Miss.RATE_LIMITED, Miss.SERVER_ERROR, Miss.CONNECTION, Miss.TIMEOUT, Miss.NOT_BUILT}
"""Misses that may pass: the URL is tried again, in this run and the next."""

UNREAD = {Miss.TOO_LARGE, Miss.BAD_ENCODING, Miss.CONNECTION, Miss.TIMEOUT}
"""Misses of which the body is incomplete or cannot be read."""

Truncated = Literal["length", "time", "disconnect", "unspecified"]
"""Why a body is incomplete, in the words of WARC-Truncated (ISO 28500, 5.13)."""

Want = Literal["html", "pdf", "list", "any"]
"""`list` is an index that is not a page: JSON, or the XML of a sitemap."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a page. `private` allows addresses that are not public, for a site that has one."""

    url: str
    want: Want
    rate: float
    private: bool = False
    etag: str | None = None
    last_modified: str | None = None
    browser: bool = False
    wait_for: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an Ask: a page (status 200), `unchanged` (304), a redirect's `location`, or a `miss`.

    If a host answered, there is a `status`, and as much of the body as came; `truncated` says why that is not all.
    `robots` is the answer for the host's robots.txt, if this request had to ask for it first. `before` are all other
    responses on the way: to requests that were retried, to redirects of robots.txt, and to the parts of a page that a
    browser built.
    """

    url: str
    at: datetime
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    truncated: Truncated | None = None
    location: str | None = None
    miss: Miss | None = None
    evidence: str = ""
    wait: float | None = None
    robots: "Answer | None" = None
    before: "tuple[Answer, ...]" = ()

    @property
    def unchanged(self) -> bool:
        return self.status == 304 and self.miss is None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def as_miss(self, miss: Miss, evidence: str) -> "Answer":
        """The same answer, as one that gave no page."""
        return replace(self, miss=miss, evidence=evidence.encode("utf-8", "backslashreplace").decode())


def missed(url: str, miss: Miss, evidence: str) -> Answer:
    """The answer of a URL that no host answered."""
    return Answer(url, datetime.now(UTC)).as_miss(miss, evidence)
