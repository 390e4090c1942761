"""Powers in plain text: 10⁶ must not become 106."""

import re

EXPONENT = re.compile(r"[−–+-]?\d|[−–-]\w")


def is_power(before: str, raised: str) -> bool:
    """Whether raised text is the exponent of the number that `before` ends with, and takes a `^`."""
    return before[-1:].isdigit() and EXPONENT.match(raised) is not None
