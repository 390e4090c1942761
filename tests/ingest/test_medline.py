"""MEDLINE citations: what each field becomes, revisions and deletions in order, hostile and broken files."""

import gzip
import io
import random
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from lxml import etree

from ingest.fidelity.ledger import Ledger
from ingest.metadata import METADATA
from ingest.records import Metadata, Rejected
from ingest.sources.medline import MedlineInput, _elements, parse_citation
from ingest.sources.xml_guard import GuardedStream
from lake.decision import Reason, RecordError
from lake.document import DOCUMENT, Document, document_id
from tests.ingest.outcomes import outcomes

DTD = "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_240101.dtd"
HEAD = f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD//EN" "{DTD}">\n'
ABSTRACT = "<Abstract><AbstractText>Thirst is common.</AbstractText></Abstract>"


def settings(**more: Any) -> MedlineInput:
    return MedlineInput.model_validate({"format": "medline", "source": "abstracts", "paths": ["*"]} | more)


def citation(pmid: int = 1, article: str = ABSTRACT, *, version: int = 1, more: str = "", data: str = "") -> str:
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article>'
        f"<ArticleTitle>Salt.</ArticleTitle>{article}</Article>{more}</MedlineCitation>"
        f"<PubmedData>{data}</PubmedData></PubmedArticle>\n"
    )


def file(*records: str, head: str = HEAD) -> bytes:
    return f"{head}<PubmedArticleSet>\n{''.join(records)}</PubmedArticleSet>".encode()


def read(tmp_path: Path, data: bytes, name: str = "pubmed24n0001.xml.gz", **more: Any) -> list[Any]:
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return outcomes(settings(**more).read(path, f"baseline/{name}"))


def document(tmp_path: Path, *records: str) -> Document:
    (found,) = read(tmp_path, file(*records))
    assert isinstance(found, dict), found
    assert pa.Table.from_pylist([found], DOCUMENT).num_rows == 1
    return found


def reasons(found: list[Any]) -> list[Any]:
    return [one.drop.reason if isinstance(one, Rejected) else type(one) for one in found]


def test_a_real_citation(shared_data: Path) -> None:
    path = shared_data / "abstracts" / "pubmed-29768149.xml"
    (found,) = outcomes(settings().read(path, path.name))
    assert isinstance(found, dict)
    assert found["id"] == document_id("abstracts", "29768149")
    assert found["title"] == "Inhaled Combined Budesonide-Formoterol as Needed in Mild Asthma."
    assert found["url"] == "https://pubmed.ncbi.nlm.nih.gov/29768149/"
    assert found["lang"] == "en"
    title, *parts = found["text"].split("\n\n")
    assert title == found["title"]
    assert [part.partition(":")[0] for part in parts] == ["BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS"]
    assert "inhaled glucocorticoid plus a fast-acting β" in parts[0]
    meta = found["meta"]
    assert (meta["doi"], meta["pmcid"]) == ("10.1056/NEJMoa1715274", None)
    assert meta["journal"] == "The New England journal of medicine"
    assert meta["published"] == "2018-05-17"
    assert "Randomized Controlled Trial" in meta["publication_types"]
    assert "Maintenance Chemotherapy" in meta["mesh"]
    assert "administration & dosage" not in meta["mesh"]
    assert len(meta["mesh"]) == len(set(meta["mesh"]))


