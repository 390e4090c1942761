"""Dates of publication in ISO 8601, as precise as they are known."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: f"{number:02d}" for number, name in enumerate(NAMES, 1)}


def iso_date(year: str, month: str = "", day: str = "") -> str | None:
    """2012, 2012-07 or 2012-07-19 from parts that may be empty or wrong; None without a year of four digits.

    A month is a number or an English name. A season or a 31st of February is left out.
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


def utc(text: str) -> datetime:
    """An ISO 8601 time in UTC, where it does not name another zone. Raises ValueError and OverflowError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def earliest(dates: Iterable[str | None]) -> str | None:
    """The earliest of several dates in ISO 8601. A missing part counts as late, so 2012-07-19 comes before 2012."""
    return min((date for date in dates if date), key=lambda date: date.ljust(10, "9"), default=None)
