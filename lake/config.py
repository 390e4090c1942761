"""Typed settings from YAML with dotted overrides."""

import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lake.error import UserError


class Settings(BaseModel):
    """Base of every config: immutable, numbers are finite, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def written_out(cls, given: Any) -> Any:
        """The section in full where a config gives it in short, by a name say, so that overrides can set its keys."""
        return given

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any) -> Any:
        """Pydantic takes true for 1."""
        for key, value in given.items() if isinstance(given, dict) else ():
            field = cls.model_fields.get(key)
            if field is not None and (wrong := _truth(value, field.annotation)) is not None:
                raise ValueError(f"{key}: {str(wrong).lower()} is not a value of this key")
        return given


S = TypeVar("S", bound=Settings)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its surprises: `yes` and `2023-08-01` are text, `1:30` is no number, and `1e-4` is one."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp", ":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for tag, pattern, first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", "[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


def parse_yaml(text: str) -> Any:
    """The data of a YAML document.

    Raises:
        ValueError: the text is not YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def load(path: str | Path, overrides: Sequence[str], model: type[S]) -> S:
    """Read a YAML file into `model`, after applying overrides such as `dedup.threshold=0.7`.

    A file that `extends` another, named from its own folder, has the keys of both; its own count where both have one.

    A value on the command line is YAML, but where the key takes text, it is taken as it stands, and only
    `null` and an empty value mean nothing.

    Raises:
        UserError: a file is missing, not YAML or extends itself, an override has no `=`, or a key or type is wrong.
    """
    return _laid_out(_tree(Path(path)), overrides, model, str(path))


def default(overrides: Sequence[str], model: type[S]) -> S:
    """The defaults of `model`, after applying overrides.

    Raises:
        UserError: an override has no `=`, or a key or type is wrong.
    """
    return _laid_out({}, overrides, model, "the command line")


def _laid_out(tree: dict[str, Any], overrides: Sequence[str], model: type[S], where: str) -> S:
    for override in overrides:
        _apply(tree, override, model)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, model)}") from None


EXTENDS = "extends"


def _tree(file: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a file, laid over those of the file that it extends. `extending` are the files that led to it."""
    if not file.is_file():
        by = f", which {extending[-1]} extends" if extending else ""
        raise UserError(f"{file}: no such config file{by}; the ready ones are in configs/")
    if file.resolve() in (before.resolve() for before in extending):
        raise UserError(f"{extending[0]}: it extends itself; take {EXTENDS} out of {extending[-1]}")
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not YAML
        raise UserError(f"{file}: not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: a config is a mapping of keys to values, this is {type(tree).__name__}")
    if EXTENDS not in tree:
        return tree
    extended = tree.pop(EXTENDS)
    if not isinstance(extended, str):
        raise UserError(f"{file}: {EXTENDS} is the name of one file, not {extended!r:.80}")
    merged: dict[str, Any] = laid_over(_tree(file.parent / extended, (*extending, file)), tree)
    return merged


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
        value = text if text not in ("", "null") and _takes_text(model, key) else parse_yaml(text)
    except ValueError:
        raise UserError(f"{override}: the value is not YAML; quote it") from None
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{override}: {'.'.join(parents)} is a value, not a group of keys")


def _takes_text(model: type[BaseModel], key: str) -> bool:
    """Whether the value of a dotted key is text and nothing else."""
    kinds: list[Any] = [model]
    for part in key.split("."):
        models = (inner for kind in kinds for inner in _models(kind))
        fields = [inner.model_fields[part].annotation for inner in models if part in inner.model_fields]
        # An index or the key of a mapping leads to what the list or the mapping holds.
        kinds = fields or [held for kind in kinds for held in _held(kind)]
    return bool(kinds) and all(_alternatives(kind) == {str} for kind in kinds)


def _descend(node: Any, key: str, where: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, where)]
    if isinstance(node, dict):
        if node.get(key) is None:
            node[key] = {}
        return node[key]
    raise UserError(f"{where}: its parent is a value, not a group of keys")


def _index(node: list[Any], key: str, where: str) -> int:
    # Other digits, such as ², mean nothing to int().
    if not (key.isascii() and key.isdecimal()) or int(key) >= len(node):
        raise UserError(f"{where}: a list of {len(node)} takes an index from 0 to {len(node) - 1}")
    return int(key)


def laid_over(base: Any, keys: Any) -> Any:
    """A tree of settings with some keys laid over it, section by section."""
    if not isinstance(base, dict) or not isinstance(keys, dict):
        return keys
    return base | {key: laid_over(base.get(key), value) for key, value in keys.items()}


MOST_SHOWN, MOST_NAMED = 400, 100
"""Characters of a message, which may quote a long value, and of the name of a key."""


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault in one line, with the nearest known key where one was misspelt."""
    first = error.errors()[0]
    where = ".".join(_as_written(first["loc"], model))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        where = ".".join([*filter(None, [where]), str(first["loc"][-1])[:MOST_NAMED]])
        return f"{where}: unknown key; {_advice(where, model)}{more}"
    if first["type"] == "missing":
        return f"{where}: this key is required{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")[:MOST_SHOWN]
    shown = "" if first["type"] in {"value_error", "assertion_error"} else f", not {first['input']!r:.80}"
    return f"{where}: {message}{shown}{more}" if where else f"{message}{more}"


