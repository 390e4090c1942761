"""The parts of a JATS paper: tables in boxes, lists, translations, back matter; and what the ledger has of the rest."""

import re
from pathlib import Path

import pytest
from lxml import etree

from ingest.fidelity.ledger import Ledger
from ingest.sources.jats import JatsInput, parse_paper
from tests.ingest.test_jats_text import article, body, cite, text_of

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",))

ROWS = (
    '<thead><tr><th rowspan="2">Drug</th><th colspan="2">Dose</th></tr><tr><th>Adult</th><th>Child</th></tr></thead>'
    '<tbody><tr><td rowspan="2">B</td><td>10 mg</td><td>4 mg</td></tr><tr><td>12 mg</td><td>6 mg</td></tr></tbody>'
)
GRID = "Drug | Dose | Dose\nDrug | Adult | Child\nB | 10 mg | 4 mg\nB | 12 mg | 6 mg"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f"<boxed-text><table-wrap><table>{ROWS}</table></table-wrap></boxed-text>", GRID),
        (f"<disp-quote><table-wrap><table>{ROWS}</table></table-wrap></disp-quote>", GRID),
        (f"<boxed-text><p>Doses:</p><array>{ROWS}</array></boxed-text>", f"Doses:\n\n{GRID}"),
        (f"<p>Doses: <table>{ROWS}</table> daily</p>", f"Doses:\n\n{GRID}\n\ndaily"),
        (f"<p>Doses: <array>{ROWS}</array></p>", f"Doses:\n\n{GRID}"),
        (f"<sec><title>Doses</title><table>{ROWS}</table></sec>", f"# Doses\n\n{GRID}"),
        (f"<list><list-item><p>Doses</p><table>{ROWS}</table></list-item></list>", f"- Doses\n{GRID}"),
        (
            f"<boxed-text><table-wrap><alternatives><graphic/><table>{ROWS}</table></alternatives></table-wrap>"
            "</boxed-text>",
            GRID,
        ),
        (
            f"<boxed-text><table-wrap><label>Table 1</label><caption><p>Doses.</p></caption><table>{ROWS}</table>"
            "<table-wrap-foot><fn><label>a</label><p>Not in children.</p></fn></table-wrap-foot></table-wrap>"
            "</boxed-text>",
            f"[table] Table 1: Doses. [/table]\n\n{GRID}\n\na Not in children.",
        ),
        (
            f"<table-wrap><label>Table 1</label><caption><p>Doses:</p><array>{ROWS}</array></caption></table-wrap>",
            f"[table] Table 1: Doses: {GRID.replace(chr(10), '; ')} [/table]",
        ),
        (f"<p>a</p><table-wrap><caption><p>Doses.</p></caption><table>{ROWS}</table></table-wrap>",
         "a\n\n[table] Doses. [/table]"),
        ("<p><table><tr><td>A</td><td/><td>5 mg</td></tr></table></p>", "A |  | 5 mg"),
        ("<p><table><tr><td>A <array><tr><td>1</td></tr><tr><td>2</td></tr></array></td></tr></table></p>", "A 1; 2"),
    ],
)  # fmt: skip
def test_tables_of_boxes_and_text_keep_their_grid(xml: str, text: str) -> None:
    assert body(xml) == text


def test_a_hostile_table_stays_small() -> None:
    cells = '<td rowspan="999999999999" colspan="99999">x</td>' * 50
    assert len(body(f"<p><table>{f'<tr>{cells}</tr>' * 20}</table></p>")) < 200_000


def items(kind: str, *texts: str, more: str = "") -> str:
    inner = "".join(f"<list-item><p>{text}</p></list-item>" for text in texts)
    return f'<list list-type="{kind}" {more}>{inner}</list>'


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (items("alpha-lower", "x", "y"), "a. x\nb. y"),
        (items("alpha-upper", "x", "y"), "A. x\nB. y"),
        (items("roman-lower", *"pqrstuvwx"[:9]), "i. p\nii. q\niii. r\niv. s\nv. t\nvi. u\nvii. v\nviii. w\nix. x"),
        (items("roman-upper", "x", "y"), "I. x\nII. y"),
        (items("order", "x", more='prefix-word="Step"'), "Step 1. x"),
        (items("alpha-lower", *["x"] * 28).replace("<p>x</p></list-item></list>", "<p>last</p></list-item></list>"),
         "\n".join(f"{chr(97 + n)}. x" for n in range(26)) + "\naa. x\nab. last"),
        (items("order", "x", more='id="l"') + "<p>and</p>" + items("order", "y", more='continued-from="l"'),
         "1. x\n\nand\n\n2. y"),
        (items("order", "x", "y", more='id="l"') + items("order", "z", more='id="m" continued-from="l"')
         + items("order", "!", more='continued-from="m"'), "1. x\n2. y\n\n3. z\n\n4. !"),
        (items("order", "x", more='id="l" continued-from="l"'), "2. x"),
        (items("order", "x", more='continued-from="gone"'), "1. x"),
        ("<list><list-item><label>(−)</label><p>x</p></list-item></list>", "(−) x"),
        ("<list><list-item><label>✗</label><p>x</p></list-item></list>", "✗ x"),
        ("<list><list-item><label>–</label><p>x</p></list-item></list>", "- x"),
        ("<list><title>Never give</title><list-item><p>x</p></list-item></list>", "Never give\n- x"),
        ("<list><list-item><title>Never</title><p>x</p></list-item></list>", "- Never\nx"),
        ("<def-list><title>Doses</title><def-item><term>A</term><def><p>5 mg</p></def></def-item></def-list>",
         "Doses\n- A: 5 mg"),
        ("<disp-quote><title>Never</title><p>Give it.</p></disp-quote>", "Never\n\nGive it."),
    ],
)  # fmt: skip
def test_lists_keep_their_labels_and_titles(xml: str, text: str) -> None:
    assert body(xml) == text


