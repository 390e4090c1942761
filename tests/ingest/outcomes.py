"""What a reader gives beside the originals, which are for the audit alone."""

from collections.abc import Iterable
from typing import Any

from ingest.records import Original


def outcomes(records: Iterable[Any]) -> list[Any]:
    return [record for record in records if not isinstance(record, Original)]
