"""MathML presentation markup on one line of plain text."""

import re

from lxml import etree

from ingest.sources.jats_signs import UNDERLINED

SPACED = set("=+−-±×<>≤≥≈≠≡∈∼~→←⇒∝·*/|")
SCRIPTS = {"msub": "_", "msup": "^", "munder": "_", "mover": "^"}
ACCENTS = {
    mark: name
    for name, marks in (
        ("bar", "¯ˉ‾_-−–—―̄̅"),
        ("hat", "^ˆ̂"),
        ("tilde", "~˜∼̃"),
        ("vec", "→⃗"),
        ("dot", "˙.̇"),
        ("ddot", "¨̈"),
    )
    for mark in marks
}
BRACKETS = {"(": ")", "[": "]", "{": "}"}
ROWS = {"mtr", "mlabeledtr"}
IGNORED = {"annotation", "annotation-xml", "mphantom", "maligngroup", "malignmark", "none"}

APPLY = "\u2061"
"""MathML's sign between a function's name and its argument."""

INVISIBLE = "\u2062\u2063\u2064"
"""Signs between factors, indices, and a number and its fraction."""

DROPPED = dict.fromkeys(map(ord, "\u200b\u2062\u2063\u2064\ufeff"))
GAP = " "

LINES = set("_¯ˉ‾―̲̱̅")
"""A line below a sign, which changes it: an underlined > is ≥."""

SINGLE = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+|.")
"""A number, a word or a sign."""

TIDY = (
    (re.compile(rf"{APPLY}[\s{APPLY}]*"), APPLY),
    (re.compile(rf"{APPLY}(?=[()\[\]{{}}_^,;.]|$)"), ""),
    (re.compile(rf"[\s{APPLY}]+"), " "),
    (re.compile(r"(?<=[(\[{]) | (?=[)\]},;])"), ""),
    # A sign without a left operand belongs to the number after it.
    (re.compile(r"(^ ?|[(\[{,;=] ?)([−+±-]) (?=\S)"), r"\1\2"),
)


def math_text(math: etree._Element) -> str:
    """A formula as text: fractions as `(a)/(b)`, scripts after `_` and `^`, rows of a table separated by `;`."""
    text = _render(math)
    for pattern, replacement in TIDY:
        text = pattern.sub(replacement, text)
    return text.strip()


def _render(node: etree._Element) -> str:
    """An element's text. Each part is rendered once: if every level did so twice, deep formulae would take hours."""
    name = etree.QName(node).localname
    if name in IGNORED:
        return ""
    parts = [child for child in node if isinstance(child.tag, str) and etree.QName(child).localname not in IGNORED]
    if not parts:
        return _token(name, " ".join((node.text or "").translate(DROPPED).split()))
    if name == "semantics":
        return _render(parts[0])
    if name == "mfrac" and len(parts) == 2:
        return f" {_side(_render(parts[0]))}/{_side(_render(parts[1]))} "
    if name in SCRIPTS and len(parts) == 2:
        base, script = map(_render, parts)
        if name == "munder" and base.strip() in UNDERLINED and script.strip() in LINES:
            return f" {UNDERLINED[base.strip()]} "
        accent = ACCENTS.get(script.strip()) if name == "mover" else None
        return f"{accent}({base.strip()})" if accent else _base(base) + _script(SCRIPTS[name], script)
    if name in ("msubsup", "munderover") and len(parts) == 3:
        base, lower, upper = map(_render, parts)
        return _base(base) + _script("_", lower) + _script("^", upper)
    if name == "mmultiscripts":
        return _multiscripts(node)
    if name == "mroot" and len(parts) == 2:
        return f"root_{_operand(_render(parts[1]))}({_render(parts[0]).strip()})"
    if name == "msqrt":
        return f"sqrt({''.join(map(_render, parts)).strip()})"
    if name == "mfenced":
        inside = node.get("separators", ",").strip()[:1].join(map(_render, parts))
        return f"{node.get('open', '(')}{inside}{node.get('close', ')')}"
    if name == "mtable":
        rows = [_render(row).strip() for row in parts]
        return " ".join(row if row.endswith((",", ";", ".")) else f"{row};" for row in rows).removesuffix(";")
    if name in ROWS:
        return " ".join(_render(cell).strip() for cell in parts)
    return _loose(node.text) + _row(parts)


def _row(parts: list[etree._Element]) -> str:
    """Elements side by side. Two numbers with an invisible sign between them stay two."""
    shown = [""]
    for part in parts:
        text = _render(part) + _loose(part.tail)
        if (
            not text
            and (part.text or "").strip()
            and (part.text or "").strip() in INVISIBLE
            and shown[-1][-1:].isdigit()
        ):
            text = GAP
        elif shown[-1] == GAP and not text[:1].isdigit():
            shown.pop()
        shown.append(text)
    return "".join(shown)


def _loose(text: str | None) -> str:
    """Words between elements, where there should only be space."""
    return f" {text} " if text and text.strip() else ""


def _token(name: str, text: str) -> str:
    """An element without children: a sign, a name, a number or words, spaced as people write it."""
    if name == "mspace" or (name == "mo" and text in SPACED) or (name == "mtext" and any(map(str.isalpha, text))):
        return f" {text} "
    # Names of several letters, such as cos, are set apart.
    return f" {text}{APPLY}" if name == "mi" and text[1:].isalpha() else text


def _multiscripts(node: etree._Element) -> str:
    """Scripts in pairs of lower and upper. Those after <mprescripts> precede the base: `_6^14 C`."""
    base, *rest = (child for child in node if isinstance(child.tag, str))
    names = [etree.QName(child).localname for child in rest]
    split = names.index("mprescripts") if "mprescripts" in names else len(rest)
    after, before = (
        "".join(_script("_^"[place % 2], _render(script)) for place, script in enumerate(side))
        for side in (rest[:split], rest[split + 1 :])
    )
    return f"{before} {_base(_render(base))}{after}"


def _base(text: str) -> str:
    """The base of a script, in brackets where the script would seem to belong to its end alone."""
    bare = text.strip()
    return f"({bare})" if any(sign in bare for sign in " /") and not _is_bracketed(bare) else text.rstrip()


def _script(mark: str, text: str) -> str:
    """A sub- or superscript; nothing for an empty one, which is a placeholder."""
    return f"{mark}{_operand(text)}" if text.strip() else ""


def _operand(text: str) -> str:
    """An operand, in brackets unless it is a single number, name or sign."""
    text = text.strip(f" {APPLY}")
    return text if SINGLE.fullmatch(text) else f"({text})"


def _side(text: str) -> str:
    """A side of a fraction, which needs no second brackets, unlike a script: `f^(n)` is not `f^((n))`."""
    text = text.strip(f" {APPLY}")
    return text if text.startswith("(") and _is_bracketed(text) else _operand(text)


def _is_bracketed(text: str) -> bool:
    """Whether the first bracket closes at the very end."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in BRACKETS) - (sign in BRACKETS.values())
        if depth <= 0:
            return place == len(text) - 1 and place > 0
    return False
