"""Hostile and damaged papers: nothing is opened, nothing explodes, everything is a document or a rejection."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import Rejected
from ingest.sources.jats import JatsInput, parse_paper
from lake.decision import Reason
from lake.document import DOCUMENT

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",))


def article(body: str) -> str:
    namespaces = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'
    references = '<ref id="r1"><citation><article-title>Salt</article-title></citation></ref>'
    return f"<article {namespaces}><body>{body}</body><back><ref-list>{references}</ref-list></back></article>"


def text_of(xml: str) -> str:
    found = parse_paper(xml.encode(), "a.xml", SETTINGS)
    assert not isinstance(found, Rejected), found.drop
    return found["text"]


def rejected(data: bytes) -> tuple[Reason, str]:
    found = parse_paper(data, "a.xml", SETTINGS)
    assert isinstance(found, Rejected)
    return found.drop.reason, found.drop.evidence


LAUGHS = '<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12))
HOSTILE = {
    "an external entity": '<!DOCTYPE article [<!ENTITY x SYSTEM "file://{secret}">]>',
    "a parameter entity": '<!DOCTYPE article [<!ENTITY % x SYSTEM "file://{secret}"> %x;]>',
    "an internal entity": '<!DOCTYPE article [<!ENTITY x "text">]>',
    "a billion laughs": f"<!DOCTYPE article [{LAUGHS}<!ENTITY x '&m;'>]>",
    "a comment before": '<!-- <article --><!DOCTYPE article [<!ENTITY x SYSTEM "file://{secret}">]>',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("doctype", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_document_that_declares_entities_is_refused(tmp_path: Path, doctype: str, encoding: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    xml = doctype.replace("{secret}", str(secret)) + article("<p>&x;</p>")
    assert rejected(xml.encode(encoding)) == (Reason.HOSTILE_XML, "a.xml: declares entities of its own")


def test_a_bomb_in_an_attribute_behind_a_decoy_ends_quickly() -> None:
    xml = f"<!-- <article --><!DOCTYPE article [{LAUGHS}]>{article('<p>a</p>')}".replace("<p>", '<p id="&m;">')
    assert rejected(xml.encode())[0] in (Reason.HOSTILE_XML, Reason.MALFORMED_XML)


def test_an_external_dtd_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "own.dtd").write_text('<!ENTITY x "from the file">')
    doctype = f'<!DOCTYPE article SYSTEM "file://{tmp_path}/own.dtd">'
    assert text_of(f"{doctype}{article('<p>a &x; b</p>')}") == "a \ufffd b"


def test_an_internal_dtd_without_entities_is_harmless() -> None:
    assert text_of(f"<!DOCTYPE article [<!ELEMENT p ANY>]>{article('<p>Words.</p>')}") == "Words."


def test_xinclude_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{tmp_path}/secret" parse="text"/>'
    assert text_of(article(f"<p>a {include} b</p>")) == "a b"


@pytest.mark.parametrize(
    "repeated",
    [
        "a|(|b",
        "a|[1, 2]|b",
        "a| ,|b",
        "a|–|b",
        "a|[|b",
        "a|[bib_ref] |b",
        "a|<sup>2</sup>|b",
        "10|<sup>2</sup>b|c",
        "a|<bold><sup>2</sup></bold>|b",
        "a|(<xref ref-type='fn'>a</xref>,|b",
        "a|<xref ref-type='fn'>a</xref>|b",
        "a|<strike>2</strike>|b",
        "a|,(|b",
        "a|&lt;sup&gt;|b",
        "a|&lt;i&gt;2&lt;/i&gt;|b",
        "a|&amp;amp;|b",
        "a|<underline>&gt;</underline>|b",
        "a|<inline-graphic><alt-text>≥</alt-text></inline-graphic>|b",
        "<table>|<tr><td rowspan='9' colspan='9'>a</td><td>b</td></tr>|</table>",
        "<list>|<list-item><p>a</p></list-item>|</list>",
        "a|<list list-type='order' id='l' continued-from='l'><list-item><p>a</p></list-item></list>|b",
        "a|<xref ref-type='bibr' rid='r3'>1</xref>,|b",
        "a|<xref ref-type='bibr' rid='r1'>1</xref>–|b",
        "a|<list><list-item><p>a</p></list-item></list>|b",
        "a|<fig><caption><p>a</p></caption></fig>|b",
        "<inline-formula><tex-math>|\\begin{document}|</tex-math></inline-formula>",
        "<mml:math><mml:mi>|( |</mml:mi></mml:math>",
    ],
)
def test_a_huge_paper_takes_time_in_proportion(repeated: str, is_linear: Callable[..., bool]) -> None:
    before, piece, after = repeated.split("|")

    def work(count: int) -> None:
        parse_paper(article(f"<p>{before}{piece * count}{after}</p>").encode(), "a.xml", SETTINGS)

    assert is_linear(work)


# Mutations -----------------------------------------------------------------------------------------------------------

WHOLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML">
<front><article-meta><article-id pub-id-type="pmid">1</article-id>
<title-group><article-title>Salt</article-title></title-group>
<pub-date pub-type="epub"><day>1</day><month>2</month><year>2012</year></pub-date>
<permissions><license xlink:href="https://creativecommons.org/licenses/by/4.0/"><license-p>CC BY</license-p></license>
</permissions><abstract><p>Short.</p></abstract></article-meta></front>
<body><sec><title>Intro</title><p>Known [<xref ref-type="bibr" rid="r1">1</xref>,
<xref ref-type="bibr" rid="r2">2</xref>]–<xref ref-type="bibr" rid="r3">3</xref>.
See <xref ref-type="fig" rid="f1">Fig 3A</xref> and <xref ref-type="table" rid="t1">2</xref>.</p>
<fig id="f1"><label>Fig. 3.</label><caption><title>Flow</title>
<p>As <xref ref-type="bibr" rid="r1">1</xref>.</p></caption><graphic/></fig>
<table-wrap id="t1"><label>Table 2</label><caption><p>Ages.</p></caption>
<table><tr><td>1</td></tr></table></table-wrap>
<sec><title>Deep</title><p>So <inline-formula>
<mml:math><mml:msup><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:msup></mml:math></inline-formula></p><disp-formula><label>(1)</label><tex-math>$x$</tex-math></disp-formula>
<list list-type="order"><list-item><p>a</p></list-item></list></sec></sec></body>
<back><ref-list>
<ref id="r1"><element-citation><surname>Marsh</surname><article-title>Salt</article-title></element-citation></ref>
<ref id="r2"><mixed-citation>No title.</mixed-citation></ref>
<ref id="r3"><citation><source>A <italic>book</italic></source></citation></ref>
</ref-list></back></article>"""
PIECES = re.findall(r"<[^>]*>|[^<]+", WHOLE)
NAME = re.compile(r"</?([\w:-]+)")
TOKENS = re.compile(r"\[(/?)(bib_ref|fig_ref|fig|table|formula)\]")


