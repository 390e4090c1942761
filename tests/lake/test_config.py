"""Settings from YAML: overrides, values, and faults in one line."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from lake.config import Settings, laid_over, load, parse_yaml
from lake.error import UserError
from lake.values import Name, Share, Text


class Inner(Settings):
    threshold: float = 0.8
    names: tuple[str, ...] = ("a", "b")
    label: str | None = None


class Recipe(Settings):
    rate: float
    warmup: int = 5

    @classmethod
    def written_out(cls, given: Any) -> Any:
        return {"rate": 0.1} if given == "slow" else given


class Outer(Settings):
    name: str
    seed: int = 1
    shuffle: bool = False
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    recipe: Recipe = Recipe(rate=0.2)
    recipes: dict[Name, Recipe] = Field(default_factory=dict)
    options: dict[str, str] = Field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("name: demo\ninner: {threshold: 0.5}\nitems: [{threshold: 0.1}]\n", encoding="utf-8")
    return path


def test_reads_file_and_overrides(file: Path) -> None:
    outer = load(file, ["inner.threshold=0.7", "inner.names=[x]", "items.0.threshold=0.2"], Outer)
    assert outer == Outer(name="demo", inner=Inner(threshold=0.7, names=("x",)), items=(Inner(threshold=0.2),))


@pytest.mark.parametrize("text", ["inner:", "inner: null", ""])
def test_an_override_makes_the_group_it_needs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"name: demo\n{text}\n", encoding="utf-8")
    assert load(path, ["inner.threshold=0.7"], Outer).inner.threshold == 0.7


def test_an_override_sets_a_key_of_a_section_that_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: demo\nrecipe: slow\n", encoding="utf-8")
    assert load(path, ["recipe.warmup=7"], Outer).recipe == Recipe(rate=0.1, warmup=7)


@pytest.mark.parametrize("value", ["/x #2", "yes", "1", "0.5", "true", "2023-08-01", "[unclosed", "a: b", "a=b", "{}"])
def test_a_value_of_a_text_key_is_taken_as_it_stands(file: Path, value: str) -> None:
    assert load(file, [f"name={value}"], Outer).name == value
    assert load(file, [f"inner.label={value}"], Outer).inner.label == value
    assert load(file, [f"items.0.label={value}"], Outer).items[0].label == value
    assert load(file, ["inner.names=[a]", f"inner.names.0={value}"], Outer).inner.names == (value,)
    assert load(file, [f"options.key={value}"], Outer).options == {"key": value}


def test_a_value_of_a_group_of_texts_is_yaml(file: Path) -> None:
    assert load(file, ["options={key: x}"], Outer).options == {"key": "x"}


@pytest.mark.parametrize("value", ["null", ""])
def test_null_and_an_empty_value_are_no_text(file: Path, value: str) -> None:
    assert load(file, ["inner.label=x", f"inner.label={value}"], Outer).inner.label is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("2023-08-01", "2023-08-01"),
        ("2020-13-45", "2020-13-45"),
        ("1:30", "1:30"),
        ("0x1f", "0x1f"),
        ("010", "010"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-1_000", -1000),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("1.5e3", 1500.0),
        ("1.0", 1.0),
        (".inf", float("inf")),
        ("'1'", "1"),
        ("v1.0", "v1.0"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_yaml_has_no_surprises(text: str, value: Any) -> None:
    parsed = parse_yaml(f"key: {text}")["key"]
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["inner.treshold=0.7"], "inner.treshold: unknown key; did you mean threshold?"),
        (["treshold=0.7"], "treshold: unknown key; did you mean inner.threshold?"),
        (["inner.warmup=1"], "inner.warmup: unknown key; did you mean recipe.warmup?"),
        (["inner.threshold=high"], "inner.threshold: Input should be a valid number"),
        (["inner.threshold"], "an override is written key.key=value"),
        (["name.first=x"], "name is a value, not a group of keys"),
        (["name.first.second=x"], "its parent is a value"),
        (["items.5.threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["seed=[unclosed"], "the value is not YAML"),
        (["zzz=1"], "zzz: unknown key; remove it"),
        (["items.².threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["items.٠.threshold=1"], "a list of 1 takes an index from 0 to 0"),
        (["seed=yes"], "seed: Input should be a valid integer"),
        (["seed=true"], "seed: true is not a value of this key"),
        (["inner.threshold=false"], "threshold: false is not a value of this key"),
        (["shuffle=yes please"], "shuffle: Input should be a valid boolean"),
        (["recipes={Slow: {rate: 1}}"], "recipes.Slow"),
        (["recipes={a_b: {rate: 1}}"], "recipes.a_b"),
    ],
)
def test_a_fault_is_one_line(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        load(file, overrides, Outer)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.lists(st.sampled_from(["items", "inner", "name", "names", "0", "²"]) | st.text(max_size=3), max_size=4),
    st.sampled_from(["2020-13-45", "0x_", "[", "{}", "null"]) | st.text(max_size=8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_override_is_taken_or_an_error(file: Path, keys: list[str], value: str) -> None:
    with contextlib.suppress(UserError):
        load(file, [f"{'.'.join(keys)}={value}"], Outer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "is list"),
        ("a: [", "not YAML"),
        ("name: !!python/object:os.system x\n", "not YAML"),
        ("inner: {}\n", "name: this key is required"),
        ("name: demo\nshuffle: yes\nseed: x\n", r"seed: .*, not 'x'"),
    ],
)
def test_faulty_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load(path, [], Outer)


def test_a_file_that_is_missing_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such config file"):
        load("nowhere.yaml", [], Outer)
    path = tmp_path / "config.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(UserError, match=r"config\.yaml: not YAML: "):
        load(path, [], Outer)


def test_keys_are_laid_over_section_by_section() -> None:
    base = {"steps": 10, "optimizer": {"lr": 1e-3, "warmup": 5}, "batch": {"total": 8}}
    changed = laid_over(base, {"steps": 20, "optimizer": {"lr": 1e-4}, "batch": None, "new": {"key": 1}})
    assert changed == {"steps": 20, "optimizer": {"lr": 1e-4, "warmup": 5}, "batch": None, "new": {"key": 1}}
    assert base["optimizer"] == {"lr": 1e-3, "warmup": 5}
    assert laid_over(None, {"lr": 1}) == {"lr": 1}


def test_a_file_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "whole.yaml").write_text("name: whole\ninner: {threshold: 0.5, label: a}\nitems: [{}]\n")
    (tmp_path / "half.yaml").write_text("extends: corpora/whole.yaml\nname: half\ninner: {threshold: 0.2}\n")
    (tmp_path / "less.yaml").write_text("extends: half.yaml\nitems: []\n")
    less = load(tmp_path / "less.yaml", ["seed=2"], Outer)
    assert (less.name, less.seed, less.items) == ("half", 2, ())
    assert (less.inner.threshold, less.inner.label) == (0.2, "a")


@pytest.mark.parametrize(
    ("extended", "message"),
    [
        ("extends: nowhere.yaml", r"nowhere\.yaml: no such config file, which .*first\.yaml extends"),
        ("extends: first.yaml", r"first\.yaml: it extends itself; take extends out of .*first\.yaml"),
        ("extends: second.yaml", r"first\.yaml: it extends itself; take extends out of .*second\.yaml"),
        ("extends: [second.yaml]", r"first\.yaml: extends is the name of one file, not \['second"),
        ("extends: list.yaml", r"list\.yaml: a config is a mapping"),
    ],
)
def test_a_file_that_cannot_be_extended(tmp_path: Path, extended: str, message: str) -> None:
    (tmp_path / "first.yaml").write_text(f"{extended}\nname: first\n", encoding="utf-8")
    (tmp_path / "second.yaml").write_text("extends: first.yaml\n", encoding="utf-8")
    (tmp_path / "list.yaml").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "first.yaml", [], Outer)


@pytest.mark.parametrize("name", ["slow", "lr-1", "a1-b2"])
def test_a_name_is_fit_for_a_folder(name: str) -> None:
    assert Outer.model_validate({"name": "demo", "recipes": {name: {"rate": 1}}}).recipes[name].rate == 1


@pytest.mark.parametrize("name", ["", "Slow", "1a", "a_b", "a--b", "-a", "a-", "a/b", "a.b", "a\n"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate({"name": "demo", "recipes": {name: {"rate": 1}}})


class Values(Settings):
    name: Text = "x"
    rates: tuple[float, ...] = ()
    shares: dict[str, Share] = Field(default_factory=dict)
    either: str | tuple[Text, ...] = ()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name= ", "name: it is blank"),
        ("name=a\nb", r"name: it has the control character '\n'; take it out"),
        (f"name={'x' * 5000}", "name: String should have at most 4096 characters"),
        ("rates=[0.1, .nan]", "rates.1: Input should be a finite number"),
        ("rates=[true]", "rates: true is not a value of this key"),
        ("shares={a: .inf}", "shares.a: Input should be a finite number"),
        ("shares={a: false}", "shares: false is not a value of this key"),
        ("either=[' ']", "either: Input should be a valid string"),
    ],
)
def test_values_that_nothing_could_use_are_refused_by_their_key(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    with pytest.raises(UserError) as error:
        load(path, [override], Values)
    assert str(error.value).partition(".yaml: ")[2].startswith(message)
    assert len(str(error.value).splitlines()) == 1
