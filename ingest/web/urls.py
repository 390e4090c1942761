"""URLs: a single form for each page, and which hosts belong to a site."""

import re
import socket
from contextlib import suppress
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

SCHEMES = {"http": 80, "https": 443}
LONGEST = 2048
"""Characters of a URL that may be requested."""

SCHEME = re.compile(r"[\x00-\x20]*([A-Za-z][A-Za-z0-9+.-]*):")
LONGEST_SCHEME = 100
KEPT = "!#$%&'()*+,/:;=?@[]~"
"""Characters that are not quoted in a path or a query. `%` is among them, so that nothing is quoted twice."""


def clean_url(url: str, base: str = "", fragment: bool = False) -> str | None:
    """An absolute http or https URL in its single form; None for anything else.

    Scheme and host are in lower case, an address is in its usual form, non-ASCII characters are quoted. The scheme's
    default port, name and password are removed, and so is the fragment, unless `fragment` is set and it is a route of a
    JavaScript page (`#/…` or `#!…`).
    """
    try:
        parts = urlsplit(urljoin(base, "".join(url.split("\n")).strip()))
        port = parts.port
        host = _address((parts.hostname or "").rstrip(".").encode("idna").decode("ascii"))
    except ValueError:  # not a URL, a port that is not a number, or a host that no name server could know
        return None
    if parts.scheme not in SCHEMES or not host or host.startswith("."):
        return None
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != SCHEMES[parts.scheme]:
        place += f":{port}"
    route = parts.fragment if fragment and parts.fragment.startswith(("/", "!")) else ""
    path, query = (quote(part, safe=KEPT, errors="replace") for part in (parts.path or "/", parts.query))
    clean = urlunsplit((parts.scheme, place, path, query, quote(route, safe=KEPT, errors="replace")))
    return clean if len(clean) <= LONGEST else None


def is_web(link: str) -> bool:
    """Whether a link begins with http: or https:, or is relative, and so is not mailto:, javascript: …"""
    scheme = SCHEME.match(re.sub("[\t\r\n]", "", link[:LONGEST_SCHEME]))
    return scheme is None or scheme[1].lower() in SCHEMES


def shown_url(link: str, base: str = "") -> str:
    """A link that is not a URL, for a table: absolute if possible, in ASCII, without its middle if it is too long."""
    link = _cut(link)
    with suppress(ValueError):
        link = urljoin(base, link)
    return _cut(quote(link, safe=KEPT, errors="replace"))


def _cut(text: str) -> str:
    """Keep beginning and end, for rules look at both."""
    half = LONGEST // 2 - 2
    return text if len(text) <= LONGEST else f"{text[:half]}...{text[-half:]}"


def _address(host: str) -> str:
    """The usual form of an IPv4 address that is written as one number, in hexadecimal, or with parts left out."""
    if ":" in host or not host.rpartition(".")[2][:1].isdigit():
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise ValueError(f"{host} is no address") from None


def host_of(url: str) -> str:
    """The host of a URL that `clean_url` gave, without its port."""
    return urlsplit(url).hostname or ""


def origin(url: str) -> str:
    """Scheme, host and port of a URL that `clean_url` gave. A robots.txt applies to one origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def domain(host: str) -> str:
    """Roughly the name that an owner registers: `nice.org.uk` of `www.nice.org.uk`, `cdc.gov` of `stacks.cdc.gov`.

    This is a guess without the list of public suffixes: three labels if the last two are short, as in `org.uk`, else
    two. An address is its own domain.
    """
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit():
        return host
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if short else -2 :])