def check(data: bytes) -> None:
    found = parse_paper(data, "a.xml", SETTINGS)
    if isinstance(found, Rejected):
        assert found.drop.evidence.startswith("a.xml: ")
        return
    assert found["text"].strip()
    assert pa.Table.from_pylist([found], DOCUMENT).num_rows == 1
    opened: list[str] = []
    for closing, name in TOKENS.findall(found["text"]):
        if closing:
            assert opened.pop() == name
        else:
            # Only captions hold others.
            assert opened in ([], ["fig"], ["table"])
            opened.append(name)
    assert opened == []
    assert "\ue000" not in found["text"]


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), times=st.integers(1, 8))
def test_rearranged_elements_give_a_document_or_a_rejection(seed: int, times: int) -> None:
    chance, pieces = random.Random(seed), list(PIECES)
    for _ in range(times):
        place, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
        match chance.randrange(4):
            case 0:
                del pieces[place]
            case 1:
                pieces.insert(place, pieces[other])
            case 2:
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case _:  # elements under another's name, so that the file stays well-formed
                old, new = (NAME.match(pieces[one]) for one in (place, other))
                if old and new:
                    pieces = [re.sub(rf"^(</?){old[1]}(?=[\s/>])", rf"\g<1>{new[1]}", piece) for piece in pieces]
    check("".join(pieces).encode())


@settings(max_examples=200)
@given(place=st.integers(0, len(WHOLE)), length=st.integers(0, 40), new=st.binary(max_size=12))
def test_overwritten_bytes_give_a_document_or_a_rejection(place: int, length: int, new: bytes) -> None:
    data = WHOLE.encode()
    check(data[:place] + new + data[place + length :])


@settings(max_examples=100)
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="[]")), min_size=1, max_size=4))
def test_any_characters_give_a_document_or_a_rejection(texts: list[str]) -> None:
    pieces = [piece if piece.startswith("<") else texts[place % len(texts)] for place, piece in enumerate(PIECES)]
    check("".join(pieces).encode())


def test_the_article_that_is_mutated_is_whole() -> None:
    text = text_of(WHOLE)
    assert {name for _, name in TOKENS.findall(text)} == {"bib_ref", "fig_ref", "fig", "table", "formula"}
