"""XML from strangers, parsed without DTD, entities or network, and with no more than one record in memory."""

import html.entities
from io import BufferedIOBase

from lxml import etree

from ingest.sources.paper_text import SIGNS, foreign
from lake.decision import Reason, RecordError

ENTITY = b"<!ENTITY"
DECLARES = "declares entities of its own"
ENCODING_FAULTS = {
    etree.ErrorTypes.ERR_INVALID_ENCODING,
    etree.ErrorTypes.ERR_UNKNOWN_ENCODING,
    etree.ErrorTypes.ERR_UNSUPPORTED_ENCODING,
    etree.ErrorTypes.I18N_CONV_FAILED,
}
SAFE = {
    "resolve_entities": False,
    "load_dtd": False,
    "dtd_validation": False,
    "attribute_defaults": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
"""Options of all parsers. Without `huge_tree`, libxml2 keeps its own limits of depth and size."""


def declares_entities(element: etree._Element) -> bool:
    """Whether the document of a parsed element has a DTD with entities, in any encoding."""
    declared = element.getroottree().docinfo.internalDTD
    return declared is not None and next(declared.iterentities(), None) is not None


def name_characters(element: etree._Element) -> None:
    """Replace entities of a DTD that was not loaded, such as `&nbsp;`, by their characters, unknown ones by U+FFFD."""
    for node in list(element.iter(etree.Entity)):
        text = html.entities.html5.get(f"{node.name};", "\ufffd") + (node.tail or "")
        before, parent = node.getprevious(), node.getparent()
        if before is not None:
            before.tail = (before.tail or "") + text
        else:
            parent.text = (parent.text or "") + text
        parent.remove(node)


def take_out_signs(element: etree._Element) -> None:
    """Remove the signs that stand for marks while a text is made from the authors' text."""
    if SIGNS.search("".join(element.itertext())):
        for node in element.iter():
            node.text, node.tail = (text and foreign(text) for text in (node.text, node.tail))


class GuardedStream:
    """A stream of XML that raises an error at the first entity declaration, or in a record over `max_bytes`.

    Publishers declare no entities; attackers use them to read files or fill memory. A record that begins and ends
    between two reads is not measured, since a parser reads little at once. `<` is escaped in text, so `<!ENTITY` can
    only occur in a DTD, a comment or a CDATA section.
    """

    def __init__(self, stream: BufferedIOBase, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._since = 0
        self._tail = b""

    def read(self, size: int = -1) -> bytes:
        """Raises RecordError."""
        if self._since > self._max_bytes:
            raise RecordError(Reason.TOO_LARGE, f"a record over {self._max_bytes:,} bytes, the value of max_bytes")
        data = self._stream.read(size)
        # UTF-16 and UTF-32 put zeros between these letters.
        plain = (self._tail + data).replace(b"\0", b"")
        if ENTITY in plain:
            raise RecordError(Reason.HOSTILE_XML, DECLARES)
        self._tail = plain[-len(ENTITY) + 1 :]
        self._since += len(data)
        return data

    def record_ended(self) -> None:
        self._since = 0
