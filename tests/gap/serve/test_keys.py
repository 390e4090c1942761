"""Keys: where they come from, and which headers carry one."""

import base64
import os

import pytest

from gap.serve.keys import VARIABLE, Keys
from lake.error import UserError

FIRST, SECOND = "first-" + "a" * 20, "zwöite-" + "b" * 20


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_key_is_a_bearer_token_or_a_password() -> None:
    keys = Keys([FIRST, SECOND])
    assert keys.owner(f"Bearer {FIRST}") == "key-1"
    assert keys.owner(f"bearer  {SECOND} ") == "key-2"
    assert keys.owner(basic(SECOND)) == "key-2"
    assert keys.owner(basic(FIRST, "")) == "key-1"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        FIRST,
        f"Digest {FIRST}",
        "Basic !!!",
        "Basic /w==",
    ],
)
def test_nothing_else_is(header: str) -> None:
    assert Keys([FIRST]).owner(header) is None


def test_the_environment_gives_the_keys_and_loses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {FIRST}, {SECOND},")
    keys = Keys.taken_from_environment()
    assert VARIABLE not in os.environ
    assert [keys.owner(f"Bearer {key}") for key in (FIRST, SECOND)] == ["key-1", "key-2"]
    assert not any(FIRST in str(value) for value in vars(keys).values())


@pytest.mark.parametrize(("value", "line"), [("", "is not set"), (" , ", "is not set"), (f"{FIRST},short", "guessed")])
def test_without_a_good_key_nothing_is_served(value: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=line) as error:
        Keys.taken_from_environment()
    assert "export GAP_API_KEY=$(openssl rand -hex 24)" in str(error.value)
    assert "short" not in str(error.value)
