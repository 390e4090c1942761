"""Every key of a config has its bounds: what a later engine could not use is refused in one line when it is loaded."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from gap.config import Config
from lake.config import explain, parse_yaml
from lake.error import UserError

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("every_key.yaml")
BASES = {"base": {"path": "base"}, "tokenizer": {"eos_token": "</s>"}}
"""Laid over the file for the second walk: a tokenizer is trained, or it is the base's."""

TEXTS = {
    "empty": "",
    "blank": " ",
    "line end": "a\nb",
    "control": "a\x1b[0mb",
    "null": "a\0b",
    "huge": "x" * 10**6,
    "number": 5,
    "truth": True,
    "list": [],
}
NUMBERS = {
    "negative": -1,
    "zero": 0,
    "nan": math.nan,
    "infinite": math.inf,
    "huge": 1e300,
    "text": "many",
    "truth": True,
    "list": [],
}
PROBES: dict[Any, dict[str, Any]] = {
    str: TEXTS,
    Literal: TEXTS,
    int: NUMBERS | {"huge": 10**30, "fraction": 1.5},
    float: NUMBERS,
    bool: {"number": 2, "text": "perhaps", "empty": "", "list": []},
    tuple: {"number": 5, "text": "a\nb", "mapping": {}},
    dict: {"number": 5, "text": "a\nb", "list": []},
    BaseModel: {"number": 5, "text": "a\nb", "list": []},
}

LEGAL: dict[str, dict[str, str]] = {
    "zero": {
        **dict.fromkeys(
            (
                "Config.seed",
                "BenchmarkSettings.seeds[]",
                "CrawlSettings.seed",
                "RedpajamaInput.seed",
                "HubInput.seed",
            ),
            "a seed as any other",
        ),
        **dict.fromkeys(
            (
                "CrawlSettings.retries",
                "CrawlSettings.max_redirects",
                "Recipe.max_failures",
                "FinetuneSettings.max_failures",
                "BenchmarkSettings.shots",
            ),
            "never, or none",
        ),
        **dict.fromkeys(
            ("CrawlSettings.backoff_seconds", "CrawlSettings.fresh_hours", "S2Settings.backoff_seconds"), "no wait"
        ),
        **dict.fromkeys(
            (
                "ReadSettings.audit",
                "CleanSettings.audit",
                "RedpajamaInput.shares{}",
                "SourceMix.validation",
                "InstructionSettings.validation",
            ),
            "no document or record",
        ),
        "SourceMix.tokens": "leaves the source out of training",
        **dict.fromkeys(
            (
                "LengthSettings.words",
                "LengthSettings.lines",
                "LanguageSettings.min_probability",
                "QualitySettings.terminal_lines",
                "QualitySettings.word_length[]",
                "QualitySettings.alphabetic_words",
                "QualitySettings.stop_words",
                "QualitySettings.sentences",
            ),
            "the least is nothing",
        ),
        **dict.fromkeys(
            (
                "QualitySettings.words",
                "QualitySettings.curly_brackets",
                "QualitySettings.lorem_ipsum",
                "QualitySettings.hashes",
                "QualitySettings.ellipses",
                "QualitySettings.bullet_lines",
                "QualitySettings.ellipsis_lines",
                "QualitySettings.javascript_lines",
                "QualitySettings.policy_lines",
                "QualitySettings.duplicate_lines",
                "QualitySettings.duplicate_line_characters",
                "QualitySettings.duplicate_paragraphs",
                "QualitySettings.duplicate_paragraph_characters",
                "QualitySettings.top_ngrams{}",
                "QualitySettings.duplicate_ngrams{}",
            ),
            "none is allowed",
        ),
        **dict.fromkeys(
            (
                "Upsampling.types{}",
                "Upsampling.journal",
                "AgeScores.young",
                "AgeScores.scores[]",
                "CitationScores.top",
                "CitationScores.bottom",
                "CitationScores.scores[]",
            ),
            "no more copies, or of no paper",
        ),
        "InstructionSettings.other_weight": "only answers count",
        **dict.fromkeys(
            (f"{adam}.{key}" for adam in ("AdamW", "FinetuneAdamW") for key in ("min_lr", "weight_decay", "warmup")),
            "a decay to nothing, no decay, no warm-up",
        ),
        **dict.fromkeys(("AdamW.betas[]", "FinetuneAdamW.betas[]"), "no memory of earlier gradients"),
        "BenchmarkSettings.temperature": "samples are the likeliest text",
    },
    "line end": {
        "RecordInput.system": "a prompt may have several lines",
        "PublishSettings.citation": "BibTeX has several lines",
    },
    "path": dict.fromkeys(("Upsampling.types", "RedpajamaInput.shares"), "names in the data, of no folder"),
}
"""Values among the probes that a key takes, each with the reason."""


