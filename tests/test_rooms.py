"""The house rules of imports, names and sizes, read from the source."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"ingest", "dedup", "mixing", "train", "eval"}
MAY_IMPORT: dict[str, set[str]] = {
    "lake": set(),
    "ingest": {"lake"},
    "dedup": {"lake"},
    "mixing": {"lake"},
    # These two may share a type.
    "train": {"lake", "eval"},
    "eval": {"lake", "train"},
    "spark_jobs": {"lake", *STAGES},
    "ray_jobs": {"lake", *STAGES},
    "gap": {"lake", *STAGES, "spark_jobs", "ray_jobs"},
}
ENGINES = {"pyspark": ("spark_jobs/",), "ray": ("ray_jobs/", "gap/", "train/loop.py")}
BANNED = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST = 400


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
MODULES = {module(path): path for path in FILES}


def imports(source: str) -> Iterator[str]:
    """Everything that a source imports, wherever the import stands; a name that is imported counts as a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def rooms_of(path: Path) -> set[str]:
    return {imported.partition(".")[0] for imported in imports(path.read_text(encoding="utf-8"))}


def modules_of(path: Path) -> set[str]:
    """The project's modules that a file imports."""
    names = set(imports(path.read_text(encoding="utf-8")))
    return {found for imported in names for found in (imported, imported.rpartition(".")[0]) if found in MODULES}


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import a.b, c
from d.e import f
from . import g
if TYPE_CHECKING:
    import h
def late():
    try:
        from i import j
    except ImportError:
        import k
if __name__ == "__main__":
    import script
"""
    assert sorted(imports(source)) == ["..g", "a.b", "c", "d.e.f", "h", "i.j", "k", "script"]


def test_every_room_is_checked() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "samples", "benchmarks"}
    assert packages == set(MAY_IMPORT) == {name(path).split("/")[0] for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path: Path) -> None:
    room = name(path).split("/")[0]
    rooms = rooms_of(path)
    assert "" not in rooms, "imports are absolute"
    assert rooms & set(MAY_IMPORT) - {room} <= MAY_IMPORT[room]
    assert not rooms & {"tests", "samples", "benchmarks"}


def test_imports_make_no_circle() -> None:
    graph = {module: modules_of(path) for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_imported_only_where_it_is_at_home(engine: str) -> None:
    users = {name(path) for path in FILES if engine in rooms_of(path)}
    assert users, f"nothing imports {engine}: this test looks in the wrong place"
    assert {user for user in users if not user.startswith(ENGINES[engine])} == set()


def test_no_file_is_named_after_nothing() -> None:
    tests = (ROOT / "tests").rglob("*.py")
    named = {path for path in (*FILES, *tests) if {*path.stem.split("_"), *path.parent.name.split("_")} & BANNED}
    assert named == set()


def test_no_file_has_two_subjects_worth_of_lines() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_every_module_says_what_it_is() -> None:
    silent = {name(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))}
    assert silent == set()
