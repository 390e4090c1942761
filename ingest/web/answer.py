"""A page that is wanted, what came of it, and the reasons why a URL gave no page."""

from dataclasses import dataclass
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
"""What another time may end otherwise: tried again, in this run and the next."""

Want = Literal["html", "pdf", "list", "any"]
"""`list` is an index that is no page: JSON, or the XML of a sitemap."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A page that is wanted. `private` allows addresses that are not public, for a site that is itself at one."""

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
    """What came of an Ask: a page (status 200), `unchanged` (304), a redirect's `location`, or a `miss`.

    `robots` is the answer of the host's robots.txt where this request had to ask for it first.
    """

    url: str
    at: datetime
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    location: str | None = None
    miss: Miss | None = None
    evidence: str = ""
    wait: float | None = None
    robots: "Answer | None" = None

    @property
    def unchanged(self) -> bool:
        return self.status == 304 and self.miss is None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def missed(url: str, miss: Miss, evidence: str, robots: Answer | None = None) -> Answer:
    """The answer of a URL that gave no page."""
    evidence = evidence.encode("utf-8", "backslashreplace").decode()
    return Answer(url, datetime.now(UTC), miss=miss, evidence=evidence, robots=robots)
