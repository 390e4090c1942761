"""Progress in a log, which is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from lake import progress as subject
from lake.progress import progress, watched


@contextmanager
def logged(file: Path, encoding: str = "utf-8") -> Iterator[None]:
    with file.open("w", encoding=encoding) as log, redirect_stderr(log):
        yield


def test_a_log_has_whole_lines_and_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOG_SECONDS", 1e9)
    with logged(tmp_path / "log"), progress("read", 5, "files") as one, progress("count", None, "parts") as other:
        for _ in range(5):
            one.update()
            other.update(2)
    text = (tmp_path / "log").read_bytes().decode("utf-8")
    assert "\r" not in text
    assert "\x1b" not in text
    assert text.endswith("\n")
    lines = text.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["read", "count", "count", "read"]
    assert "10 parts" in lines[2]
    assert "5/5" in lines[3]


def test_a_state_between_is_a_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOG_SECONDS", 0)
    with logged(tmp_path / "log"), progress("read", 3, "files") as bar:
        for _ in range(3):
            bar.update()
    lines = (tmp_path / "log").read_text(encoding="utf-8").split("\n")
    assert [line.split("|")[2].split()[0] for line in lines if line] == ["0/3", "1/3", "2/3", "3/3", "3/3"]
    assert lines[-1] == ""


def test_work_done_elsewhere_ends_with_its_last_state(tmp_path: Path) -> None:
    with logged(tmp_path / "log"), watched("dedup", 3, "tasks", lambda bar: bar.update(3 - bar.n)):
        pass
    assert "3/3" in (tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1]


def test_a_log_that_takes_ascii_alone_gets_no_other_letters(tmp_path: Path) -> None:
    with logged(tmp_path / "log", "ascii"), progress("read", 2, "files") as bar:
        bar.update(2)
    assert "2/2" in (tmp_path / "log").read_text(encoding="ascii")
