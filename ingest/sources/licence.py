"""The licence a paper states, and whether a data set may carry the paper."""

import re

from lxml import etree

HREF = "{http://www.w3.org/1999/xlink}href"
STATED = ("{*}permissions", "{*}license", "{*}copyright-statement")
DEED = re.compile(r"creativecommons\.org/licen[cs]es/(by(?:-nc)?(?:-nd|-sa)?)/?(\d\.\d)?", re.IGNORECASE)
NAMED = re.compile(r"\b(?:Creative Commons|CC)[\s-]+(?:Attribution|BY)\b", re.IGNORECASE)
MODIFIERS = (("NC", r"non-?\s?commercial|\bNC\b"), ("ND", r"no\s?-?deriv|\bND\b"), ("SA", r"share\s?-?alike|\bSA\b"))
DEDICATED = re.compile(r"creativecommons\.org/publicdomain/zero|\bCC0\b|public domain dedication", re.IGNORECASE)
PUBLIC = re.compile(
    r"publicdomain/mark|\b(?:is|are|lies?|placed) in the public domain|free of all copyright", re.IGNORECASE
)
FREE = ("CC-BY", "CC-BY-SA")
SHOWN = 200


def licence(about: etree._Element | None) -> tuple[str | None, bool]:
    """The licence as an SPDX-like name (`CC-BY-4.0`, `CC-BY-NC`, `CC0-1.0`, `public-domain`) or in its own words.

    `about` is the article's metadata. Older DTDs have no `permissions` around the statements. The second value says
    whether a data set may carry the text: true for the public domain, CC0, CC BY and CC BY-SA. It is false for ND,
    which forbids the changed text of a data set, for NC, whose terms a data set card cannot enforce on later users, and
    for other words, which are not interpreted. Of several licences the first that is not free counts. A dedication is
    searched for last, since it often covers a paper's data alone.
    """
    stated = [] if about is None else [node for name in STATED for node in about.findall(name)]
    links = [link.get(HREF) or "" for node in stated for link in node.iter("{*}license", "{*}ext-link")]
    words = " ".join(" ".join("".join(node.itertext()) for node in stated).split())
    everything = " ".join([*links, words])
    if deeds := DEED.findall(everything):
        named = [(f"CC-{kind.upper()}", version) for kind, version in deeds]
        name, version = next((deed for deed in named if deed[0] not in FREE), named[0])
        return f"{name}-{version}" if version else name, name in FREE
    if NAMED.search(words):
        extra = [short for short, pattern in MODIFIERS if re.search(pattern, words, re.IGNORECASE)]
        name = "-".join(["CC-BY", *extra])
        return name, name in FREE
    licences = [element for node in stated for element in node.iter("{*}license")]
    kinds = {(element.get("license-type") or "").lower() for element in licences}
    if DEDICATED.search(everything) or "cc0" in kinds:
        return "CC0-1.0", True
    if PUBLIC.search(everything) or "public-domain" in kinds:
        return "public-domain", True
    terms = " ".join(" ".join("".join(element.itertext()) for element in licences).split())
    return terms[:SHOWN] or None, False
