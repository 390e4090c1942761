"""One normal form for all text: the same letters, blanks, line ends and bullets."""

import re
from collections import Counter

from ingest.text.legible import ILL_FORMED, legible

__all__ = ["ILL_FORMED", "normalise"]

LINE_END = re.compile("\r\n?|[\v\f\x1c-\x1e\u2028\u2029]")
ODD_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
BLANKS = re.compile("[\t ]+")

# A star, a middle dot or a dash is a bullet where a blank and then no digit follows: `– 3.5` is a row of a table. The
# letter o, a bullet in some word processors, stays, for words begin with it.
BULLET = re.compile(r"^ ?(?:[•‣⁃∙▪▫●○◦■□◆◇►▸▶➢➤❖] ?(?=[^ \n])|[*·–—] (?=[^ \d\n]))", re.MULTILINE)

EDGES = re.compile(r"^ | $", re.MULTILINE)
BLANKS_AT_END = re.compile(r"(?<![\t ])[\t ]++$", re.MULTILINE)
EMPTY_LINES = re.compile(r"\n{3,}")
EMPTY_LINES_OF_CODE = re.compile(r"\n{4,}")


def normalise(text: str, keep_layout: bool = False, changed: Counter[str] | None = None) -> str:
    """The text in NFC with `\\n` line ends, single blanks, bullets as `- ` and never two empty lines in a row.

    With `keep_layout`, for sources with code, only line ends and rows of more than two empty lines are tidied.
    Characters are made legible (ingest.text.legible), which `changed` counts by kind. No line and no word is lost;
    headings and the marks of a paper's format stay. Idempotent, and linear in the length of the text.
    """
    text = ODD_BLANK.sub(" ", LINE_END.sub("\n", legible(text, changed)))
    if keep_layout:
        tidy = EMPTY_LINES_OF_CODE.sub("\n\n\n", BLANKS_AT_END.sub("", text))
    else:
        tidy = BULLET.sub("- ", BLANKS.sub(" ", text))
        tidy = EMPTY_LINES.sub("\n\n", EDGES.sub("", tidy))
    return tidy.strip("\n")
