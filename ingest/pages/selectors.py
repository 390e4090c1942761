"""CSS selectors of sites. soupsieve alone decides what they match, on index pages and on pages to extract."""

import soupsieve
from bs4 import BeautifulSoup
from lxml import etree


def valid_selector(selector: str | None) -> str | None:
    """The selector as it is. Raises ValueError if it is not CSS."""
    try:
        soupsieve.compile(selector or "*")
    except soupsieve.SelectorSyntaxError as error:
        raise ValueError(f"{selector!r} is not a CSS selector: {str(error).splitlines()[0]}") from None
    return selector


class Selectable:
    """A page that lxml has parsed, as BeautifulSoup's tags, for soupsieve selects nothing else."""

    def __init__(self, root: etree._Element) -> None:
        self._soup = BeautifulSoup("", "lxml")
        self._elements: dict[int, etree._Element] = {}
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if event == "start":
                tag = self._soup.handle_starttag(element.tag, None, None, dict(element.items()))
                self._elements[id(tag)] = element
                text = element.text
            else:
                self._soup.handle_endtag(element.tag)
                text = element.tail
            if text:
                self._soup.handle_data(text)
        self._soup.endData()

    def select(self, selector: str, most: int) -> list[etree._Element]:
        """The first `most` elements that match, in the order of the page."""
        return [self._elements[id(tag)] for tag in self._soup.select(selector, limit=most)]