def test_ids_dates_and_markup(tmp_path: Path) -> None:
    ids = (
        '<ArticleIdList><ArticleId IdType="pmc">PMC9</ArticleId><ArticleId IdType="doi">10.1/a</ArticleId>'
        "</ArticleIdList>"
        '<ReferenceList><Reference><ArticleIdList><ArticleId IdType="pmc">PMC1</ArticleId></ArticleIdList></Reference>'
        "</ReferenceList>"
    )
    article = (
        "<Journal><JournalIssue><PubDate><Year>2012</Year><Month>Aug</Month></PubDate></JournalIssue></Journal>"
        '<ELocationID EIdType="doi">10.1/other</ELocationID>'
        "<Abstract><AbstractText>About 10<sup>6</sup> &lt;cells&gt; of <i>E. coli</i>.</AbstractText>"
        "<CopyrightInformation>© Press</CopyrightInformation></Abstract>"
        "<ArticleDate><Year>2012</Year><Month>07</Month><Day>19</Day></ArticleDate>"
        "<Language>ger</Language><Language>eng</Language>"
    )
    found = document(tmp_path, citation(5, article, data=ids))
    meta = {key: value for key, value in found["meta"].items() if value is not None}
    assert meta == {
        "pmid": "5",
        "pmcid": "PMC9",
        "doi": "10.1/a",
        "published": "2012-07-19",
        "revision": "0001 pubmed24n0001.xml.gz 0000001",
    }
    assert found["text"] == "Salt.\n\nAbout 10^6 <cells> of E. coli."
    assert found["lang"] == "en"


@pytest.mark.parametrize(
    ("date", "published"),
    [
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", "1998"),
        ("<MedlineDate>Winter</MedlineDate>", None),
        ("<Year>1998</Year><Season>Fall</Season>", "1998"),
        ("", None),
    ],
)
def test_odd_dates(tmp_path: Path, date: str, published: str | None) -> None:
    journal = f"<Journal><JournalIssue><PubDate>{date}</PubDate></JournalIssue></Journal>"
    assert document(tmp_path, citation(5, journal + ABSTRACT))["meta"]["published"] == published


def test_a_translated_title_loses_its_brackets(tmp_path: Path) -> None:
    record = citation().replace("Salt.", "[Salt in [old] wards].")
    assert document(tmp_path, record)["title"] == "Salt in [old] wards"


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("[Salt in wards].", "Salt in wards"),
        ("[18F]FDG uptake and binding of [11C]raclopride].", "[18F]FDG uptake and binding of [11C]raclopride]."),
        ("[[18F]FDG uptake and binding of [11C]raclopride].", "[18F]FDG uptake and binding of [11C]raclopride"),
        ("[18F]FDG in wards.", "[18F]FDG in wards."),
        ("Binding of [11C]raclopride.", "Binding of [11C]raclopride."),
        ("[18F]FDG and [11C]raclopride].", "[18F]FDG and [11C]raclopride]."),
        ("[18F]FDG or [11C]", "[18F]FDG or [11C]"),
        ("[Salt in wards]. [In French].", "Salt in wards"),
        ("[Salt in wards]. [Article in French]", "Salt in wards"),
        ("[Salt]. Reply.", "[Salt]. Reply."),
        ("[Salt in [old wards].", "[Salt in [old wards]."),
        ("[Not Available].", None),
        ("[Not available]", None),
        ("Not Available.", None),
        ("[In Process Citation]", None),
        ("[No title available].", None),
        ("Not available drugs in wards.", "Not available drugs in wards."),
    ],
)
def test_only_the_brackets_of_a_translation_go(tmp_path: Path, title: str, shown: str | None) -> None:
    found = document(tmp_path, citation().replace("Salt.", title))
    assert found["title"] == shown
    assert found["text"] == "\n\n".join(filter(None, [shown, "Thirst is common."]))


def other(attributes: str, text: str = "Give 5 mg.") -> str:
    return f"<OtherAbstract {attributes}><AbstractText>{text}</AbstractText></OtherAbstract>"


@pytest.mark.parametrize(
    ("article", "more", "text"),
    [
        ("", other('Type="Publisher" Language="eng"'), "Give 5 mg."),
        ("", other('Type="Publisher"'), "Give 5 mg."),
        ("<Abstract><AbstractText/></Abstract>", other('Language="eng"'), "Give 5 mg."),
        ("", other('Language="spa"', "Dar 5 mg.") + other('Language="eng"'), "Give 5 mg."),
        ("", other('Type="plain-language-summary"', "Plain.") + other('Type="Publisher"'), "Give 5 mg."),
        ("", other('Type="plain-language-summary"', "Plain."), "Plain."),
        (ABSTRACT, other('Language="eng"'), "Thirst is common."),
        ("", other('Language="eng"').replace("<AbstractText>", '<AbstractText Label="DOSE">'), "DOSE: Give 5 mg."),
    ],
)
def test_an_english_abstract_of_another_source_stands_in(tmp_path: Path, article: str, more: str, text: str) -> None:
    assert document(tmp_path, citation(1, article, more=more))["text"] == f"Salt.\n\n{text}"


