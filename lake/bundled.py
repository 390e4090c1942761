"""YAML files of the package, for a benchmark or site each. Names select them; a path selects a user's file."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from lake.config import S, explain, parse_yaml
from lake.error import UserError

SUFFIX = ".yaml"


def names(folder: Path) -> list[str]:
    """The names that `locate` knows, sorted."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))


def nearest(name: str, known: Iterable[str]) -> str:
    """Advice to append to a message about an unknown name; empty if no known name resembles it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def locate(name: str, folder: Path, what: str) -> Path:
    """The file with a name in `folder`, or a path that ends in `.yaml`. Messages call it a `what`.

    Raises:
        UserError: there is no such file.
    """
    known = names(folder)
    if name in known:
        return folder / f"{name}{SUFFIX}"
    if not name.endswith(SUFFIX):
        raise UserError(f"{name}: no such {what}; the known ones are {', '.join(known)}{nearest(name, known)}")
    if not Path(name).is_file():
        raise UserError(f"{name}: no such {what} file; give a {what}'s name or the path of a {SUFFIX} file")
    return Path(name)


def tag(name: str) -> str:
    """The name for tables and folders: a path becomes the stem of its file."""
    return Path(name).stem if name.endswith(SUFFIX) else name


def read(path: Path, model: type[S]) -> S:
    """Raises UserError if the file is not YAML or does not fit `model`."""
    try:
        return model.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, model)}") from None
    except ValueError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
