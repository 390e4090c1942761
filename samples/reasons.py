"""What must leave the corpus, and why."""

from lake.document import document_id

Reasons = dict[str, str]
"""Reason by native id; a record that is no document is known by its `file:line` or `file:offset`."""


def loser(source: str, *natives: str) -> str:
    """Of documents with equal texts all but the one with the smallest id go."""
    return max(natives, key=lambda native: document_id(source, native))