def _as_written(loc: Sequence[int | str], model: type[BaseModel]) -> Iterator[str]:
    """The parts of a known key as a config has them: pydantic puts the names of types between them."""
    kinds: set[Any] = {model}
    for part in loc:
        maps = [kind for kind in kinds if typing.get_origin(kind) is dict]
        lists = [kind for kind in kinds if typing.get_origin(kind) is tuple]
        fields = [kind.model_fields for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseModel)]
        if maps or (lists and isinstance(part, int)):
            inner = [held for kind in maps or lists for held in _held(kind)]
        elif not (inner := [known[str(part)].annotation for known in fields if part in known]):
            continue
        kinds = {kind for annotation in inner for kind in _alternatives(annotation)}
        yield str(part)[:MOST_NAMED]


def _advice(where: str, model: type[BaseModel]) -> str:
    """The key that was meant: one spelt alike, first of the same section, then of any other."""
    *section, key = where.split(".")
    known = [path.split(".") for path in dict.fromkeys(_keys(model))]
    beside = [name for *path, name in known if bool(path) == bool(section) and _within(path, section)]
    if near := difflib.get_close_matches(key, beside, n=1):
        return f"did you mean {near[0]}?"
    elsewhere = {path[-1]: ".".join(path) for path in reversed(known)}
    near = difflib.get_close_matches(key, elsewhere, n=1)
    return f"did you mean {elsewhere[near[0]]}?" if near else "remove it"


def _within(path: list[str], section: list[str]) -> bool:
    """Whether the section is the path, with names of sources and the like between its parts."""
    parts = iter(section)
    return all(part in parts for part in path)


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of the settings, dotted."""
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        for inner in _models(field.annotation):
            yield from _keys(inner, f"{above}{name}.")


def _alternatives(annotation: Any) -> set[Any]:
    """The types that values of a field have, None left out."""
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {kind for argument in typing.get_args(annotation) for kind in _alternatives(argument)}
    return {annotation} - {type(None)}


def _truth(value: Any, annotation: Any) -> bool | None:
    """A true or false in the value of a field of this type where only others may stand."""
    if isinstance(value, bool):
        return None if _alternatives(annotation) & {bool, Any} else value
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    numbers = [kind for kind in _held(annotation) if _alternatives(kind) <= {int, float}]
    found = (_truth(held, kind) for held in inner for kind in numbers)
    return next((wrong for wrong in found if wrong is not None), None)


def _held(annotation: Any) -> Iterator[Any]:
    """The types of the values that a list or a mapping of this type holds."""
    for kind in _alternatives(annotation):
        yield from [argument for argument in typing.get_args(kind) if argument is not ...][-1:]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
