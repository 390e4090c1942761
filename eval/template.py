"""Jinja templates of pages (HTML) and cards (Markdown). Both have the same filters and escape all that they print."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from eval import numbers, text

FORMATS = "count", "compact", "percent", "decimal", "general", "size", "duration", "perplexity", "change"
FILTERS = {name: getattr(numbers, name) for name in FORMATS} | {
    "product": math.prod,
    "yaml": text.as_yaml,
    "code": text.code,
    "literal": text.literal,
}


def html(package: str, folder: str) -> jinja2.Environment:
    return _environment(package, folder, _printable)


def markdown(package: str, folder: str) -> jinja2.Environment:
    return _environment(package, folder, _escaped)


@cache
def _environment(package: str, folder: str, finalize: Callable[[Any], Any]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters.update(FILTERS)
    return environment


def _printable(value: Any) -> Any:
    return type(value)(text.printable(value)) if isinstance(value, str) else value


def _escaped(value: Any) -> Any:
    return text.markdown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
