"""Pages of tables and lists: no rule made for prose drops one, and what is no content goes all the same."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.clean import CleanSettings, clean_document
from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.text.quality import QualitySettings, measures, verdict
from ingest.text.tables import is_listed, is_row, parts
from tests.ingest.clinical import TABLES

SETTINGS = CleanSettings()
STRICT = CleanSettings.model_validate({"length": {"words": 50, "lines": 3}})
INTRO = "Use this table to find the dose for an adult. It is for patients with a normal clearance and not for a child."
LEGEND = "CrCl, creatinine clearance; IV, intravenous; PO, per os; PR, per rectum; SC, subcutaneous; q8h, every 8 h"
FOOTER = "By using this site you accept our privacy policy."

FORMS = {
    "as it is": "{}",
    "in a page": f"{INTRO}\n\n## Table 1\n\n{{}}\n\n{LEGEND}",
    "with a legend": f"{{}}\n\n{LEGEND}",
    "with a footer": f"{{}}\n\n{FOOTER}",
    "twice": "## Adults\n\n{0}\n\n## Children\n\n{0}",
}

FOREIGN = {
    "de": (
        "Die Tabelle gilt für Erwachsene mit normaler Nierenfunktion, nicht aber für Kinder oder Schwangere.",
        "Wirkstoff | Dosis | Intervall\nAmoxicillin | 500 mg | alle 8 Stunden\nCefuroxim | 1,5 g | alle 8 Stunden\n"
        "Erwachsene | 10 mg | einmal täglich\nKinder unter 5 Jahren | 2,5 mg | zweimal täglich\n"
        "Metronidazol | 500 mg | vor dem Essen",
    ),
    "fr": (
        "Ce tableau donne la dose pour un adulte dont la fonction rénale est normale, et non pour un enfant.",
        "Médicament | Dose | Intervalle\nAmoxicilline | 500 mg | toutes les 8 heures\n"
        "Adultes | 10 mg | une fois par jour\n"
        "Enfants de moins de 5 ans | 2,5 mg | deux fois par jour\nCéfuroxime | 1,5 g | avant le repas",
    ),
    "es": (
        "Esta tabla muestra la dosis para un adulto con función renal normal, pero no para los niños.",
        "Fármaco | Dosis | Intervalo\nAmoxicilina | 500 mg | cada 8 horas\nAdultos | 10 mg | una vez al día\n"
        "Niños menores de 5 años | 5 mg | dos veces al día\nCeftriaxona | 1 g | cada 24 horas",
    ),
    "zh": (
        "本表列出肾功能正常的成人剂量。儿童和孕妇不得使用本表。如有疑问，请咨询医生或药剂师。用药前请仔细阅读说明书。",
        "药物 | 剂量 | 途径 | 间隔\n阿莫西林 | 500 mg | 口服 | 每8小时\n头孢曲松 | 1 g | 静脉注射 | 每24小时\n"
        "成人 | 10 mg | 口服 | 每日一次\n儿童 | 5 mg | 口服 | 每日两次\n甲硝唑 | 400 mg | 口服 | 每8小时",
    ),
}  # fmt: skip

SPAM = "Buy cheap pills online"
JUNK = {
    "tags": "Tags: asthma, inhaler, spacer, nebuliser, wheeze, cough, peak flow, steroid, adrenaline, allergy " * 5,
    "keywords": f"{SPAM} " * 40,
    "the same item": f"- {SPAM}\n" * 40,
    "the same row": "Pills | cheap | online\n" * 40,
    "placeholder rows": "Lorem ipsum | dolor | sit | amet\n" + "Consectetur | 5 mg | elit | sed\n" * 8,
    "cookies": "This site uses cookies.\nCookie policy: we use cookies to serve you and to measure what you read.\n"
    "See the privacy policy and the terms of use for more of what is done with the data that you leave here.\n" * 3,
    "cookies in rows": "Name | Use of cookies\n_ga | See the privacy policy\n_gid | See the cookie policy\n"
    "_fbp | This site uses cookies\nid | See the privacy policy\nsid | See the terms of use",
    "a script in rows": "Enable JavaScript | now\nNo javascript | no table\nDose | 5 mg\nRoute | IV\nDays | 7\n",
    "a paragraph four times": f"{INTRO}\n\n" * 4,
}


def dropped(text: str, settings: CleanSettings = SETTINGS) -> str | None:
    clean = clean_document(text, None, "guidelines", settings)
    return clean.drop and f"{clean.drop.reason.value}: {clean.drop.evidence}"


@pytest.mark.parametrize("settings", [SETTINGS, STRICT])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("page", TABLES)
def test_a_clinical_table_stays(page: str, form: str, settings: CleanSettings) -> None:
    text = FORMS[form].format(TABLES[page])
    clean = clean_document(f"# {page}\n\n{text}", page, "guidelines", settings)
    assert (clean.drop, clean.lang) == (None, "en")


@pytest.mark.parametrize("page", [page for page, rows in TABLES.items() if " | " in rows and page != "APGAR"])
def test_items_and_rows_without_borders_are_no_prose_either(page: str) -> None:
    rows = TABLES[page].replace(" | ", " ")
    settings = CleanSettings.model_validate({"length": {"words": 20}})
    for text in (rows, "- " + rows.replace("\n", "\n- ")):
        assert dropped(text, settings) is None


@pytest.mark.parametrize("page", [page for page, rows in TABLES.items() if " | " in rows])
def test_published_bounds_for_prose_drop_no_table(page: str) -> None:
    assert verdict(TABLES[page], QualitySettings()) is None


def test_a_short_table_says_as_much_as_a_paragraph() -> None:
    rows = "Age | Dose\n<1 year | 5 mg\n1–5 years | 10 mg\n6–12 years | 20 mg\nAdult | 40 mg"
    assert dropped(rows) is None
    assert dropped(rows.replace(" |", "")) == "too_short: words=17 of 50, lines with more than 10 words=1 of 0"


@pytest.mark.parametrize("code", FOREIGN)
def test_a_table_in_another_language_goes(code: str) -> None:
    intro, rows = FOREIGN[code]
    for text in (rows, f"{intro}\n\n{rows}", f"{intro}\n\n{TABLES['renal doses']}", f"{intro}\n\n{TABLES['APGAR']}"):
        assert (dropped(text) or "").startswith(f"non_english: lang={code}")


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_content_goes_in_rows_and_items_too(junk: str) -> None:
    assert dropped(JUNK[junk]) is not None


def test_a_dosing_table_in_html_stays() -> None:
    """Case 22 of the issue: the model takes the rows for Chinese, and borders make the words short."""
    names = (
        "Amikacin Amoxicillin Ampicillin Azithromycin Cefazolin Cefepime Cefotaxime Ceftazidime Ceftriaxone "
        "Ciprofloxacin Clindamycin Ertapenem Gentamicin Imipenem Levofloxacin Linezolid Meropenem Penicillin Vancomycin"
    )
    cells = ("2 g", "IV", "q12h", "1 g", "q24h", "10 d")
    head = ("Drug", "Dose", "Route", "Interval", "Dose, CrCl &lt;30", "Interval", "For")
    rows = [head, *((name, *cells) for name in names.split())]
    table = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    for prose in (INTRO, ""):
        html = f"<html><body><main><h1>Doses</h1><p>{prose}</p><table>{table}</table></main></body></html>"
        page = extract(html.encode())
        assert isinstance(page, Page)
        assert dropped(page.text) is None


@pytest.mark.parametrize(
    ("line", "row", "listed"),
    [
        ("Amikacin | 2 g | IV", True, True),
        ("| 12-16", True, True),
        ("Hb |", True, True),
        (f"Given that P(A | B) is small, {INTRO.lower()}", False, False),
        ("- Peanut", False, True),
        ("- Give oxygen to every adult with a saturation below 94 % and measure again.", False, False),
        ("Amikacin 15 mg/kg IV q24h", False, True),
        ("Drug 5 kg 10 kg 15 kg 20 kg 30 kg 40 kg", False, True),
        ("Give 5 mg.", False, False),
        ("It rose from 12 to 16 in 3 weeks, from 4 to 5 in 6 and from 7 to 8 in 9.", False, False),
        ("Renal failure", False, False),
        ("", False, False),
    ],
)  # fmt: skip
def test_what_is_a_row_and_what_is_listed(line: str, row: bool, listed: bool) -> None:
    assert (is_row(line), is_listed(line)) == (row, listed)


def test_borders_and_signs_of_items_are_no_words() -> None:
    values = {
        text: {one.name: one.value for one in measures(text, QualitySettings())}
        for text in ("Age Dose\nAdult forty", "Age | Dose\nAdult | forty", "- Age Dose\n- Adult forty")
    }
    first, *others = ({**value, "bullet_lines": 0} for value in values.values())
    assert all(other == first for other in others)


@given(st.lists(st.sampled_from(["|", "- ", "# ", "5 mg", "word", "\n", ".", "The dose of it."])).map(" ".join))
@example("| \n #  |")
def test_no_line_is_lost_and_rows_only_make_milder(text: str) -> None:
    prose, listed = parts(text)
    bare = [line.strip() for line in text.split("\n")]
    assert len(prose) + len(listed) == sum(bool(line) and not line.startswith("# ") for line in bare)
    if not listed:
        return
    for measure in measures(text, QualitySettings()):
        if measure.drop is not None and measure.name in ("stop_words", "word_length", "sentences"):
            assert prose