def test_an_abstract_in_another_language_stands_in_for_none(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, file(citation(1, "", more=other('Language="spa"'))))) == [Reason.NO_ABSTRACT]


def test_the_ledger_has_all_but_title_and_abstract() -> None:
    record = etree.fromstring(
        citation(
            1,
            '<Journal><Title>J Salt</Title></Journal><Abstract><AbstractText Label="AIM">Not 5 mg.</AbstractText>'
            "<CopyrightInformation>© 2012</CopyrightInformation></Abstract>",
            more=other('Language="spa"', "Dar 6 mg."),
            data="<ReferenceList><Reference><Citation>Old. 1999;7.</Citation></Reference></ReferenceList>",
        )
    )
    ledger = Ledger()
    found = parse_citation(record, "", "a.xml:1", settings(), ledger)
    assert isinstance(found, dict)
    left_out = {rule: [" ".join(entry.text.split()) for entry in ledger.left_out if entry.rule == rule]
                for rule in {entry.rule for entry in ledger.left_out}}  # fmt: skip
    assert left_out == {
        "front_matter": ["1", "J Salt", "© 2012"],
        "other_language": ["Dar 6 mg."],
        "references": ["Old. 1999;7."],
    }
    assert ledger.written == [("label", "AIM")]


def test_a_citation_without_abstract_goes_and_tells_what_it_knows(tmp_path: Path) -> None:
    types = "<PublicationTypeList><PublicationType>Retracted Publication</PublicationType></PublicationTypeList>"
    (found,) = read(tmp_path, file(citation(5, types)))
    assert isinstance(found, Rejected)
    assert (found.drop.reason, found.native) == (Reason.NO_ABSTRACT, "5")
    assert found.about is not None
    assert found.about.row["publication_types"] == ["Retracted Publication"]


def test_revisions_sort_as_versions_then_files_then_places(tmp_path: Path) -> None:
    found = [
        *read(tmp_path, file(citation(1), citation(1), citation(1, version=2)), "pubmed24n0002.xml"),
        *read(tmp_path, file("<DeleteCitation><PMID>1</PMID><PMID>2</PMID></DeleteCitation>"), "pubmed24n0003.xml"),
    ]
    last, first, second, third = (found[2], found[0], found[1], found[3])
    revisions = [one["meta"]["revision"] if isinstance(one, dict) else one.row["revision"] for one in (first, second)]
    revisions += [third.row["revision"], last["meta"]["revision"]]
    assert revisions == sorted(set(revisions))
    assert [(one.row["pmid"], one.row["deleted"]) for one in found[3:]] == [("1", True), ("2", True)]


def test_files_that_only_tell_give_no_documents(tmp_path: Path) -> None:
    found = read(tmp_path, file(citation(1), citation(2, "")), documents=False)
    assert [type(one) for one in found] == [Metadata, Metadata]
    assert pa.Table.from_pylist([one.row for one in found], METADATA)["pmid"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("<PubmedArticle/>", Reason.MISSING_FIELD),
        (citation().replace(">1<", ">one<"), Reason.MISSING_FIELD),
        ("<PubmedBookArticle><BookDocument><PMID>1</PMID></BookDocument></PubmedBookArticle>", Reason.MISSING_FIELD),
        ("<DeleteCitation><PMID/></DeleteCitation>", Reason.MISSING_FIELD),
    ],
)
def test_a_record_without_a_pmid_is_told_and_the_next_one_read(tmp_path: Path, record: str, reason: Reason) -> None:
    assert reasons(read(tmp_path, file(record, citation(2)))) == [reason, dict]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (file(citation(1)), [dict]),
        (file(citation(1))[:-60], [Reason.MALFORMED_XML]),
        (file(citation(1), "<a></b>", citation(2)), [dict, Reason.MALFORMED_XML]),
        (file(citation(1), citation(2, "<a>" * 300)), [dict, Reason.MALFORMED_XML]),
        (b"", [Reason.MALFORMED_XML]),
        (b"plain words", [Reason.MALFORMED_XML]),
        (b"<html/>", [Reason.WRONG_TYPE]),
        (file(citation(1)).replace(b"utf-8", b"no-such"), [Reason.UNDECODABLE]),
        (file(citation(1), citation(2, "x" * 200_000), citation(3)), [dict, Reason.TOO_LARGE]),
    ],
)
def test_what_cannot_be_read_is_one_rejected_record(tmp_path: Path, data: bytes, expected: list[Any]) -> None:
    assert reasons(read(tmp_path, data, "a.xml", max_bytes=100_000)) == expected


