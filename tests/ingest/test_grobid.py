"""PDFs by a GROBID server, which the test plays: what is sent, what is made of TEI, what happens without an answer."""

import io
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from pydantic import ValidationError

from ingest.pages.grobid import grobid_or_pdf_text, grobid_text, tei_text
from ingest.pages.page import Page
from ingest.records import Fallback, Metadata, Rejected, Unsampled
from ingest.sources.warc import WarcInput, read_warc
from lake.decision import Drop, Reason
from tests.ingest.outcomes import outcomes

PATH = "/api/processFulltextDocument"

TEI = """<?xml version="1.0" encoding="UTF-8"?>
<TEI xml:space="preserve" xmlns="http://www.tei-c.org/ns/1.0">
<teiHeader xml:lang="en"><fileDesc><titleStmt><title level="a" type="main">Oxygen in
 acute asthma</title></titleStmt>
<sourceDesc><biblStruct><analytic><author><persName><surname>Hidden</surname></persName></author></analytic>
</biblStruct></sourceDesc></fileDesc>
<profileDesc><abstract><div><head>Aim</head><p><s>To ask.</s><s>To know.</s></p></div>
</abstract></profileDesc></teiHeader>
<text xml:lang="en"><body>
<div><head n="1.">Methods</head><p>We gave oxygen <ref type="bibr" target="#b0">[1]</ref> to adults &lt; 65<note
 place="foot">a hidden note</note>.</p></div>
<div><head n="1.1">Doses</head><p>Above <hi rend="italic">94</hi>%.</p>
<list><item>• Salbutamol</item><item>Steroids<list><item>by mouth</item></list></item><item> </item></list>
<formula xml:id="formula_0">x = 1<label>(1)</label></formula></div>
<figure xml:id="fig_0"><head>Figure 1 .</head><label>1</label><figDesc>Flow of patients.</figDesc><graphic/></figure>
<figure xml:id="fig_1"><head/><label>2</label><figDesc>Survival.</figDesc></figure>
<figure type="table" xml:id="tab_0"><head>Table 1</head><label>1</label><figDesc>Table 1. Doses</figDesc>
<table><row><cell>Drug</cell><cell>Dose</cell></row><row><cell>Salbutamol</cell><cell>5 mg</cell></row></table>
<note>a hidden footnote</note></figure>
<note place="foot" n="1">a hidden foot</note>
</body>
<back><div type="acknowledgement"><p>Hidden thanks.</p></div>
<div type="annex"><div><head>Appendix</head><p>More.</p></div></div>
<div type="references"><listBibl><biblStruct><title>A hidden work</title></biblStruct></listBibl></div></back>
</text></TEI>"""

TEXT = """# Oxygen in acute asthma

# Abstract

## Aim

To ask. To know.

# Methods

We gave oxygen [1] to adults < 65.

## Doses

Above 94%.

- Salbutamol
- Steroids
- by mouth

x = 1 (1)

Figure 1 . Flow of patients.

Figure 2: Survival.

Table 1. Doses

Drug | Dose
Salbutamol | 5 mg

# Appendix

More."""

BOMB = "<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in pairwise("abcdefghij")
)


@pytest.fixture(scope="module")
def pdf() -> bytes:
    out = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure = Figure(figsize=(8.27, 11.69))
        FigureCanvasPdf(figure)
        figure.text(0.1, 0.5, "Read by pdfium, as ever.", fontsize=10)
        figure.savefig(out, format="pdf")
    return out.getvalue()


def drop(result: Page | Drop) -> Drop:
    assert isinstance(result, Drop), result
    return result


def tei(inner: str, before: str = "") -> bytes:
    return f"{before}<TEI xmlns='http://www.tei-c.org/ns/1.0'><text><body>{inner}</body></text></TEI>".encode()


def test_a_paper_is_rendered_without_notes_thanks_and_references(web: Any, pdf: bytes) -> None:
    web.page(PATH, TEI, "application/xml")
    assert grobid_text(pdf, web.url) == Page("Oxygen in acute asthma", TEXT)


def test_the_pdf_arrives_whole_in_the_field_that_grobid_reads(web: Any) -> None:
    data = b"%PDF-1.7\r\n--\r\n" + bytes(range(256)) * 4096
    web.page(PATH, TEI, "application/xml")
    assert isinstance(grobid_text(data, web.url), Page)
    kind = web.asked[0][2]["Content-Type"]
    parts = web.sent[0].split(b"--" + kind.partition("boundary=")[2].encode())
    [part] = [part for part in parts if b'name="input"' in part]
    assert part.partition(b"\r\n\r\n")[2] == data + b"\r\n"
    assert next(part for part in parts if b'name="consolidateHeader"' in part).endswith(b"\r\n\r\n0\r\n")


