"""An id gives the same key in any notation."""

import numpy as np
import pyarrow as pa
import pytest

from dedup.exact import content_keys, id_keys
from lake.document import META


def keys(**meta: str | int | None) -> list[str]:
    row = dict.fromkeys(field.name for field in META) | meta
    return id_keys(pa.array([row], META)).to_pylist()[0]


@pytest.mark.parametrize(
    ("kind", "written", "key"),
    [
        ("pmid", "12345", "pmid:12345"),
        ("pmid", " PMID: 0012345 ", "pmid:12345"),
        ("pmid", "https://pubmed.ncbi.nlm.nih.gov/12345/", "pmid:12345"),
        ("pmid", "http://www.ncbi.nlm.nih.gov/pubmed/12345", "pmid:12345"),
        ("pmcid", "PMC12345", "pmcid:12345"),
        ("pmcid", "pmc12345.2", "pmcid:12345"),
        ("pmcid", "PMCID: PMC12345", "pmcid:12345"),
        ("pmcid", "12345", "pmcid:12345"),
        ("pmcid", "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC12345/", "pmcid:12345"),
        ("pmcid", "https://pmc.ncbi.nlm.nih.gov/articles/PMC12345", "pmcid:12345"),
        ("doi", "10.1371/Journal.Pone.0001", "doi:10.1371/journal.pone.0001"),
        ("doi", "https://doi.org/10.1371/journal.pone.0001", "doi:10.1371/journal.pone.0001"),
        ("doi", "http://dx.doi.org/10.1371/journal.pone.0001.", "doi:10.1371/journal.pone.0001"),
        ("doi", "doi: 10.1371/journal.pone.0001", "doi:10.1371/journal.pone.0001"),
        ("doi", "10.1002/(SICI)1097;2-#", "doi:10.1002/(sici)1097;2-#"),
        ("corpusid", 7, "corpusid:7"),
    ],
)
def test_any_notation_gives_the_same_key(kind: str, written: str | int, key: str) -> None:
    assert keys(**{kind: written}) == [key]


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("pmid", ""),
        ("pmid", "0"),
        ("pmid", "n/a"),
        ("pmid", "12 34"),
        ("pmcid", "PMC"),
        ("doi", "10.1/x"),
        ("doi", "none"),
    ],
)
def test_a_malformed_id_gives_no_key(kind: str, written: str) -> None:
    assert keys(**{kind: written}) == []


def test_keys_of_many_documents_stay_with_them() -> None:
    blank = dict.fromkeys(field.name for field in META)
    rows = [blank | {"pmid": "1", "doi": "10.1000/a", "corpusid": 7}, blank, blank | {"pmcid": "PMC2"}, None]
    assert id_keys(pa.array(rows, META)).to_pylist() == [["pmid:1", "doi:10.1000/a", "corpusid:7"], [], ["pmcid:2"], []]
    assert id_keys(pa.array([], META)).to_pylist() == []


def test_content_keys_are_the_hashes_in_hexadecimal() -> None:
    content = np.array([[1, 2], [2**64 - 1, 0]], dtype=np.uint64)
    assert content_keys(content).to_pylist() == ["0100000000000000" + "0200000000000000", "f" * 16 + "0" * 16]
    assert content_keys(content[:0]).to_pylist() == []
