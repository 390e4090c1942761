"""Spark's JVM, as PySpark starts it. What it says until Spark is up is kept, to be told in one line where it fails.

What it says while Spark ends is kept, too: it complains of each task that ends in the middle.
"""

import os
import sys
from collections.abc import Mapping
from functools import cache
from threading import Lock, Thread

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway

NOTICES = ("WARNING: ", "Picked up ", "Using Spark's default log4j", "at ")
"""How lines begin that name no cause."""
MOST_TOLD = 300


class Words:
    """What a JVM writes to its standard error. It is kept, or shown as it comes while it is `passed_on`."""

    def __init__(self) -> None:
        self.passed_on = False
        self._kept: list[str] = []
        self._lock = Lock()
        self._end, self.stream = os.pipe()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with os.fdopen(self._end, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with self._lock:
                    if not self.passed_on:
                        self._kept.append(line)
                        continue
                sys.stderr.write(line)

    def last(self) -> str:
        """The line that names the cause, of a JVM that has ended: the last error of Spark's log, else the first."""
        self._thread.join(1)
        with self._lock:
            lines = [line.strip() for line in self._kept if line.strip() and not line.strip().startswith(NOTICES)]
        logged = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
        return (logged or lines[:1] or [""])[-1]


@cache
def words() -> Words:
    """Those of this process's JVM."""
    return Words()


def launch(options: Mapping[str, str]) -> None:
    """Start the JVM with Spark's options, unless it is up.

    Raises:
        RuntimeError: it does not start; the message is the cause.
    """
    if SparkContext._gateway is not None:
        return
    heard = words()
    try:
        conf = SparkConf().setAll(list(options.items()))
        SparkContext._ensure_initialized(gateway=launch_gateway(conf, {"stderr": heard.stream}))
    except PySparkRuntimeError as error:
        os.close(heard.stream)
        words.cache_clear()
        raise RuntimeError(heard.last() or str(error)) from error
    os.close(heard.stream)


def cause(error: Exception) -> str:
    """What kept Spark from starting. Java puts its causes last; a JVM that ended in the middle has said why."""
    ended = isinstance(error, OSError) or (isinstance(error, Py4JError) and not isinstance(error, Py4JJavaError))
    if ended and (said := words().last()):
        return said[:MOST_TOLD]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith(("Caused by: ", ": "))]
    return (causes or lines[:1])[-1].removeprefix(": ")[:MOST_TOLD]
