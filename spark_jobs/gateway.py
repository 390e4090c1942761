"""Spark's JVM, as PySpark starts it. What it says until Spark is up is kept, to be told in one line where it fails."""

import os
import sys
from collections.abc import Mapping
from threading import Lock, Thread

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway

NOTICES = ("WARNING: ", "Picked up ", "Using Spark's default log4j", "at ")
"""How lines begin that name no cause."""
MOST_TOLD = 300


class Words:
    """What a JVM writes to its standard error. It is kept until `passed_on`, and from then on shown as it comes."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._shown = False
        self._lock = Lock()
        self._end, self.stream = os.pipe()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with os.fdopen(self._end, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with self._lock:
                    if not self._shown:
                        self._kept.append(line)
                        continue
                sys.stderr.write(line)

    def passed_on(self) -> None:
        """From now on, what the JVM says is for the user."""
        with self._lock:
            self._shown = True

    def last(self) -> str:
        """The line that names the cause, of a JVM that has ended: the last error of Spark's log, else the first."""
        self._thread.join(1)
        with self._lock:
            lines = [line.strip() for line in self._kept if line.strip() and not line.strip().startswith(NOTICES)]
        logged = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
        return (logged or lines[:1] or [""])[-1]


def launch(options: Mapping[str, str]) -> Words:
    """Start the JVM with Spark's options, unless it is up.

    Raises:
        RuntimeError: it does not start; the message is the cause.
    """
    words = Words()
    try:
        if SparkContext._gateway is None:
            conf = SparkConf().setAll(list(options.items()))
            SparkContext._ensure_initialized(gateway=launch_gateway(conf, {"stderr": words.stream}))
    except PySparkRuntimeError as error:
        raise RuntimeError(words.last() or str(error)) from error
    finally:
        os.close(words.stream)
    return words


def cause(error: Exception, words: Words | None) -> str:
    """What kept Spark from starting. Java puts its causes last; a JVM that ended in the middle has said why."""
    ended = isinstance(error, OSError) or (isinstance(error, Py4JError) and not isinstance(error, Py4JJavaError))
    if ended and words is not None and (said := words.last()):
        return said[:MOST_TOLD]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith(("Caused by: ", ": "))]
    return (causes or lines[:1])[-1].removeprefix(": ")[:MOST_TOLD]
