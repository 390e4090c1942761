"""Personal data is masked; what medical text is full of is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.text.pii import KINDS, mask

PERSONAL = [
    "john.doe+x@nih.gov", "a_b@mail.example.co.uk", "+44 20 7946 0958", "+49 (0)30 1234567", "+1 (202) 555-0147",
    "1-800-222-1222", "1-800-4-CANCER", "(301) 496-5717", "301-496-5717", "301.480.1234", "(020) 7946 0958",
    "020 7946 0958", "01 23 45 67 89", "030/12345678", "Tel: 555 1234 567", "phone number 5551234567",
    "MRN: 00123456", "MRN 12-34-56", "medical record number is A1234567", "patient ID #445566",
    "NHS number: 943 476 5919",
]  # fmt: skip
FIGURES = [
    "200-400 mg", "3 x 500-1000-2000", "2.5-3.5 g/kg", "200-300-4000", "10.1016/j.jid.2005.123-456-7890",
    "doi:10.1371/journal.pone.0120924", "PMID 12345678", "PMID: 9876543", "PMC1234567", "NCT01234567",
    "ISBN 978-0-306-40615-7", "ISSN 1234-5678", "ISBN 0-306-40615-2", "1998-2004", "01-02-2003", "2020-01-15",
    "12/11/2004", "08:15-09:45", "+15.3", "+10 mV",
    "1 000 000 000", "n = 12 345", "0.05-0.10", "10 20 40 80 160 320", "450 560 1200", "5 mg/24 h", "95 % CI 12.5-17.8",
    "p<0.0001", "user@", "@home", "2 x 10^6 cells", "rs1234567890", "chr7:140453136-140453137", "120/80 mm Hg",
    "patient number 12",
    "hospital no. 7", "phone in 2010", "ICD-10 E11.9", "5'-GCTAGC-3'", "CAS 50-78-2", "12 345 678 patients",
]  # fmt: skip


@pytest.mark.parametrize("text", PERSONAL)
def test_personal_data_is_masked(text: str) -> None:
    masked, found = mask(f"Write or call: {text}, thank you.", KINDS)
    assert sum(found.values()) == 1
    assert not any(sign.isdigit() or sign == "@" for sign in masked)
    assert masked.startswith("Write or call: ")
    assert masked.endswith(">, thank you.")


@pytest.mark.parametrize("text", FIGURES)
def test_figures_and_numbers_of_papers_stay(text: str) -> None:
    for whole in (text, f"It was {text}.", f"({text}; {text})", f"{text}\n{text}"):
        assert mask(whole, KINDS) == (whole, {})


def test_only_what_is_asked_for_is_masked_and_counted() -> None:
    text = "MRN 1234567: a@b.org, c@d.org, 301-496-5717"
    assert mask(text, ()) == (text, {})
    assert mask(text, ("email",)) == ("MRN 1234567: <email>, <email>, 301-496-5717", {"email": 2})
    assert mask(text, KINDS) == ("MRN <record>: <email>, <email>, <phone>", {"email": 2, "record": 1, "phone": 1})


PIECES = st.sampled_from(
    [*PERSONAL, *FIGURES, " ", ".", "-", "+", "(", ")", "1", "23", "Tel ", "MRN ", "@", "a", "\n", "<phone>"]
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(categories=None)))
def test_no_text_raises_and_masking_twice_changes_nothing(text: str) -> None:
    masked, found = mask(text, KINDS)
    assert mask(masked, KINDS) == (masked, {})
    assert (masked == text) == (not found)


@given(st.lists(st.sampled_from(FIGURES), max_size=10).map("; ".join))
def test_figures_together_make_no_personal_data(text: str) -> None:
    assert mask(text, KINDS) == (text, {})


@pytest.mark.parametrize("one", ["a", "1", "1 ", "a.", "a@", "0-", "+1 ", "tel ", "MRN ", "(0", "1-800-A"])
def test_long_hostile_runs_are_passed_at_once(one: str) -> None:
    mask(one * 300_000, KINDS)
