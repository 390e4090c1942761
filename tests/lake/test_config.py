"""Settings from YAML: overrides, and faults told in one line."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.config import Settings, load
from lake.error import UserError


class Inner(Settings):
    threshold: float = 0.8
    names: tuple[str, ...] = ("a", "b")


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("name: demo\ninner: {threshold: 0.5}\nitems: [{threshold: 0.1}]\n", encoding="utf-8")
    return path


def test_reads_file_and_overrides(file: Path) -> None:
    outer = load(file, ["inner.threshold=0.7", "inner.names=[x]", "items.0.threshold=0.2"], Outer)
    assert outer == Outer(name="demo", inner=Inner(threshold=0.7, names=("x",)), items=(Inner(threshold=0.2),))


def test_an_override_makes_the_group_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: demo\ninner:\n", encoding="utf-8")
    assert load(path, ["inner.threshold=0.7"], Outer).inner.threshold == 0.7


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["inner.treshold=0.7"], "inner.treshold: unknown key; did you mean threshold?"),
        (["inner.threshold=high"], "inner.threshold: Input should be a valid number"),
        (["inner.threshold"], "an override is written key.key=value"),
        (["name.first=x"], "name is a value, not a group of keys"),
        (["name.first.second=x"], "its parent is a value"),
        (["items.5.threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["name=[unclosed"], "the value is not YAML"),
        (["zzz=1"], "zzz: unknown key; remove it"),
        (["items.².threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["items.٠.threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["name=2020-13-45"], "the value is not YAML"),
    ],
)
def test_faults_are_told_in_one_line(file: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(file, overrides, Outer)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.lists(st.sampled_from(["items", "inner", "name", "names", "0", "²"]) | st.text(max_size=3), max_size=4),
    st.sampled_from(["2020-13-45", "0x_", "[", "{}", "null"]) | st.text(max_size=8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_override_is_taken_or_told(file: Path, keys: list[str], value: str) -> None:
    with contextlib.suppress(UserError):
        load(file, [f"{'.'.join(keys)}={value}"], Outer)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n", "is list"),
        ("a: [", "not YAML"),
        ("name: 2020-13-45\n", "not YAML: month must be in 1..12"),
        ("inner: {}\n", "name: this key is required"),
    ],
)
def test_faulty_files(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load(path, [], Outer)


def test_missing_file() -> None:
    with pytest.raises(UserError, match="no such config file"):
        load("nowhere.yaml", [], Outer)
