"""Characters that mean others are written as these, and what nobody can tell stays visible and is told."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clean import CleanSettings, clean_document
from ingest.inputs import ReadSettings, records, units
from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.records import Note
from ingest.text.legible import legible, undecodable
from ingest.text.normalise import normalise
from ingest.text.symbols import SYMBOL

MEANT: list[tuple[str, str, str]] = [
    # C1 controls are Windows-1252, and what that leaves undefined is told.
    ("10\x9620 mg", "10–20 mg", "windows-1252"),
    ("\x93Never\x94 \x80 5 \x85", "“Never” € 5 …", "windows-1252"),
    ("one\x85two", "one…two", "windows-1252"),
    ("10\x8120", "10\ufffd20", "windows-1252"),
    # The Symbol font, as office software stores it.
    ("pressure \uf0b3 140", "pressure ≥ 140", "symbol font"),
    ("250 \uf06dg", "250 μg", "symbol font"),
    ("\uf0a3 5, \uf0b1 2, 3 \uf0b4 10, 37 \uf0b0C, \uf02d5", "≤ 5, ± 2, 3 × 10, 37 °C, −5", "symbol font"),
    ("TNF-\uf061, \uf062-blocker, \uf044G, \uf057", "TNF-α, β-blocker, ΔG, Ω", "symbol font"),
    ("\uf031\uf030\uf02d\uf032\uf030 mg", "10−20 mg", "symbol font"),
    ("a \uf0ae b \uf0ad c \uf0af d \uf0b9 e \uf0bb f", "a → b ↑ c ↓ d ≠ e ≈ f", "symbol font"),
    ("\uf0fc safe | \uf0fb not", "✓ safe | ✗ not", "symbol font"),
    ("\uf0e9 a \uf0f9\n\uf0eb b \uf0fb", "⎡ a ⎤\n⎣ b ⎦", "symbol font"),
    ("\uf0d8 fever\n\uf076 cough\n\uf0a7 rash\n\uf0b7 pain", "- fever\n- cough\n- rash\n- pain", "symbol font"),
    ("p\uf0d8q", "p¬q", "symbol font"),
    # Adobe's old-style digits and small capitals.
    ("\uf731\uf730 mg of \uf761\uf773\uf761", "10 mg of ASA", "symbol font"),
    # What nobody can decode stays visible and joins nothing.
    ("250 \ufffdg", "250 \ufffdg", ""),
    ("10\ue00020", "10\ufffd20", "private use"),
    ("10\U000f000120 \U0010fffd", "10\ufffd20 \ufffd", "private use"),
    ("10\x0020 \x08 5\x0310", "10\ufffd20 \ufffd 5\ufffd10", "control"),
    ("p \x14 0.05", "p \ufffd 0.05", "control"),
    ("10\x7f20", "10\ufffd20", "control"),
    ("10\ud80020", "10\ufffd20", "surrogate"),
    ("10\ufffe20 \ufdd0 \U0001ffff", "10\ufffd20 \ufffd \ufffd", "non-character"),
    ("10\ufffc20 \ufff9", "10\ufffd20 \ufffd", "non-character"),
    ("10\x1e20 mg, beta\x1eblocker", "10-20 mg, beta-blocker", "control"),
    ("hyper\x1ftension 10\x1f20", "hypertension 10\ufffd20", "control"),
    # Invisible characters go, but join no numbers that they parted.
    ("hyper\u00adtension \u200bof\ufeff", "hypertension of", ""),
    ("10\u00ad20 mg, COVID\u00ad19, \u00ad5 °C, 5\u00adFU", "10-20 mg, COVID-19, -5 °C, 5-FU", "invisible sign"),
    ("1\u20641/2 tablets, 3\u206210", "1 1/2 tablets, 3 10", "invisible sign"),
    # Ligatures, fractions, underlined signs.
    ("ﬁve diﬀerent ﬂuids, eﬃcacy, waﬄe, ﬅ ﬆ", "five different fluids, efficacy, waffle, st st", "ligature"),
    ("1⁄2 tablet, ¹⁄₂ tablet, 2¹⁄₂ ml, 2 ³/₄", "1/2 tablet, 1/2 tablet, 2 1/2 ml, 2 3/4", "fraction"),
    ("≥ x: >\u0332 65, <\u0332 5, +\u0332 2, >\u0331 1", "≥ x: ≥ 65, ≤ 5, ± 2, ≥ 1", "underlined sign"),
    # UTF-8 that was read as Windows-1252, once or twice.
    ("5 Âµg, 37 Â°C, Â±2, Â½, 10Â²", "5 µg, 37 °C, ±2, ½, 10²", "mojibake"),
    ("10â€“20 mg, donâ€™t, â€œnoâ€\x9d, â‰¥ 5, â†’", "10–20 mg, don’t, “no”, ≥ 5, →", "mojibake"),
    ("5 Ã— 10, MÃ©niÃ¨re, Î±, Î²-blocker, Ï€", "5 × 10, Ménière, α, β-blocker, π", "mojibake"),
    ("5 Ã‚Âµg, 10Ã¢â‚¬â€œ20", "5 µg, 10–20", "mojibake"),
    ("10ï¿½20", "10\ufffd20", "mojibake"),
    ("10\xe2\x80\x9320 mg", "10–20 mg", "mojibake"),
]


@pytest.mark.parametrize(("raw", "clean", "kind"), MEANT)
def test_what_is_meant_is_written_and_counted(raw: str, clean: str, kind: str) -> None:
    changed: Counter[str] = Counter()
    assert normalise(raw, changed=changed) == clean
    assert set(changed) == ({kind} if kind else set())
    assert normalise(clean) == clean
    assert legible(raw) == normalise(raw, keep_layout=True) or "\n- " in clean or "\uf0d8" in raw


@pytest.mark.parametrize(
    "text",
    [
        "5 µg, 5 μg, ½, 10⁶, H₂O, ≥ 5, ± 2, 10–20, −5 °C, ∼ 3, ″, ‰",
        "château – naïve Ångström 3 Å–4 Å, Île, maïs, SÃO PAULO – NÃO",
        "à — Ã – Â, IRMÃ— MANHÃ® ROMÂ»",
        "2½ tablets; 1/2; 21/2; a/b; x²",
        "می\u200cخواهم 👨\u200d👩\u200d👧 ✔\ufe0f",
        "<u>, >5, a > b, + 3, =",
        "The letters f, fi and fl; ĳ, ß, Œuvre, œdema",
    ],
)
def test_text_without_such_characters_stays_to_the_byte(text: str) -> None:
    changed: Counter[str] = Counter()
    assert normalise(text, changed=changed) == text
    assert not changed


def test_the_table_of_the_symbol_font_has_adobes_places() -> None:
    places = {0x22: "∀", 0x6A: "ϕ", 0x7E: "∼", 0xA0: "€", 0xB7: "•", 0xC6: "∅", 0xD5: "∏", 0xE5: "∑", 0xF2: "∫"}
    assert {place: SYMBOL[place - 0x20] for place in places} == places


@given(st.text(st.characters(categories=None)), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_character_that_goes_joins_two_numbers(between: str, before: int, after: int) -> None:
    between = re.sub("[\u200b-\u200f\u202a-\u202e\u2060\u2065-\u206f\ufeff]", "", between)
    if between and not any(sign.isdecimal() for sign in legible(between)):
        assert f"{before}{after}" not in normalise(f"{before}{between}{after}")


def test_what_cannot_be_decoded_is_quoted() -> None:
    assert undecodable("5 mg at 20 °C, ≥ 3") is None
    assert undecodable("10\x9620 \uf0b3 hyper\u00adtension") is None
    assert undecodable("Give 10\ue000 20 mg\n\x00 and \ufffd") == "3: “…Give 10\ufffd 20 mg \ufffd and…”"


def test_every_format_notes_what_cannot_be_decoded(tmp_path: Path) -> None:
    texts = ["10\x9620 mg", "250 \ufffdg; 10\x9620 mg", "10\ue00020", "10\ud80020", "10\x0020"]
    lines = [json.dumps({"text": text, "url": f"https://example.org/{text[:0]}{n}"}) for n, text in enumerate(texts)]
    lines.append(json.dumps({"text": "none", "title": "10\x9d20"}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    fields = {"text": "text", "url": "url", "title": "title"}
    given = {"format": "jsonl", "source": "own", "paths": ["a.jsonl"], "fields": fields}
    settings = ReadSettings.model_validate({"inputs": [given]})
    read = list(records(units(settings, str(tmp_path))[0], settings, str(tmp_path)))
    notes = [record for record in read if isinstance(record, Note)]
    ids = [record["id"] for record in read if isinstance(record, dict)]
    assert [note.document for note in notes] == [*(f"https://example.org/{n}" for n in (1, 2, 3, 4)), ids[5]]
    assert {note.what for note in notes} == {"undecodable characters"}
    assert notes[0].details == "1: “…250 \ufffdg; 10–20 mg…”"


def test_the_c1_and_symbol_case_keeps_every_dose() -> None:
    """Case 04-c1-and-fffd-jsonl."""
    raw = "250 \ufffdg; 10\x9620 mg a day; pressure \uf0b3 140"
    clean = clean_document(raw, None, "own", CleanSettings())
    assert clean.text == "250 \ufffdg; 10–20 mg a day; pressure ≥ 140"
    assert clean.changes == {("characters_replaced", "windows-1252"): 1, ("characters_replaced", "symbol font"): 1}


PROSE = "<p>The reader is told in plain prose what the ward does when somebody comes in with this complaint.</p>" * 8


@pytest.mark.parametrize("header", [None, "utf-8", "iso-8859-1"])
@pytest.mark.parametrize("head", ['<meta charset="utf-8">', "", '<meta http-equiv=Content-Type content="text/html">'])
def test_the_page_that_says_utf_8_keeps_every_dose(head: str, header: str | None) -> None:
    """Case 02-cp1252-said-utf8."""
    dose = "Take 250 µg – 500 µg, ±5, ½ tablet at 37 °C, 10–20 mg"
    html = f"<!DOCTYPE html><html><head>{head}</head><body><main>{PROSE}<p>{dose}</p></main></body></html>"
    page = extract(html.encode("cp1252"), charset=header)
    assert isinstance(page, Page)
    assert dose in page.text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10&#150;20", "10–20"),
        ("10&#x96;20", "10–20"),
        ("&#133;", "…"),
        ("10&#0;20", "10\ufffd20"),
        ("10&#xD800;20", "10\ufffd20"),
        ("10&#x110000;20", "10\ufffd20"),
        ("&frac13; &half; &ges; &plus; &micro; &ge;", "⅓ ½ ⩾ + µ ≥"),
        ("10\x0020", "10\ufffd20"),
        ("10\x9620", "10–20"),
        ("10&#x81;20", "10\ufffd20"),
        ("10&#xF0B3;20", "10≥20"),
    ],
)
def test_references_of_a_page_keep_what_they_stand_for(written: str, meant: str) -> None:
    page = extract(f"<main>{PROSE}<p>Give {written} now and then.</p></main>".encode())
    assert isinstance(page, Page)
    assert f"Give {meant} now and then." in normalise(page.text)
