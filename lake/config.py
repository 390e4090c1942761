"""Typed settings from YAML with dotted overrides."""

import difflib
import inspect
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lake.error import UserError


class Settings(BaseModel):
    """Base of every config: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def written_out(cls, given: Any) -> Any:
        """What stands for a section that is given in short, a name say, so that overrides can set keys beside it."""
        return given


S = TypeVar("S", bound=Settings)


def load(path: str | Path, overrides: Sequence[str], model: type[S]) -> S:
    """Read a YAML file into `model`, after applying overrides such as `dedup.threshold=0.7` (values are YAML).

    Raises:
        UserError: the file is missing or not YAML, an override has no `=`, or a key or type is wrong.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{path}: no such config file; the ready ones are in configs/")
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or no such date or number
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a config is a mapping of keys to values, this is {type(tree).__name__}")
    for override in overrides:
        _apply(tree, override, model)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, model)}") from None


def _apply(tree: dict[str, Any], override: str, model: type[BaseModel]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override}: an override is written key.key=value")
    *parents, last = key.split(".")
    if parents and parents[0] in tree:
        for section in _models(getattr(model.model_fields.get(parents[0]), "annotation", None)):
            if issubclass(section, Settings):
                tree[parents[0]] = section.written_out(tree[parents[0]])
    node: Any = tree
    for position, parent in enumerate(parents, 1):
        node = _descend(node, parent, ".".join(parents[:position]))
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: no such date or number
        raise UserError(f"{override}: the value is not YAML; quote it") from None
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{override}: {'.'.join(parents)} is a value, not a group of keys")


def _descend(node: Any, key: str, where: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, where)]
    if isinstance(node, dict):
        if node.get(key) is None:
            node[key] = {}
        return node[key]
    raise UserError(f"{where}: its parent is a value, not a group of keys")


def _index(node: list[Any], key: str, where: str) -> int:
    # Other digits, such as ², are none to int().
    if not (key.isascii() and key.isdecimal()) or int(key) >= len(node):
        raise UserError(f"{where}: a list of {len(node)} takes an index from 0 to {len(node) - 1}")
    return int(key)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault in one line, with the nearest known key where one was misspelt."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        near = difflib.get_close_matches(key, set(_keys(model)) - {key}, n=1)
        advice = f"did you mean {near[0]}?" if near else "remove it"
        return f"{where}: unknown key; {advice}{more}"
    if first["type"] == "missing":
        return f"{where}: this key is required{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    shown = "" if first["type"] in {"value_error", "assertion_error"} else f", not {first['input']!r:.80}"
    return f"{where}: {message}{shown}{more}" if where else f"{message}{more}"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from _keys(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
