"""Types of settings: what a value may be, so that a config that loads has none that an engine refuses hours later.

Numbers are finite, for `Settings` refuses every other. Sizes end where engines count in 32 or 64 bits.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from lake.error import CONTROL

INT32, INT64, FLOAT32 = 2**31 - 1, 2**63 - 1, 3e38
LONGEST_TEXT = 4096
"""Characters of a name or path; Linux takes no longer path."""
LONGEST_PROSE = 100_000

Count = Annotated[int, Field(ge=1, le=INT32)]
"""How many, at least one."""
CountOrNone = Annotated[int, Field(ge=0, le=INT32)]
"""How many, or 0."""
Amount = Annotated[int, Field(ge=1, le=INT64)]
"""Bytes, tokens or documents, of which there may be more than 32 bits count."""
AmountOrNone = Annotated[int, Field(ge=0, le=INT64)]

Workers = Annotated[int, Field(ge=1, le=100_000)]
"""Processes, connections or pieces of work side by side."""
Retries = Annotated[int, Field(ge=0, le=100)]
"""Waits double with each."""

Positive = Annotated[float, Field(gt=0, le=FLOAT32)]
NotNegative = Annotated[float, Field(ge=0, le=FLOAT32)]
Share = Annotated[float, Field(ge=0, le=1)]
SomeShare = Annotated[float, Field(gt=0, le=1)]
"""A share that is not nothing."""
ShareBelowAll = Annotated[float, Field(ge=0, lt=1)]
Seconds = Annotated[float, Field(gt=0, le=1e8)]
"""A time limit. 1e8 seconds are three years; some engines take no longer one."""
Wait = Annotated[float, Field(ge=0, le=1e8)]
"""Seconds or hours, or 0."""
Megabytes = Annotated[float, Field(ge=1e-3, le=1e9)]
"""Of a file or part. With less, there would be millions of them."""
Score = Annotated[float, Field(ge=0, le=1000)]
"""So many more copies of a document, or a share of one."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""numpy takes 32 bits."""


def one_line(text: str) -> str:
    """Refuses control characters, line ends too, and a blank text.

    Raises:
        ValueError: it has one, or is blank.
    """
    if character := CONTROL.search(text):
        raise ValueError(f"it has the control character {character[0]!r}; take it out")
    if not text.strip():
        raise ValueError("it is blank; give a text, or leave the key out")
    return text


def _readable(text: str) -> str:
    one_line(text.replace("\n", " ").replace("\t", " "))
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(one_line)]
"""A name, key, path or address: one line, not blank."""
Prose = Annotated[str, Field(max_length=LONGEST_PROSE), AfterValidator(_readable)]
"""Text for a model, of one or several lines."""
Name = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
"""What a user calls something that becomes part of a folder's name."""
SourceName = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z][a-z0-9_]*$")]
"""A source of documents, which is part of a folder's name."""
