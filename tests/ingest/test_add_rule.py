"""How a cleaning rule is added: a field of QualitySettings, named like its reason (CONTRIBUTING.md)."""

from enum import StrEnum
from typing import Annotated

import pytest

from ingest.clean import CleanSettings, clean_document
from ingest.text import quality
from ingest.text.quality import QualitySettings, Rate, Rule
from lake.decision import Reason

PROSE = "The nurse gave the child water and told the father that the fever was not high.\n" * 4
Extended = StrEnum("Extended", {"EXCLAMATIONS": "exclamations"} | {reason.name: reason.value for reason in Reason})


def test_a_rule_is_a_field_whose_name_is_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "Reason", Extended)

    class WithExclamations(QualitySettings):
        exclamations: Annotated[Rate, Rule(lambda text: text.per_word("!"))] = 0.1

    relaxed = {"duplicate_lines": None, "duplicate_line_characters": None, "top_ngrams": None, "duplicate_ngrams": None}
    for bound, reason in (({}, "exclamations"), ({"exclamations": 1}, None), ({"exclamations": None}, None)):
        rules = WithExclamations.model_validate(relaxed | bound)
        settings = CleanSettings().model_copy(update={"quality": {"papers": rules}})
        assert clean_document(PROSE, None, "papers", settings).drop is None
        drop = clean_document(PROSE + "! " * 10, None, "papers", settings).drop
        assert (drop and drop.reason) == reason
    assert drop is None
