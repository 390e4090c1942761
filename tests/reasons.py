"""The reasons of a step: those that its modules give, whatever their order in the enum."""

import re
from pathlib import Path

from ingest.text.quality import QualitySettings, rules_of
from lake.decision import Reason

ROOT = Path(__file__).resolve().parents[1]


def _given_by(*patterns: str) -> set[Reason]:
    files = [file for pattern in patterns for file in ROOT.glob(pattern)]
    return {Reason[name] for file in files for name in re.findall(r"Reason\.([A-Z_]+)", file.read_text("utf-8"))}


READ = _given_by("ingest/sources/*.py", "ingest/pages/*.py", "ingest/web/*.py", "lake/lines.py", "lake/jsonl.py")
QUALITY = {rule.reason for rule in rules_of(QualitySettings).values()}
CLEAN = _given_by("ingest/clean.py", "ingest/metadata.py", "ingest/text/*.py") | QUALITY
BY_ITSELF = _given_by("ingest/clean.py", "ingest/text/*.py") - {Reason.REPEATED_ID} | QUALITY
"""Why `clean` drops a document without looking at another."""
