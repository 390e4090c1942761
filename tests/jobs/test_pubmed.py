"""The metadata join on Spark, from raw files of Semantic Scholar, MEDLINE and JATS to clean documents."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from benchmarks.steps import stand_in
from dedup.settings import DedupSettings
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings, units
from lake.dataset import Output
from lake.decision import Reason
from lake.document import document_id
from lake.step import Outcome, Step, account
from ray_jobs.read import UnitReader, unsampled
from spark_jobs.clean import CLEAN
from spark_jobs.dedup import DEDUP
from tests.ingest.marked import record
from tests.jobs.outputs import content, rows

pytestmark = pytest.mark.engine

TEXT = (
    "The patient should drink enough water and return to the clinic when the fever lasts longer than three days. "
    "Salt was given to forty people on two wards, and nurses wrote down every cup that was asked for at night. "
    "We found that those who ate late were thirsty more often, but the difference was small and may be chance."
)
BODY = f"<title>Salt</title><sectionheader>A</sectionheader><paragraph>{TEXT}</paragraph>"


def lines(*rows: dict[str, Any] | bytes) -> bytes:
    return gzip.compress(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))


def citation(pmid: int, text: str, *types: str, version: int = 1) -> str:
    abstract = f"<Abstract><AbstractText>{text}</AbstractText></Abstract>" if text else ""
    kinds = "".join(f"<PublicationType>{kind}</PublicationType>" for kind in types)
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><ArticleTitle>T{pmid}'
        f"</ArticleTitle>{abstract}<PublicationTypeList>{kinds}</PublicationTypeList></Article><MeshHeadingList>"
        f"<MeshHeading><DescriptorName>Thirst</DescriptorName></MeshHeading></MeshHeadingList></MedlineCitation>"
        "</PubmedArticle>"
    )


def citations(*parts: str) -> bytes:
    return gzip.compress(f"<PubmedArticleSet>{''.join(parts)}</PubmedArticleSet>".encode())


def about(corpusid: int, pmid: int | None, **more: Any) -> dict[str, Any]:
    return {
        "corpusid": corpusid,
        "externalids": {"PubMed": pmid},
        "title": f"Title {corpusid}",
        "citationcount": 9,
    } | more


JATS = (
    '<article><front><article-meta><article-id pub-id-type="pmid">700</article-id><title-group><article-title>J'
    f"</article-title></title-group></article-meta></front><body><p>{TEXT}</p></body></article>"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    files = {
        "papers-0.gz": lines(
            about(1, 100, openaccessinfo={"license": "CCBY"}), about(2, 200, publicationtypes=["Review"]), about(7, 700)
        ),
        "papers-1.gz": lines(about(3, None), about(4, 400), about(9, 900)),
        "s2orc-0.gz": lines(
            record(BODY, 1, externalids=None),
            record(BODY.replace("water", "salt"), 3, externalids=None),
            record(BODY, 5, externalids={"doi": "10.1/x"}),
            b"{",
        ),
        "abstracts-0.gz": lines(*({"corpusid": n, "abstract": f"{TEXT} {n}"} for n in (1, 2, 3, 8))),
        "medline24n0001.xml.gz": citations(
            citation(400, f"{TEXT} first"),
            citation(500, TEXT),
            citation(600, TEXT),
            citation(610, TEXT),
            citation(900, TEXT),
        ),
        "medline24n0002.xml.gz": citations(
            citation(400, f"{TEXT} second"),
            citation(600, "", "Retracted Publication"),
            "<DeleteCitation><PMID>500</PMID><PMID>610</PMID></DeleteCitation>",
            citation(610, f"{TEXT} again"),
        ),
        "refresh.xml.gz": citations(
            citation(100, "", "Retracted Publication"), citation(200, ""), citation(700, TEXT, "Letter")
        ),
        "paper.xml": JATS.encode(),
    }
    for name, packed in files.items():
        (root / name).write_bytes(packed)
    return root


INPUTS: list[dict[str, Any]] = [
    {"format": "s2orc", "dataset": "papers", "source": "papers", "paths": ["papers-*"]},
    {"format": "s2orc", "dataset": "s2orc", "source": "papers", "paths": ["s2orc-*"]},
    {"format": "s2orc", "dataset": "abstracts", "source": "abstracts", "paths": ["abstracts-*"]},
    {"format": "medline", "source": "abstracts", "paths": ["medline*"]},
    {"format": "medline", "source": "abstracts", "paths": ["refresh*"], "documents": False},
    {"format": "jats", "source": "papers", "paths": ["paper.xml"]},
]


def read(lake: Path, data: Path, inputs: list[dict[str, Any]] = INPUTS) -> Step[Any]:
    settings = ReadSettings.model_validate({"inputs": inputs})
    step = stand_in("read", lake)
    reader = UnitReader(step.output, "read", settings, str(data))
    verdicts = [row for unit in units(settings, str(data)) for row in reader.read(unit)]
    step.complete(lambda: Outcome(account(verdicts), {"unsampled": unsampled(step.output)}))
    return step


def cleaned(lake: Path, before: Step[Any], settings: CleanSettings) -> Step[CleanSettings]:
    step = Step("clean", CLEAN, settings, str(lake), {"documents": before}, "documents")
    step.run()
    return step


@pytest.fixture(scope="module")
def before(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Step[Any]:
    return read(tmp_path_factory.mktemp("read"), data)


@pytest.fixture(scope="module")
def step(before: Step[Any], spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Step[CleanSettings]:
    return cleaned(tmp_path_factory.mktemp("clean"), before, CleanSettings(part_mb=0.001))


def documents(step: Step[Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows(step, "documents")}


def test_read_accounts_for_every_record_and_keeps_metadata(before: Step[Any]) -> None:
    accounts = before.manifest().accounts
    assert accounts["papers"].dropped == {"no_pubmed_id": 1, "malformed_json": 1}
    assert accounts["papers"].kept == 3
    assert accounts["abstracts"].dropped == {"no_abstract": 1}
    assert accounts["abstracts"].kept == 4 + 5 + 2
    # Paper 3 has no PubMed id.
    assert before.manifest().figures["unsampled"] == {"papers": 1}
    metadata = Counter((row["origin"], row["deleted"]) for row in rows(before, "metadata"))
    assert metadata == {("s2", False): 5, ("medline", False): 3 + 1, ("medline", True): 2}


def test_documents_are_dropped_for_their_reasons_and_no_other(step: Step[Any]) -> None:
    dropped = Counter((row["source"], row["reason"]) for row in rows(step, "decisions") if not row["keep"])
    assert dropped == {
        ("papers", Reason.NO_PUBMED_ID): 1,
        ("abstracts", Reason.NO_PUBMED_ID): 2,
        # The first text of 400, 600 whose last version has none, and the first of 610, which came back.
        ("abstracts", Reason.SUPERSEDED): 3,
        ("abstracts", Reason.DELETED_CITATION): 1,
    }
    kept = {row["id"] for row in rows(step, "decisions") if row["keep"]}
    native = {"papers": ("1", "paper.xml", "700"), "abstracts": ("1", "2", "400", "610", "900")}
    expected = {document_id(source, name) for source, names in native.items() for name in names}
    assert kept == expected - {document_id("papers", "paper.xml")}
    evidence = {row["reason"]: row["evidence"] for row in rows(step, "decisions")}
    assert "medline24n0002.xml.gz" in evidence["deleted_citation"]


def test_the_last_version_of_a_citation_stays(step: Step[Any]) -> None:
    assert documents(step)[document_id("abstracts", "400")]["text"].endswith("second")
    assert documents(step)[document_id("abstracts", "610")]["text"].endswith("again")


def test_full_texts_and_abstracts_are_completed(step: Step[Any]) -> None:
    by_id = documents(step)
    full = by_id[document_id("papers", "1")]
    assert full["text"].startswith("Salt\n\n# A\n\nThe patient")
    assert (full["license"], full["redistributable"]) == ("CC-BY", True)
    assert (full["meta"]["pmid"], full["meta"]["citations"]) == ("100", 9)
    assert full["meta"]["publication_types"] == ["Retracted Publication"]
    abstract = by_id[document_id("abstracts", "2")]
    assert abstract["text"].startswith("Title 2\n\nThe patient")
    assert (abstract["meta"]["pmid"], abstract["meta"]["mesh"]) == ("200", ["Thirst"])
    assert abstract["meta"]["publication_types"] == ["Review"]


def test_a_paper_of_another_source_gets_metadata_by_its_pmid_and_keeps_its_text(step: Step[Any]) -> None:
    paper = documents(step)[document_id("papers", "700")]
    assert paper["text"] == f"J\n\n{TEXT}"
    assert paper["meta"]["publication_types"] == ["Letter"]
    assert (paper["meta"]["citations"], paper["meta"]["corpusid"]) == (9, 7)
    assert paper["license"] is None
    citation_ = documents(step)[document_id("abstracts", "900")]
    assert (citation_["meta"]["citations"], citation_["title"]) == (9, "T900")


@pytest.mark.parametrize("partitions", ["1", "5"])
def test_partitions_change_no_byte_and_a_killed_join_resumes(
    step: Step[Any], before: Step[Any], spark: SparkSession, tmp_path: Path, partitions: str
) -> None:
    root = tmp_path / step.output.local().name
    shutil.copytree(step.output.local(), root)
    shutil.rmtree(root / "documents")
    shutil.rmtree(root / "tally")
    (root / "manifest.json").unlink()
    (root / "known" / Output.part_name(0, "abstracts")).unlink()
    setting = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    try:
        again = cleaned(tmp_path, before, CleanSettings(part_mb=0.001))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", str(setting))
    assert len(step.output.parts("known")) > 4
    assert content(again) == content(step)


def test_an_abstract_is_dropped_only_for_a_full_text_that_is_kept(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    short = record("<title>Salt</title><paragraph>Too short to stay.</paragraph>", 2)
    (tmp_path / "data" / "s2orc-0.gz").write_bytes(lines(record(BODY, 1, externalids=None), short))
    (tmp_path / "data" / "papers-0.gz").write_bytes(lines(about(1, 100), about(2, 200)))
    other = (
        "Most of the children who were seen in spring had a cough, and only a few of them were given any medicine. "
        "Their parents kept a diary for six weeks and sent it back by post, so that no visit was needed after all. "
        "At the end of the study most of the coughs were gone, which may well be owed to the warmer days of that June."
    )
    abstracts = [{"corpusid": 1, "abstract": TEXT}, {"corpusid": 2, "abstract": other}]
    (tmp_path / "data" / "abstracts-0.gz").write_bytes(lines(*abstracts))
    before = read(tmp_path, tmp_path / "data", INPUTS[:3])
    step = cleaned(tmp_path, before, CleanSettings())
    assert step.manifest().accounts["papers"].dropped == {"too_short": 1}
    assert step.manifest().accounts["abstracts"].kept == 2
    settings = DedupSettings(prefer=("papers", "abstracts"))
    after = Step("dedup", DEDUP, settings, str(tmp_path), {"documents": step}, "documents")
    after.run()
    kept = {row["id"] for row in rows(after, "decisions") if row["keep"]}
    assert kept == {document_id("papers", "1"), document_id("abstracts", "2")}
    assert after.manifest().accounts["abstracts"].dropped == {"id_duplicate": 1}
