"""Language by the packaged model: right on plain text, calm on everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.text.language import Language, LanguageSettings, detect, verdict
from lake.decision import Reason

TEXTS = {
    "en": "The patient should drink enough water and return to the clinic when the fever lasts longer than three days.",
    "fr": "Le patient doit boire assez d'eau et revenir à la clinique si la fièvre dure plus de trois jours.",
    "de": "Der Patient soll genug trinken und in die Klinik kommen, wenn das Fieber länger als drei Tage dauert.",
    "es": "El paciente debe beber suficiente agua y volver a la clínica si la fiebre dura más de tres días.",
    "zh": "患者应多喝水，如果发烧持续三天以上，应返回诊所就诊。",
}


@pytest.mark.parametrize("code", TEXTS)
def test_plain_languages(code: str) -> None:
    found = detect(TEXTS[code], 2000)
    assert found.code == code
    assert 0.5 < found.probability <= 1
    drop = verdict(found, LanguageSettings())
    assert (drop is None) == (code == "en")
    if drop is not None:
        assert drop.reason is Reason.NON_ENGLISH
        assert drop.evidence.startswith(f"lang={code} probability=")
        assert drop.score == found.probability


def test_capitals_and_line_ends_make_no_difference() -> None:
    assert detect(TEXTS["en"].upper().replace(" ", "\n"), 2000).code == "en"


def test_only_the_first_characters_count() -> None:
    text = TEXTS["fr"] + TEXTS["en"] * 50
    assert detect(text, len(TEXTS["fr"])) == detect(TEXTS["fr"], 2000)
    assert detect(text, 2000).code == "en"


def test_the_probability_asked_for_is_that_of_the_config() -> None:
    unsure = Language("en", 0.6)
    assert verdict(unsure, LanguageSettings(min_probability=0.6)) is None
    drop = verdict(unsure, LanguageSettings(min_probability=0.61))
    assert drop is not None
    assert drop.score == 0.6


@given(st.text(st.characters(categories=None)))
def test_no_text_raises(text: str) -> None:
    found = detect(text, 2000)
    assert found.code.isalpha()
    assert 0 <= found.probability <= 1


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from ingest.text.language import _detector

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    _detector.cache_clear()
    assert detect(TEXTS["en"], 2000).code == "en"