ENGLISH = (
    '<sub-article article-type="translation" xml:lang="en" id="s1"><front-stub><title-group><article-title>A trial in '
    "English</article-title></title-group><abstract><p>In short.</p></abstract></front-stub><body><p>The patient was "
    'given 5 mg [<xref ref-type="bibr" rid="r1">1</xref>].</p></body></sub-article>'
)
TITLE = (
    "<title-group><article-title>Um ensaio</article-title><trans-title-group xml:lang='en'><trans-title>A trial"
    "</trans-title></trans-title-group></title-group>"
)
ABSTRACTS = "<abstract><p>Em suma.</p></abstract><trans-abstract xml:lang='en'><p>In brief.</p></trans-abstract>"
READ = (
    "A trial in English\n\n# Abstract\n\nIn short.\n\n"
    "The patient was given 5 mg [bib_ref] Salt and water, Marsh [/bib_ref]."
)
UNTITLED = ENGLISH.partition("<front-stub>")[0] + ENGLISH.partition("</front-stub>")[2]


def paper(language: str, sub: str, meta: str = TITLE + ABSTRACTS) -> str:
    xml = article("<p>O paciente recebeu 5 mg.</p>", meta=meta, attributes=f'xml:lang="{language}"' if language else "")
    return xml.replace("</article>", f"{sub}</article>")


PORTUGUESE = "Um ensaio\n\n# Abstract\n\nEm suma.\n\n# Abstract\n\nIn brief.\n\nO paciente recebeu 5 mg."


@pytest.mark.parametrize(
    ("xml", "text", "lang"),
    [
        (paper("pt", ENGLISH), READ, "en"),
        (paper("es-CL", ENGLISH.replace('"en"', '"EN-us"')), READ, "en"),
        (paper("", ENGLISH), READ, "en"),
        (paper("fr", ENGLISH.replace("en", "de", 1).replace('"en"', '"de"') + ENGLISH), READ, "en"),
        (paper("en", ENGLISH), "Um ensaio\n\n# Abstract\n\nEm suma.\n\nO paciente recebeu 5 mg.", "en"),
        (paper("pt", ENGLISH.replace('"translation"', '"reply"')), PORTUGUESE, "pt"),
        (paper("pt", ENGLISH.replace('"en"', '"es"')), PORTUGUESE, "pt"),
        (paper("pt", ENGLISH.partition("<body>")[0] + "<body/></sub-article>"), PORTUGUESE, "pt"),
        (paper("pt", ""), PORTUGUESE, "pt"),
        (paper("pt", UNTITLED), f"A trial\n\n# Abstract\n\nIn brief.\n\n{READ.rpartition(chr(10))[2]}", "en"),
    ],
)
def test_an_english_translation_is_read_instead(xml: str, text: str, lang: str) -> None:
    found = parse_paper(xml.encode(), "a.xml", SETTINGS)
    assert isinstance(found, dict), found
    assert (found["text"], found["lang"]) == (text, lang)


@pytest.mark.parametrize(
    ("back", "text"),
    [
        ("<app-group><app><title>A</title><p>1</p></app></app-group><app-group><app><title>B</title><p>2</p></app>"
         "</app-group>", "# A\n\n1\n\n# B\n\n2"),
        ("<app><title>A</title><p>5 mg</p></app>", "# A\n\n5 mg"),
        ("<sec><title>Doses</title><p>5 mg</p></sec>", "# Doses\n\n5 mg"),
        ("<sec><p>5 mg</p></sec>", "5 mg"),
        ("<notes><title>Dosing</title><p>5 mg</p></notes>", "# Dosing\n\n5 mg"),
        ("<glossary><title>Abbreviations</title><def-list><def-item><term>5-FU</term><def><p>fluorouracil</p></def>"
         "</def-item></def-list></glossary>", "# Abbreviations\n\n- 5-FU: fluorouracil"),
        ("<sec><title>Competing interests</title><p>None.</p></sec>", ""),
        ("<sec sec-type='supplementary-material'><title>More</title><p>S1</p></sec>", ""),
        ("<sec><title>Funding</title><p>Grant 5.</p></sec>", ""),
        ("<notes><p>Sent in May.</p></notes>", ""),
        ("<ack><p>Thanks.</p></ack><fn-group><fn><p>Equal.</p></fn></fn-group>", ""),
    ],
)  # fmt: skip
def test_what_follows_the_body_is_read_where_it_is_about_the_subject(back: str, text: str) -> None:
    assert body("<p>Body.</p>", back=back) == "\n\n".join(filter(None, ["Body.", text]))


