"""Bytes and characters that mean the same wherever they stand, by one definition for all that must agree on them."""

import codecs

INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""Soft hyphens, zero-width blanks, marks of direction and byte order, written as the inside of a regular expression's
`[…]`. Cleaning takes them out of documents, and decontamination out of questions, so that both have the same words."""

REPLACEMENT = "\ufffd"
"""Stands for what nobody can decode. It stays in texts, for a deleted sign could join two numbers."""

WINDOWS_1252 = {byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
"""The character of each byte above ASCII. Five bytes, 0x81 among them, have none."""

C1 = {byte: WINDOWS_1252[byte] for byte in range(0x80, 0xA0)}
"""For `str.translate`: what writers mean by the control characters U+0080 to U+009F, which nobody uses as controls."""


def decoded(data: bytes) -> str:
    """UTF-8 in which some bytes are Windows-1252, as where texts of two systems were joined. Raises nothing.

    What is neither becomes U+FFFD: a byte that Windows-1252 leaves undefined, a sequence that breaks off, half a
    surrogate pair.
    """
    return data.decode("utf-8", STRAY)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


STRAY = "gap.windows-1252"
"""The name under which `decoded` has its handler of errors."""


def _stray(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    if len(wrong) > 1:
        return REPLACEMENT, error.end
    following = error.object[error.start + 1 : error.start + 3]
    if wrong == b"\xed" and len(following) == 2 and 0xA0 <= following[0] < 0xC0 and 0x80 <= following[1] < 0xC0:
        return REPLACEMENT, error.start + 3
    return WINDOWS_1252[wrong[0]], error.end


codecs.register_error(STRAY, _stray)
