"""A path means the same to Python, pyarrow and Spark: `~` at its beginning is the home folder, all else is itself."""

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator

from lake.values import Text

FILE = "file://"


def at_home(path: str) -> str:
    """The path with the home folder in the place of `~`, as a shell would have it, and otherwise as it is.

    Raises:
        ValueError: there is no such home.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError(f"{path}: there is no such home folder; write ./{path} if ~ is part of a name") from None


def absolute(place: str) -> str:
    """The absolute path of a folder on a disk, of a `file://` URI too; another URI as it is.

    Raises:
        ValueError: it begins with the home of nobody.
    """
    if place.startswith(FILE):
        # In a URI, %20 is a blank.
        place = unquote(place.removeprefix(FILE))
    return place if "://" in place else str(Path(at_home(place)).resolve())


HomePath = Annotated[Text, AfterValidator(at_home)]
Folder = Annotated[Text, AfterValidator(absolute)]
