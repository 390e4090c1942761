"""URLs: one form for each page, and which hosts belong to one site."""

import re
import socket
from contextlib import suppress
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

SCHEMES = {"http": 80, "https": 443}
LONGEST = 2048
"""Of a URL that is asked for."""

SCHEME = re.compile(r"[\x00-\x20]*([A-Za-z][A-Za-z0-9+.-]*):")
LONGEST_SCHEME = 100
KEPT = "!#$%&'()*+,/:;=?@[]~"
"""Signs that stay as they are in a path or a query; `%`, for what is quoted is not quoted again."""


def clean_url(url: str, base: str = "", fragment: bool = False) -> str | None:
    """An absolute http or https URL in one form; None for anything else.

    Scheme and host in lower case, an address in its usual form, no port where it is the scheme's own, no name and
    password, what is not ASCII quoted. Fragments go; with `fragment` one stays that is a route of a JavaScript page
    (`#/…` or `#!…`).
    """
    try:
        parts = urlsplit(urljoin(base, "".join(url.split("\n")).strip()))
        port = parts.port
        host = _address((parts.hostname or "").rstrip(".").encode("idna").decode("ascii"))
    except ValueError:  # what is no URL, a port that is no number, a host that no name server could know
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
    """Whether a link is one of http or https by its beginning, or a relative one: neither mailto: nor javascript: …"""
    scheme = SCHEME.match(re.sub("[\t\r\n]", "", link[:LONGEST_SCHEME]))
    return scheme is None or scheme[1].lower() in SCHEMES


def told_url(link: str, base: str = "") -> str:
    """A link that is no URL as a table can show it: absolute if it can be, in ASCII, its middle cut out if too long."""
    link = _cut(link)
    with suppress(ValueError):
        link = urljoin(base, link)
    return _cut(quote(link, safe=KEPT, errors="replace"))


def _cut(text: str) -> str:
    """Beginning and end stay, since rules look at both."""
    half = LONGEST // 2 - 2
    return text if len(text) <= LONGEST else f"{text[:half]}...{text[-half:]}"


def _address(host: str) -> str:
    """An IPv4 address that is written as one number, in hexadecimal or with parts left out, as the four that it is."""
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
    """Scheme, host and port of a URL that `clean_url` gave: what one robots.txt speaks for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def domain(host: str) -> str:
    """What an owner registers, about: `nice.org.uk` of `www.nice.org.uk`, `cdc.gov` of `stacks.cdc.gov`.

    A guess without the list of public suffixes: three labels where the last two are short, as in `org.uk`, else two. An
    address is its own domain.
    """
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit():
        return host
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if short else -2 :])
