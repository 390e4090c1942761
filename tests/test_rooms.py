"""The house rules of imports, names and sizes, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"ingest", "dedup", "mixing", "train", "eval"}
JOBS = {"spark_jobs", "ray_jobs"}
ROOMS = {"lake", *STAGES, *JOBS}
MAY_IMPORT: dict[str, set[str]] = {
    "lake": set(),
    "ingest": {"lake"},
    "dedup": {"lake"},
    "mixing": {"lake"},
    # The two may share a type.
    "train": {"lake", "eval"},
    "eval": {"lake", "train"},
    "spark_jobs": {"lake", *STAGES},
    "ray_jobs": {"lake", *STAGES, "spark_jobs"},
}
ENGINES = {"pyspark": ("spark_jobs/",), "ray": ("ray_jobs/", "train/loop.py")}
BANNED = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST = 400

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(source: str, entry: bool = False) -> Iterator[str]:
    """Modules that a source imports at run time, wherever in it; with `entry`, also where it is run as a script."""
    skipped = {"TYPE_CHECKING"} if entry else {"TYPE_CHECKING", "__name__ == '__main__'"}
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in skipped:
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        waiting += ast.iter_child_nodes(node)


def rooms_of(source: str) -> set[str]:
    return {module.partition(".")[0] for module in imports(source)}


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import a.b, c
from d.e import f
from . import g
if TYPE_CHECKING:
    import never
else:
    import h
def one():
    try:
        from i import j
    except ImportError:
        import k
if __name__ == "__main__":
    import script
"""
    assert sorted(imports(source)) == [".", "a.b", "c", "d.e", "h", "i", "k"]
    assert "script" in imports(source, entry=True)


def test_there_is_something_to_check() -> None:
    assert {name(path).split("/")[0] for path in FILES} == ROOMS
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path: Path) -> None:
    room = name(path).split("/")[0]
    found = rooms_of(path.read_text(encoding="utf-8"))
    assert "" not in found, "imports are absolute"
    assert found & ROOMS - {room} <= MAY_IMPORT[room]
    assert not found & {"tests", "samples", "benchmarks"}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_imported_only_where_it_is_at_home(engine: str) -> None:
    guests = {name(path) for path in FILES if engine in rooms_of(path.read_text(encoding="utf-8"))}
    assert guests, f"nothing imports {engine}: this test looks in the wrong place"
    assert {guest for guest in guests if not guest.startswith(ENGINES[engine])} == set()


def test_a_spark_job_run_as_a_script_calls_the_command_line_and_nothing_else() -> None:
    for path in (path for path in FILES if name(path).startswith("spark_jobs/")):
        source = path.read_text(encoding="utf-8")
        entered = set(imports(source, entry=True)) - set(imports(source))
        assert {module for module in entered if module.partition(".")[0] in ROOMS} <= {"ray_jobs.cli"}


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
