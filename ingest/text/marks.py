"""The marks of a paper's format in a text, such as `[fig]`: removed, or turned into plain words."""

import re

from lake.marks import FORMAT_TOKENS, MARK_NAMES

GENERATED = {"bib_ref", "fig_ref", "formula"}
"""A reader put what these enclose: a cited title, the first words of a caption, signs. No author wrote it."""

MARK = re.compile(rf"\[(/?)({'|'.join(MARK_NAMES)})\]")
SPLIT = re.compile(f"({'|'.join(map(re.escape, FORMAT_TOKENS))})")


def without_marks(text: str) -> str:
    """The prose of a paper, without marks and without what those of GENERATED enclose. Linear in the text's length.

    A mark that the next mark does not close encloses nothing.
    """
    pieces = SPLIT.split(text)
    if len(pieces) == 1:
        return text
    kept = [pieces[0]]
    for place in range(1, len(pieces), 2):
        name = pieces[place].strip("[/]")
        closing = pieces[place + 2] if place + 2 < len(pieces) else None
        enclosed = pieces[place] == f"[{name}]" and closing == f"[/{name}]"
        if enclosed and name in GENERATED:
            # The blank before goes too, for the sign that ends the sentence may follow.
            kept[-1] = kept[-1].rstrip(" ")
        else:
            kept.append(pieces[place + 1])
    return "".join(kept)


def break_marks(text: str) -> tuple[str, int]:
    """The text with marks as words that no tokenizer takes for marks (`[ fig ]`), and how many it had. Idempotent."""
    return MARK.subn(r"[ \1\2 ]", text)
