"""UTF-8 that somebody read as Windows-1252 and stored so: `5 Âµg`, `10â€“20`, `Ã—`. Undoing it loses nothing."""

import re

from lake.characters import REPLACEMENT, WINDOWS_1252

BYTES = {chr(byte): byte for byte in range(0x80, 0x100)} | {
    character: byte for byte, character in WINDOWS_1252.items() if character != REPLACEMENT
}
"""The byte behind a character, as Latin-1 or as Windows-1252 has it."""


def _behind(first: int, last: int) -> str:
    """The characters behind which a byte of this range may be, as the inside of `[…]`."""
    return "".join(character for character, byte in BYTES.items() if first <= byte <= last)


LEADS = "ÂÃÎÏâï"
NEXT = _behind(0x80, 0xBF)
STAYING = re.sub("[\u00a0\u00ad\x81\x8d\x8f\x90\x9d]", "", NEXT)
"""Those that no later step changes."""

# Latin-1's signs; its letters and ×; Greek letters; dashes, quotes, arrows, ≤ and the like (U+2010 to U+277F); and
# U+FFFD. Nothing becomes an invisible character, nor `à`, for a no-break blank may follow a letter Ã.
SEQUENCE = (
    f"Â[\u00a0-\u00ac\u00ae-\u00bf]|Ã[{_behind(0x80, 0x9F)}\u00a1-\u00bf]"
    f"|Î[{_behind(0x91, 0xA9)}\u00b1-\u00bf]|Ï[{_behind(0x80, 0x8E)}]"
    f"|â(?:[€\x80][{_behind(0x90, 0xA7)}\u00b0-\u00be]|\x81[{_behind(0x84, 0x84)}\u00b0-\u00be]"
    f"|[{_behind(0x82, 0x9D)}][{NEXT}])"
    "|ï¿½"
)
# Â and Ã in a word of capitals are letters. After another lead, the text was spoilt in a way that is not certain.
RUN = re.compile(rf"(?<![{LEADS}])(?<![{LEADS}][{STAYING}])(?:(?<![A-ZÀ-Þ][A-ZÀ-Þ])|(?![ÂÃ]))(?:{SEQUENCE})+")
UNFINISHED = re.compile(rf"[{LEADS}][{NEXT}]?\Z")
BYTE_ORDER_MARK = re.compile(r"\Aï»¿")


def repaired(text: str) -> tuple[str, int]:
    """The text as its author wrote it, and how many places were repaired. Idempotent, and linear in its length.

    Only sequences are touched that can be nothing else. What was spoilt twice is undone twice.
    """
    text, places = BYTE_ORDER_MARK.subn("", text)

    def meant(match: re.Match[str]) -> str:
        nonlocal places
        try:
            inner, _ = repaired(bytes(BYTES[character] for character in match[0]).decode("utf-8"))
        except UnicodeDecodeError:
            return match[0]
        if UNFINISHED.search(inner):
            return match[0]
        places += 1
        return inner

    return RUN.sub(meant, text), places
