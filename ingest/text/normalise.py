"""One normal form for all text: the same letters, blanks, line ends and bullets."""

import re
import unicodedata

from lake.characters import INVISIBLE

LINE_END = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
ODD_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
BLANKS = re.compile("[\t ]+")

OFFICE_BULLETS = str.maketrans(dict.fromkeys("\uf076\uf0a7\uf0b7\uf0d8\uf0fc", "•"))
"""Bullets of the symbol fonts of office software, in the private use area."""

LAST_OF_PLANES = "".join(chr(plane << 16 | low) for plane in range(15) for low in (0xFFFE, 0xFFFF))

ILL_FORMED = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"  # control characters other than tabs and line ends
    f"{INVISIBLE}"
    "\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff"  # surrogates and private use
    f"\ufdd0-\ufdef\ufff9-\ufffd{LAST_OF_PLANES}"  # replacements and non-characters
    "]"
)

# A star, a middle dot or a dash is a bullet where a blank and then no digit follows: `– 3.5` is a row of a table. The
# letter o, a bullet in some word processors, stays, for words begin with it.
BULLET = re.compile(r"^ ?(?:[•‣⁃∙▪▫●○◦■□◆◇►▸▶➢➤❖] ?(?=[^ \n])|[*·–—] (?=[^ \d\n]))", re.MULTILINE)

EDGES = re.compile(r"^ | $", re.MULTILINE)
BLANKS_AT_END = re.compile(r"(?<![\t ])[\t ]++$", re.MULTILINE)
EMPTY_LINES = re.compile(r"\n{3,}")
EMPTY_LINES_OF_CODE = re.compile(r"\n{4,}")


def normalise(text: str, keep_layout: bool = False) -> str:
    """The text in NFC with `\\n` line ends, single blanks, bullets as `- ` and never two empty lines in a row.

    With `keep_layout`, for sources with code, only line ends and rows of more than two empty lines are tidied.
    Ill-formed and invisible characters are removed. No line and no word is lost; headings and the marks of a paper's
    format stay. Idempotent, and linear in the length of the text.
    """
    text = LINE_END.sub("\n", text).translate(OFFICE_BULLETS)
    text = unicodedata.normalize("NFC", ILL_FORMED.sub("", text))
    text = ODD_BLANK.sub(" ", text)
    if keep_layout:
        tidy = EMPTY_LINES_OF_CODE.sub("\n\n\n", BLANKS_AT_END.sub("", text))
    else:
        tidy = BULLET.sub("- ", BLANKS.sub(" ", text))
        tidy = EMPTY_LINES.sub("\n\n", EDGES.sub("", tidy))
    return tidy.strip("\n")
