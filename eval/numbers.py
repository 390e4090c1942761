"""Numbers as people read them. A value that is missing or not finite is a dash."""

import math

NONE = "–"
SPACE = "\u00a0"
"""Keeps number and unit on one line."""

MOST = 700
"""The largest loss whose exponential a float holds."""

SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def count(value: int | None) -> str:
    """All digits, in groups of three: 46,700,312."""
    return NONE if value is None else f"{value:,}"


def compact(value: float | None) -> str:
    """Three digits and a scale: 46.7 B."""
    return _scaled(value, SCALES)


def size(value: float | None) -> str:
    """Bytes, to three digits: 912 kB."""
    text = _scaled(value, BYTES)
    return f"{text}{SPACE}bytes" if text[-1].isdigit() else text


def _scaled(value: float | None, scales: tuple[tuple[float, str], ...]) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    for scale, unit in scales:
        # 999,500 would be written as 1000 K.
        if abs(value) >= scale * 0.9995:
            return f"{value / scale:.3g}{SPACE}{unit}"
    return f"{value:.3g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1: 0.343 is 34.3 %."""
    return f"{share * 100:.{digits}f}{SPACE}%" if share is not None and math.isfinite(share) else NONE


def change(after: float | None, before: float | None) -> str:
    """How much `after` is more or less than `before`, as a share of it: −22.6 %, +1.3 %."""
    if after is None or before is None or not before or not math.isfinite(after / before):
        return NONE
    share = after / before - 1
    return f"{'−' if share < 0 else '+'}{percent(abs(share))}"


def decimal(value: float | None, digits: int = 3) -> str:
    """A fixed number of decimals, and digits in groups of three: 1,234.500."""
    return f"{value:,.{digits}f}" if value is not None and math.isfinite(value) else NONE


def perplexity(loss: float | None) -> str:
    """e to the loss."""
    if loss is None or not loss < MOST:
        return NONE
    value = math.exp(loss)
    return decimal(value, 2) if value < 100 else decimal(value, 1) if value < 10_000 else compact(value)


def general(value: float | None) -> str:
    """Four digits in the shortest form: 0.0003, 5.3e-06."""
    return f"{value:.4g}" if value is not None and math.isfinite(value) else NONE


def duration(seconds: float | None) -> str:
    """About three digits: 9.4 s, 6 min 12 s, 14 h 3 min."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if whole < 3600 else f"{minutes // 60:,} h {minutes % 60} min"