def test_a_gzip_that_ends_early_is_told(tmp_path: Path) -> None:
    chance = random.Random(0)
    many = file(*(citation(n, ABSTRACT.replace("common", chance.randbytes(400).hex())) for n in range(200)))
    path = tmp_path / "a.xml.gz"
    path.write_bytes(gzip.compress(many)[:-20_000])
    *before, last = reasons(outcomes(settings().read(path, "a.xml.gz")))
    assert last is Reason.TRUNCATED_FILE
    assert 50 < len(before) < 200
    path.write_bytes(b"")
    assert reasons(outcomes(settings().read(path, "a.xml.gz"))) == [Reason.TRUNCATED_FILE]


LAUGHS = '<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "inside",
    [
        '<!ENTITY x SYSTEM "file://{secret}">',
        '<!ENTITY % x SYSTEM "file://{secret}"> %x;',
        f'{LAUGHS}<!ENTITY x "&m;">',
    ],
)
def test_a_file_that_declares_entities_is_refused(tmp_path: Path, inside: str, encoding: str) -> None:
    (tmp_path / "secret").write_text("the secret")
    head = f"<!DOCTYPE PubmedArticleSet [{inside.replace('{secret}', str(tmp_path / 'secret'))}]>"
    data = f"{head}<PubmedArticleSet>{citation(1).replace('common', '&x;')}</PubmedArticleSet>".encode(encoding)
    assert reasons(read(tmp_path, data, "a.xml")) == [Reason.HOSTILE_XML]


def test_a_declaration_in_an_encoding_that_hides_it_is_refused(tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="UTF-7"?><!DOCTYPE a [+ADwAIQ-ENTITY x "text">]>'
    found = reasons(read(tmp_path, f"{head}<a>{citation(1)}</a>".encode(), "a.xml"))
    assert found in ([Reason.HOSTILE_XML], [Reason.UNDECODABLE], [Reason.MALFORMED_XML])


def test_a_declaration_over_the_edge_of_two_reads_is_seen() -> None:
    data = b"<!DOCTYPE a [   <!ENTITY x 'y'>]>"
    for size in range(1, len(data)):
        stream = GuardedStream(io.BytesIO(data), 1000)
        with pytest.raises(RecordError):
            list(iter(partial(stream.read, size), b""))


def test_an_external_dtd_is_not_read_and_its_entities_are_characters(tmp_path: Path) -> None:
    (tmp_path / "own.dtd").write_text('<!ENTITY x "from the file">')
    head = f'<!DOCTYPE PubmedArticleSet SYSTEM "file://{tmp_path}/own.dtd">'
    found = read(tmp_path, file(citation(1).replace("common", "&x; &nbsp;&alpha;"), head=head), "a.xml")
    assert reasons(found) == [dict]
    assert found[0]["text"] == "Salt.\n\nThirst is \ufffd α."


def test_the_tree_holds_what_was_read_at_once_and_no_more() -> None:
    stream = GuardedStream(io.BytesIO(file(*(citation(n) for n in range(5000)))), 10**6)
    held = [len(record.getparent()) for record in _elements(stream)]
    assert len(held) == 5000
    assert max(held) < 300
