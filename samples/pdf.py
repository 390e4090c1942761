"""A PDF of a guideline, written object by object: the same bytes in every run."""

import textwrap

from samples.sites import Guide

WIDTH, HEIGHT, MARGIN = 420, 595, 54
"""Points of a page, and of its margins."""

LINES = 30
"""Lines of a page, headings counted double."""

LEADING = 15
CHARACTERS = 60
IMAGE = bytes(range(0, 256, 4)) * 2
"""A raster of 64 by 64 dots: what a scanner saw."""

LOCKED = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"5a" * 32, b"a5" * 32)
"""A lock that no password opens."""


def pdf(guide: Guide, source: str, locked: bool = False) -> bytes:
    """Pages with a running head and numbers, headings set larger than the text."""
    pages: list[list[tuple[int, bool, str]]] = [[]]
    used = 0
    for size, bold, line in _lines(guide):
        weight = 2 if bold else 1
        if used + weight > LINES:
            pages.append([])
            used = 0
        pages[-1].append((size, bold, line))
        used += weight
    streams = [_stream(lines, number, len(pages), source) for number, lines in enumerate(pages, 1)]
    return _file(streams, guide.title, locked)


def scan(title: str) -> bytes:
    """A page that is a picture."""
    return _file([b"q %d 0 0 %d 0 0 cm /Scan Do Q" % (WIDTH, HEIGHT)], title, picture=True)


def _lines(guide: Guide) -> list[tuple[int, bool, str]]:
    found: list[tuple[int, bool, str]] = [(18, True, one) for one in textwrap.wrap(guide.title, 36)]
    for line in guide.text.splitlines():
        if line.startswith("# "):
            found.append((14, True, line[2:]))
        elif line:
            found += [(10, False, one) for one in textwrap.wrap(line, CHARACTERS)]
            found.append((10, False, ""))
    return found


def _stream(lines: list[tuple[int, bool, str]], number: int, count: int, source: str) -> bytes:
    shown = [_text(MARGIN, HEIGHT - 30, 8, False, source)]
    height = HEIGHT - MARGIN - 10
    for size, bold, line in lines:
        if bold:
            height -= LEADING // 2
        if line:
            shown.append(_text(MARGIN, height, size, bold, line))
        height -= LEADING * 3 // 2 if bold else LEADING if line else LEADING // 2
    shown.append(_text(WIDTH // 2, 26, 8, False, f"{number} of {count}"))
    return b"\n".join(shown)


def _text(left: int, height: int, size: int, bold: bool, text: str) -> bytes:
    escaped = text.encode("cp1252").replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
    return b"BT /%s %d Tf %d %d Td (%s) Tj ET" % (b"Bold" if bold else b"Plain", size, left, height, escaped)


def _file(streams: list[bytes], title: str, locked: bool = False, picture: bool = False) -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>"
        % (len(streams), b" ".join(b"%d 0 R" % (6 + 2 * place) for place in range(len(streams)))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        b"<< /Title (%s) >>" % title.encode("cp1252"),
    ]
    resources = b"/Font << /Plain 3 0 R /Bold 4 0 R >>"
    if picture:
        resources += b" /XObject << /Scan %d 0 R >>" % (6 + 2 * len(streams))
    for place, stream in enumerate(streams):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << %s >> /Contents %d 0 R >>"
            % (WIDTH, HEIGHT, resources, 7 + 2 * place)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    if picture:
        about = b"/Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray /BitsPerComponent 1"
        objects.append(b"<< %s /Length %d >>\nstream\n%s\nendstream" % (about, len(IMAGE), IMAGE))
    if locked:
        objects.append(LOCKED)
    written = b"%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    lock = b" /Encrypt %d 0 R /ID [<00> <00>]" % len(objects) if locked else b""
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R%s >>" % (size, lock)
    return written + b"xref\n0 %d\n0000000000 65535 f \n%s%s\nstartxref\n%d\n%%%%EOF\n" % (
        size, table, trailer, len(written),
    )  # fmt: skip
