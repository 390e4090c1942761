"""The marks of a paper's format, `[fig]` to `[/formula]`, where they stand in text: taken out, or made plain words."""

import re

from lake.marks import FORMAT_TOKENS, MARK_NAMES

GENERATED = {"bib_ref", "fig_ref", "formula"}
"""What these enclose was put there by a reader: a cited title, a caption's first words, signs. No author wrote it."""

MARK = re.compile(rf"\[(/?)({'|'.join(MARK_NAMES)})\]")
SPLIT = re.compile(f"({'|'.join(map(re.escape, FORMAT_TOKENS))})")


def without_marks(text: str) -> str:
    """The prose of a paper: marks gone, and with those of GENERATED what they enclose. Linear in the text's length.

    A mark that is not closed by the next one encloses nothing.
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
            # The blank before goes too, for what follows may be the sign that ends the sentence.
            kept[-1] = kept[-1].rstrip(" ")
        else:
            kept.append(pieces[place + 1])
    return "".join(kept)


def break_marks(text: str) -> tuple[str, int]:
    """Marks as words that no tokenizer takes for one, `[fig]` as `[ fig ]`, and how many there were. Idempotent."""
    return MARK.subn(r"[ \1\2 ]", text)