class Key(NamedTuple):
    """A place in the config: where, the field's name for LEGAL, and the type there."""

    path: tuple[Any, ...]
    label: str
    kind: Any
    field: str
    bounds: tuple[Any, ...]


def members(annotation: Any, bounds: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The members of a union but None, each with its bounds."""
    if get_origin(annotation) is Annotated:
        more = (bound for given in get_args(annotation)[1:] for bound in getattr(given, "metadata", [given]))
        yield from members(get_args(annotation)[0], (*bounds, *more))
    elif get_origin(annotation) in (Union, type(int | None)):
        for member in get_args(annotation):
            yield from members(member, bounds)
    elif annotation is not type(None):
        yield annotation, bounds


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models within a type."""
    for kind, _ in members(annotation):
        if is_model(kind):
            yield kind
        for argument in get_args(kind):
            yield from models(argument)


def every_model(model: type[BaseModel], known: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """The model, and all that its fields lead to."""
    if model not in known:
        known.add(model)
        for field in model.model_fields.values():
            for inner in models(field.annotation):
                every_model(inner, known)
    return known


def within(value: Any, annotation: Any, path: tuple[Any, ...], label: str, field: str) -> Iterator[Key]:
    """The keys at and below a value of this type."""
    for kind, bounds in members(annotation):
        origin = get_origin(kind)
        yield Key(path, label, BaseModel if is_model(kind) else origin or kind, field, bounds)
        if is_model(kind):
            if isinstance(value, kind):
                yield from below(value, path)
        elif origin is tuple and isinstance(value, tuple):
            for index, inner in enumerate(value):
                yield from within(inner, get_args(kind)[0], (*path, index), f"{label}[]", field)
        elif origin is dict and isinstance(value, dict):
            for key, inner in value.items():
                yield from within(inner, get_args(kind)[1], (*path, key), f"{label}{{}}", field)


def below(model: BaseModel, path: tuple[Any, ...] = ()) -> Iterator[Key]:
    for name, field in type(model).model_fields.items():
        label = f"{type(model).__name__}.{name}"
        # A bound of the field stands beside its type.
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        yield from within(getattr(model, name), annotation, (*path, name), label, name)


def tree(**sections: Any) -> dict[str, Any]:
    return copy.deepcopy(parse_yaml(FILE.read_text(encoding="utf-8")) | sections)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def walked(sections: dict[str, Any]) -> dict[str, tuple[dict[str, Any], Config, Key]]:
    """Each key once, by its label and type, with the settings in which it stands."""
    given = tree(**sections)
    whole = Config.model_validate(given)
    keys = reversed(list(below(whole)))
    return {f"{key.label} {getattr(key.kind, '__name__', key.kind)}": (given, whole, key) for key in keys}


KEYS = walked(BASES) | walked({})


def put(given: dict[str, Any], whole: Any, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The settings with another value at a place. Lists that only defaults have are written out up to there."""
    changed = copy.deepcopy(given)
    node = changed
    for position, part in enumerate(path[:-1], 1):
        whole = getattr(whole, part) if isinstance(whole, BaseModel) else whole[part]
        inner: Any = node[part] if isinstance(node, list) or part in node else None
        if not isinstance(inner, dict | list):
            inner = list(whole) if isinstance(path[position], int) and isinstance(whole, tuple) else {}
            node[part] = inner
        node = inner
    node[path[-1]] = value
    return changed


def at(whole: Any, path: tuple[Any, ...]) -> Any:
    """The value at a place."""
    for part in path:
        whole = getattr(whole, part) if isinstance(whole, BaseModel) else whole[part]
    return whole


def fault(given: dict[str, Any]) -> str | None:
    """What `load` says of the settings, if it refuses them."""
    try:
        Config.model_validate(given)
    except ValidationError as error:
        return str(UserError(explain(error, Config)))
    return None


def outside(bound: Any, kind: Any) -> list[float]:
    """The values next to a bound that are out of the range."""
    less, more = (-1, 1) if kind is int else (-1e-9, 1e-9)
    edges = {"ge": less, "gt": 0, "le": more, "lt": 0}
    limits = {name: getattr(bound, name) for name in edges if getattr(bound, name, None) is not None}
    # A float has no value beyond a large limit that so small a step would reach.
    return [
        limit + edges[name] for name, limit in limits.items() if name in ("gt", "lt") or limit + edges[name] != limit
    ]


def at_the_edge(bound: Any, kind: Any) -> list[float]:
    """The values next to a bound that are in the range."""
    limits = {name: getattr(bound, name, None) for name in ("ge", "le", "gt", "lt")}
    toward = {"gt": math.inf, "lt": -math.inf}
    step = 1 if kind is int else None
    return [
        limit if name in ("ge", "le") else math.nextafter(limit, toward[name]) if step is None else limit - step
        for name, limit in limits.items()
        if limit is not None
    ]


def test_the_config_of_the_walk_has_every_key() -> None:
    walked_labels = {label.split("[")[0].split("{")[0].split(" ")[0] for label in KEYS}
    every = {f"{model.__name__}.{name}" for model in every_model(Config, set()) for name in model.model_fields}
    assert every <= walked_labels


@pytest.mark.parametrize("which", KEYS)
def test_a_key_takes_no_value_out_of_its_range(which: str) -> None:
    given, whole, key = KEYS[which]
    edges = {f"edge {value:g}": value for bound in key.bounds for value in outside(bound, key.kind)}
    for name, value in (PROBES[key.kind] | edges).items():
        said = fault(put(given, whole, key.path, value))
        if key.label in LEGAL.get(name, {}):
            assert said is None, f"{which} does not take {name}, though LEGAL says so: {said}"
            continue
        assert said is not None, f"{'.'.join(map(str, key.path))} takes {value!r:.40} ({name})"
        assert str(key.path[0]) in said, said
        assert key.field in said, said
        assert len(said.splitlines()) == 1, said
        assert len(said) < 600, said


@pytest.mark.parametrize("which", [which for which, (_, _, key) in KEYS.items() if key.bounds])
def test_the_largest_and_least_values_are_taken_or_refused_in_one_line(which: str) -> None:
    given, whole, key = KEYS[which]
    for value in (value for bound in key.bounds for value in at_the_edge(bound, key.kind)):
        said = fault(put(given, whole, key.path, value))
        assert said is None or len(said.splitlines()) == 1, said


NAMES = {"empty": "", "line end": "a\nb", "huge": "x" * 10**6, "path": "../a"}


@pytest.mark.parametrize("which", [which for which, (_, _, key) in KEYS.items() if key.kind is dict])
def test_a_mapping_takes_no_name_out_of_its_range(which: str) -> None:
    given, whole, key = KEYS[which]
    held = next(iter(at(whole, key.path).values()))
    value = held.model_dump(mode="json") if isinstance(held, BaseModel) else held
    for name, text in NAMES.items():
        said = fault(put(given, whole, key.path, {text: value}))
        if key.label in LEGAL.get(name, {}):
            assert said is None, said
            continue
        assert said is not None, f"{'.'.join(map(str, key.path))} takes the name {text!r:.40} ({name})"
        assert str(key.path[0]) in said, said
        assert len(said.splitlines()) == 1, said
        assert len(said) < 600, said
