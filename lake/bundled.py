"""YAML files that come with the package, one a benchmark or site: found by name, or by the path of one's own."""

import difflib
from pathlib import Path

from pydantic import ValidationError

from lake.config import S, explain, parse_yaml
from lake.error import UserError

SUFFIX = ".yaml"


def names(folder: Path) -> list[str]:
    """The names that `locate` knows."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))


def locate(name: str, folder: Path, what: str) -> Path:
    """The file of a name in `folder`; any other by a path that ends in `.yaml`. `what` is used in messages.

    Raises:
        UserError: there is none.
    """
    known = names(folder)
    if name in known:
        return folder / f"{name}{SUFFIX}"
    if not name.endswith(SUFFIX):
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}: no such {what}; the known ones are {', '.join(known)}{advice}")
    if not Path(name).is_file():
        raise UserError(f"{name}: no such {what} file; a {what}'s name or the path of a {SUFFIX} is needed")
    return Path(name)


def tag(name: str) -> str:
    """The name that tables and folders carry: that of the file where a path was given."""
    return Path(name).stem if name.endswith(SUFFIX) else name


def read(path: Path, model: type[S]) -> S:
    """Raises UserError where the file is not YAML or not what `model` takes."""
    try:
        return model.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, model)}") from None
    except ValueError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
