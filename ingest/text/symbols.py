"""The private use area as fonts of office software and of Adobe fill it, and the characters that are meant."""

import re

from lake.characters import REPLACEMENT

SYMBOL = (
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?"
    "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_"
    f"‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{{|}}∼{REPLACEMENT * 33}"
    "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵"
    "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓"
    f"◊⟨®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪{REPLACEMENT}⟩∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"
)
"""The Symbol font from 0x20 to 0xFE, by Unicode's table of Adobe's encoding. Office software stores a byte of a symbol
font as U+F000 and that byte."""

ADOBE = "‾⏐⎯®©™⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪⎮⎞⎟⎠⎤⎥⎦⎫⎬⎭"
"""U+F8E5 to U+F8FE of Adobe's glyph list, which has old-style digits at U+F730 and small capitals at U+F761 as well."""

WINGDINGS = {"\uf0a7": "•", "\uf0e0": "→", "\uf0fb": "✗", "\uf0fc": "✓", "\uf0fd": "☒", "\uf0fe": "☑"}
"""Signs of Wingdings that office texts have more often than those of Symbol at their places. A table says with the last
four whether a drug may be given."""

TALL = re.compile("[\uf0e6-\uf0ef\uf0f6-\uf0fa]")
"""Pieces of brackets that are several lines high. A text with one has equations."""

TALL_PIECES = {chr(code): SYMBOL[code - 0xF020] for code in range(0xF0FB, 0xF0FF)}
"""What the last four signs of WINGDINGS are in a text with equations."""

PRIVATE = (
    {chr(0xF020 + place): sign for place, sign in enumerate(SYMBOL) if sign != REPLACEMENT}
    | {chr(0xF8E5 + place): sign for place, sign in enumerate(ADOBE)}
    | {chr(0xF730 + digit): str(digit) for digit in range(10)}
    | {chr(0xF761 + letter): chr(ord("A") + letter) for letter in range(26)}
    | {"\uf6d9": "©", "\uf6da": "®", "\uf6db": "™"}
    | WINGDINGS
)
"""Each character of the private use area that has a meaning, and what it means."""
