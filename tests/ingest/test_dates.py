"""Dates to the precision that is known."""

import pytest

from ingest.sources.dates import iso_date


@pytest.mark.parametrize(
    ("parts", "date"),
    [
        (("2012",), "2012"),
        (("2012", "7"), "2012-07"),
        (("2012", "07", "9"), "2012-07-09"),
        (("2012", "Sept", "09"), "2012-09-09"),
        (("2012", "december"), "2012-12"),
        (("2012", "2", "29"), "2012-02-29"),
        (("2013", "2", "29"), "2013-02"),
        (("2012", "Spring", "1"), "2012"),
        (("2012", "13", "1"), "2012"),
        (("2012", "0"), "2012"),
        (("2012", "", "5"), "2012"),
        (("2012", "7", "5th"), "2012-07"),
        (("12",), None),
        (("20123",), None),
        (("٢٠١٢",), None),
        (("",), None),
    ],
)
def test_a_date_is_no_more_precise_than_its_parts(parts: tuple[str, ...], date: str | None) -> None:
    assert iso_date(*parts) == date
