"""The manifests of a made-up run, and what its page says."""

import json
from pathlib import Path
from typing import Any

import lxml.html

from lake.step import Manifest

FILE = Path(__file__).parents[1] / "manifests.json"
EVIL = "<script>alert('x')</script> & \"q\" \u202e\x00\ud800"


def manifests(written: str | None = None) -> list[Manifest]:
    return [Manifest.model_validate(one) for one in json.loads(written or FILE.read_text(encoding="utf-8"))]


def changed(step: str, figures: dict[str, Any] | None = None, **fields: Any) -> list[Manifest]:
    """The manifests with some figures or fields of one step replaced."""
    return [
        one.model_copy(update={"figures": one.figures | (figures or {}), **fields}) if one.step == step else one
        for one in manifests()
    ]


def parsed(page: str) -> Any:
    return lxml.html.document_fromstring(page)


def words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).replace("\u00a0", " ").split())


def section(page: Any, name: str) -> Any:
    (found,) = page.xpath(f"//section[@id='{name}']")
    return found


def cells(section: Any, caption: str) -> list[dict[str, str]]:
    """The rows of the one table whose caption begins so, by the heads of their columns."""
    (table,) = (one for one in section.xpath(".//table") if words(one.xpath("caption")[0]).startswith(caption))
    (head,) = table.xpath("thead/tr")
    names = [words(one) for one in head]
    return [dict(zip(names, map(words, row), strict=True)) for row in table.xpath("tbody/tr | tfoot/tr")]