def test_a_paper_without_title_or_abstract_has_neither_heading() -> None:
    assert tei_text(tei("Loose <hi>text</hi><p>and a paragraph</p>")) == Page(None, "Loose text\n\nand a paragraph")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tei("<p>&a;</p>", "<!DOCTYPE TEI [<!ENTITY a SYSTEM 'file:///etc/hostname'>]>"), Reason.HOSTILE_XML),
        (tei("<p>a</p>", "<!DOCTYPE TEI SYSTEM 'http://127.0.0.1:9/tei.dtd'>"), Reason.HOSTILE_XML),
        (tei("<p>a</p>", "<!--<TEI--><!DOCTYPE TEI [<!ENTITY a 'b'>]>"), Reason.HOSTILE_XML),
        (
            tei("<p>a</p>", "<!DOCTYPE TEI [<!ENTITY a 'b'>]>").decode().encode("utf-16"),
            Reason.HOSTILE_XML,
        ),
        (tei("<p n='&j;'/>", f"<!DOCTYPE TEI [{BOMB}]>"), Reason.HOSTILE_XML),
        (tei("<p>&nbsp;</p>"), Reason.MALFORMED_XML),
        (tei("<div>" * 5000 + "</div>" * 5000), Reason.MALFORMED_XML),
        (TEI.encode()[:-200], Reason.MALFORMED_XML),
        (b"", Reason.MALFORMED_XML),
        (b"<html><body><p>Welcome</p></body></html>", Reason.WRONG_TYPE),
        (tei("<note>only</note>"), Reason.NO_CONTENT),
    ],
)
def test_hostile_malformed_and_empty_xml_is_refused(data: bytes, reason: Reason) -> None:
    assert drop(tei_text(data)).reason == reason


def test_sections_as_deep_as_the_parser_allows_are_read() -> None:
    page = tei_text(tei("<div>" * 240 + "<p>deep</p>" + "</div>" * 240))
    assert page == Page(None, "deep")


def test_a_busy_server_is_asked_again(web: Any, pdf: bytes) -> None:
    web.status(PATH, 503, 200, body=TEI)
    assert isinstance(grobid_text(pdf, web.url), Page)
    assert len(web.asked) == 2


def test_a_server_that_stays_busy_gives_no_page_in_time(web: Any, pdf: bytes) -> None:
    web.status(PATH, 503)
    assert "within 0.5 seconds" in drop(grobid_text(pdf, web.url, seconds=0.5)).evidence


def drip(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b" ")
        time.sleep(0.05)


def silent(_: Any) -> None:
    time.sleep(3)


@pytest.mark.parametrize("answer", [drip, silent])
def test_time_is_bounded_though_bytes_come_now_and_then(web: Any, pdf: bytes, answer: Callable[[Any], None]) -> None:
    web.pages[PATH] = answer
    assert "within 0.4 seconds" in drop(grobid_text(pdf, web.url, seconds=0.4)).evidence


def test_an_answer_that_is_too_large_is_not_read(web: Any, pdf: bytes) -> None:
    web.page(PATH, TEI)
    size = len(TEI.encode())
    assert isinstance(grobid_text(pdf, web.url, max_answer=size), Page)
    assert f"over {size - 1:,} bytes" in drop(grobid_text(pdf, web.url, max_answer=size - 1)).evidence


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(500, "", "status 500"), (204, "", "status 204"), (302, "", "status 302"), (200, "<TEI>", "malformed")],
)
def test_pdfium_reads_what_grobid_does_not_and_it_is_told_why(
    web: Any, pdf: bytes, status: int, body: str, why: str
) -> None:
    web.status(PATH, status, body=body)
    result = grobid_or_pdf_text(pdf, web.url)
    assert isinstance(result, Page)
    assert result.text == "Read by pdfium, as ever."
    assert result.notes == ()
    assert result.fallback is not None
    assert why in result.fallback


def test_a_pdf_that_nobody_reads_is_dropped_with_both_reasons() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = drop(grobid_or_pdf_text(b"%PDF-1.4 no", url))
    assert result.reason == Reason.MALFORMED_PDF
    assert f"not read by GROBID: {url}: " in result.evidence


def warc(path: Path, body: bytes) -> Path:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" + body
    head = (
        "WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.org/a.pdf\r\n"
        "WARC-Date: 2026-11-24T12:00:00Z\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-000000000000>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    path.write_bytes(head.encode() + block + b"\r\n\r\n")
    return path


def given_input(**changes: Any) -> WarcInput:
    return WarcInput.model_validate({"format": "warc", "source": "guidelines", "paths": ["*"], "site": "who"} | changes)


@pytest.mark.parametrize(("status", "title"), [(200, "Oxygen in acute asthma"), (500, None)])
def test_a_warc_input_with_a_server_has_its_pdfs_read_there(
    web: Any, tmp_path: Path, pdf: bytes, status: int, title: str | None
) -> None:
    web.status(PATH, status, body=TEI)
    path = warc(tmp_path / "a.warc", pdf)
    *fallbacks, document = outcomes(read_warc(path, path.name, given_input(grobid=f"{web.url}/")))
    assert fallbacks == [Fallback("https://example.org/a.pdf", f"{web.url}: status 500")] * (status == 500)
    assert not isinstance(document, Rejected | Metadata | Unsampled | Fallback), document
    assert (document["title"], len(web.sent)) == (title, 1)
    [plain] = outcomes(read_warc(path, path.name, given_input()))
    assert not isinstance(plain, Rejected | Metadata | Unsampled | Fallback), plain
    assert (plain["text"], len(web.sent)) == ("Read by pdfium, as ever.", 1)


def test_the_server_is_part_of_the_config() -> None:
    assert given_input(grobid="https://host:8070/grobid/").model_dump()["grobid"] == "https://host:8070/grobid"
    assert given_input().grobid is None


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8070", "ftp://host", "http://", "http://h:99999", "http://h:x", "http://a:b@h", "http://h/?a=b"],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"URL|it is blank"):
        given_input(grobid=url)
