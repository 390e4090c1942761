"""Dates of publication in ISO 8601, as precise as they are known."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: f"{number:02d}" for number, name in enumerate(NAMES, 1)}

FIRST_YEAR, LAST_YEAR = 1500, 2100

MONTH = rf"(?:{'|'.join(NAMES)})[a-z]{{0,6}}\.?"
STATED = re.compile(
    rf"""
    (?P<year>[0-9]{{4}}) (?: (?P<sign>[-/]) (?P<month>[0-9]{{1,2}}) (?: (?P=sign) (?P<day>[0-9]{{1,2}}) )? (?![0-9])
    | \.(?P<dotted>[0-9]{{2}})\.(?P<last>[0-9]{{2}}) (?![0-9])
    | \s+ (?P<name>{MONTH}) (?: \s+ (?P<of>[0-9]{{1,2}}) )? (?!\w)
    | \s+ (?:spring|summer|autumn|fall|winter) (?!\w)
    | \s* $ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
COMPACT = re.compile(r"(?P<year>[0-9]{4})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12][0-9]|3[01])")
NAMED = re.compile(
    rf"(?:(?P<day>[0-9]{{1,2}})\s+)?(?P<month>{MONTH})(?:\s+(?P<of>[0-9]{{1,2}})(?:st|nd|rd|th)?,)?"
    r"\s+(?P<year>[0-9]{4})(?!\w)",
    re.IGNORECASE,
)
YEAR_LAST = re.compile(r"(?P<first>[0-9]{1,2})([/.-])(?P<second>[0-9]{1,2})\2(?P<year>[0-9]{4})(?!\w)")
WEEKDAY = re.compile(r"\A(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},?\s+", re.IGNORECASE)
MONTHS_OF, DAYS_OF = ("month", "name", "dotted"), ("day", "of", "last")
"""The groups of these patterns that hold month and day."""
NUMBER = re.compile(r"[0-9]{9,19}")
UNITS = (1, 10**3, 10**6, 10**9)
"""How many in a second: seconds, milli-, micro- and nanoseconds."""
EARLIEST, LATEST = 10**8, 4 * 10**9
"""Unix times in seconds that are dates: from 1973 to 2096. Their ranges in the four units do not overlap."""


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


def stated_date(text: str) -> str | None:
    """The date that a text begins with (2012, 2012-07, 2012/07/19, 20120719, 2012 Jul 19, July 2012, 19/07/2012) or, of
    a number, the UTC day of its Unix time; None where it is no date for certain.

    Any four digits are not a year: it lies between FIRST_YEAR and LAST_YEAR. Of 05/07/2012 only the year is certain.
    """
    text = WEEKDAY.sub("", text.strip(), count=1)
    if match := STATED.match(text) or COMPACT.fullmatch(text) or NAMED.match(text):
        parts = match.groupdict("")
        month, day = (next(filter(None, map(parts.get, names)), "") for names in (MONTHS_OF, DAYS_OF))
        date = iso_date(parts["year"], month, day)
        return date if FIRST_YEAR <= int(parts["year"]) <= LAST_YEAR else None
    if match := YEAR_LAST.match(text):
        first, second, year = int(match["first"]), int(match["second"]), match["year"]
        certain = (second, first) if first > 12 or first == second else (first, second) if second > 12 else (0, 0)
        return iso_date(year, *map(str, certain)) if FIRST_YEAR <= int(year) <= LAST_YEAR else None
    if NUMBER.fullmatch(text):
        seconds = next((int(text) / unit for unit in UNITS if EARLIEST <= int(text) / unit < LATEST), None)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
    return None


def utc(text: str) -> datetime:
    """An ISO 8601 time in UTC, where it does not name another zone. Raises ValueError and OverflowError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def earliest(dates: Iterable[str | None]) -> str | None:
    """The earliest of several dates in ISO 8601. A missing part counts as late, so 2012-07-19 comes before 2012."""
    return min((date for date in dates if date), key=lambda date: date.ljust(10, "9"), default=None)