WORD = re.compile(r"[^\W_]+|[<>≤≥±=%°µ]|\([+−-]\)")
SAID_TWICE = re.compile(r"(?:fig(?:ure)?|table)s?", re.IGNORECASE)
"""What goes before a reference to a figure, which names it again."""


# The ledger ----------------------------------------------------------------------------------------------------------


def rules_of(xml: str) -> dict[str, str]:
    """What is left out of a paper by rule, tidied."""
    ledger = Ledger()
    found = parse_paper(xml.encode(), "a.xml", SETTINGS, ledger)
    assert isinstance(found, dict), found
    assert found["text"] == text_of(xml)
    left_out: dict[str, str] = {}
    for rule, text in ledger.left_out:
        left_out[rule] = " | ".join(filter(None, [left_out.get(rule), " ".join(text.split())]))
    return left_out


@pytest.mark.parametrize(
    ("xml", "rule", "text"),
    [
        ("<p>a <xref ref-type='bibr' rid='gone'>12</xref> b</p>", "citation", "12"),
        (f"<p>a [{cite('r1')}–{cite('r3')}, {cite('r4')}] b</p>", "citation", "1–3, 4"),
        ("<p>5<xref ref-type='fn'>a</xref> mg</p>", "note_sign", "a"),
        ("<p>a</p><table-wrap><table><tr><td>5</td><td>6 mg</td></tr></table></table-wrap>", "table_body", "5 6 mg"),
        ("<p>a</p><table-wrap><table/><table-wrap-foot><p>not b</p></table-wrap-foot></table-wrap>", "notes", "not b"),
        ("<p>a <fn><p>not b</p></fn></p>", "notes", "not b"),
        ("<p>a <strike>500 mg</strike></p>", "struck_out", "500 mg"),
        ("<p>a</p><sec><label>2</label><title>No text</title></sec>", "empty_section", "No text"),
        ("<sec><label>2.1</label><title>T</title><p>a</p></sec>", "label", "2.1"),
        ("<p>a</p><supplementary-material><p>S1 5 mg</p></supplementary-material>", "supplement", "S1 5 mg"),
        ("<p>a <inline-graphic><alt-text>Drawn 5</alt-text></inline-graphic></p>", "picture", "Drawn 5"),
        ("<p>a <alternatives><tex-math>x</tex-math><mml:math><mml:mi>y</mml:mi></mml:math></alternatives></p>",
         "formula", "y"),
        ("<p>a <index-term><term>b</term></index-term></p>", "index_term", "b"),
        ("<list><list-item><label>•</label><p>a</p></list-item></list>", "label", "•"),
    ],
)  # fmt: skip
def test_the_ledger_names_what_is_left_out(xml: str, rule: str, text: str) -> None:
    assert rules_of(article(xml))[rule] == text


def test_the_ledger_has_front_and_back_matter_other_languages_and_what_was_written() -> None:
    left_out = rules_of(paper("pt", ENGLISH, TITLE + ABSTRACTS))
    assert "Um ensaio" in left_out["front_matter"]
    assert "O paciente recebeu 5 mg." in left_out["other_language"]
    assert "A reference without a marked title, 2001." in left_out["references"]
    ledger = Ledger()
    parse_paper(paper("pt", ENGLISH).encode(), "a.xml", SETTINGS, ledger)
    assert [entry for entry in ledger.written if entry.rule == "citation"] == [("citation", "Salt and water, Marsh")]


def test_clean_text_and_ledger_cover_every_text_of_the_real_papers(shared_data: Path) -> None:
    for path in sorted((shared_data / "papers").iterdir()):
        ledger = Ledger()
        found = parse_paper(path.read_bytes(), path.name, SETTINGS, ledger)
        assert isinstance(found, dict), path.name
        told = "".join(found["text"].split()) + "".join("".join(entry.text.split()) for entry in ledger.left_out)
        root = etree.parse(path, etree.XMLParser(load_dtd=False, resolve_entities=False, remove_comments=True))
        for node in root.iter():
            for text in (node.text, node.tail):
                for word in WORD.findall(text or "") if isinstance(node.tag, str) else ():
                    assert word in told or SAID_TWICE.fullmatch(word), (path.name, node.tag, word)
