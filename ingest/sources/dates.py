"""Dates of publication as ISO 8601, to the precision that is known."""

import re
from collections.abc import Iterable
from datetime import date

NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: f"{number:02d}" for number, name in enumerate(NAMES, 1)}


def iso_date(year: str, month: str = "", day: str = "") -> str | None:
    """2012, 2012-07 or 2012-07-19 of parts that may be empty or wrong; None without a year of four digits.

    A month is a number or an English name. A season or a 31st of February is left out, not guessed at.
    """
    if not re.fullmatch(r"[0-9]{4}", year):
        return None
    month = MONTHS.get(month[:3].lower(), month).zfill(2)
    if not re.fullmatch(r"0[1-9]|1[0-2]", month):
        return year
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return f"{year}-{month}"


def earliest(dates: Iterable[str | None]) -> str | None:
    """The first of several dates in ISO 8601. Of 2012 and 2012-07-19 it is the exact one: a missing part is late."""
    return min((date for date in dates if date), key=lambda date: date.ljust(10, "9"), default=None)
