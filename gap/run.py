"""`gap run`: run what is not done yet, each step as soon as those that it reads are done."""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Self

import click
import ray

from eval import numbers
from eval.generate import check_heads
from gap.command import CONFIG, load_config, user_errors
from gap.config import Config
from gap.expect import look_ahead, shortfalls
from gap.fits import check_memory
from gap.orphans import no_orphans
from gap.plan import plan
from gap.report import FILES
from lake.bundled import nearest
from lake.dataset import Output
from lake.error import UserError
from lake.lock import Told, check_free, owns, refuse
from lake.step import Kind, Manifest, Step, Steps, needed, of_kind
from ray_jobs import cluster
from ray_jobs.finetune import outline_of
from ray_jobs.machine import LOCAL
from spark_jobs import session as spark_session
from spark_jobs.watch import watch

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command()
@CONFIG
@click.argument("words", nargs=-1, metavar="[STEP]... [KEY=VALUE]...")
@click.option("--no-wait", is_flag=True, help="End at once where another run writes a step that this one needs.")
@user_errors
def run(config: str, words: tuple[str, ...], no_wait: bool) -> None:
    """Run all steps, or each STEP named and the steps that it needs.

    Finished steps are not run again. If the sources seem to have fewer tokens than the mixture asks for, a warning at
    the beginning says so, and another one after the mixture is made. `gap status CONFIG` lists the steps. Runs may
    share a lake: a step that another run writes is waited for, and then not run again.

    Ctrl-C and SIGTERM end it: training writes a checkpoint first, and a second signal ends that, too. What is done is
    kept, and the same command goes on.

    Exit code 0: all is done. 2: the config or an input is wrong; one line says what, before an engine starts.
    130, 143: ended by Ctrl-C, by SIGTERM. 1: anything else.

    \b
    Examples:
      gap run configs/demo.yaml
      gap run configs/demo.yaml dedup dedup.threshold=0.7
    """
    started = time.monotonic()
    loaded = load_config(config, [word for word in words if "=" in word])
    steps = plan(loaded)
    chosen = select(steps, [word for word in words if "=" not in word])
    if any(step.kind is Kind.MIXTURE and not step.done for step in chosen.values()):
        expected = look_ahead(loaded, steps, frozenset())
        warn(f"{line} ({expected.origin})" for line in shortfalls(loaded.mix, expected.mixture))

    def leave(code: int) -> None:
        done = sum(step.done for step in chosen.values())
        warn([f"ended with {done} of {len(chosen)} steps done; what is written is kept, and the same command goes on"])
        sys.stdout.flush()
        # Steps go on in threads. Ray, if it ended under them, would end the process with a code of its own.
        os._exit(code)

    run_steps(loaded, chosen, say, leave, waits=not no_wait)
    click.echo(f"All done in {numbers.duration(time.monotonic() - started)}.")
    for step in chosen.values():
        for title, path in results(step):
            click.echo(f"{title:<14}{path}")


def select(steps: Steps, names: Sequence[str]) -> dict[str, Step[Any]]:
    """All steps, or those named and what they need.

    Raises:
        UserError: a name is not a step.
    """
    for name in names:
        if name not in steps:
            raise UserError(f"{name}: no such step{nearest(name, steps)}; the steps are {', '.join(steps)}")
    return needed(steps, names or steps)


def results(step: Step[Any]) -> Iterable[tuple[str, str]]:
    """What a user wants to open of a step: title and path."""
    if step.kind is Kind.REPORT:
        return [(FILES.get(name, "Model card"), step.output.path(name)) for name in step.manifest().figures["files"]]
    return [("Model", step.output.path("model"))] if step.kind is Kind.EXPORT else []


class Engines:
    """Spark and Ray, each started when the first step needs it, and stopped when the block ends."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._spark: Any = None
        self._lock = Lock()
        self._fault: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def prepare(self, names: Collection[str]) -> None:
        """Start the engines named side by side. What keeps one from starting is raised here, before any step runs."""
        spark = Thread(target=self._prepare_spark, daemon=True)
        if "spark" in names:
            spark.start()
        if "ray" in names:
            # Ray's processes end with the thread that started them, so it must be this one.
            cluster.start(self._config.ray)
        if "spark" in names:
            spark.join()
            if self._fault is not None:
                raise self._fault

    def start_spark(self) -> None:
        """Start Spark unless it is up."""
        with self._lock:
            self._spark = spark_session.start(self._config.spark)

    def _prepare_spark(self) -> None:
        try:
            self.start_spark()
        except Exception as error:  # noqa: BLE001 - raised where the run begins
            self._fault = error

    def stop_spark(self, waits: bool = True) -> None:
        """Free what Spark holds, if it is up. Whether to wait for it where it is just starting."""
        if not self._lock.acquire(blocking=waits):
            return
        try:
            if self._spark is not None:
                spark_session.stop(self._spark)
            self._spark = None
        finally:
            self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.stop_spark()
        ray.shutdown()


def check_engines(config: Config, names: Collection[str]) -> None:
    """Look at what the engines named need of this machine, before one starts.

    Raises:
        UserError: one would not start.
    """
    if "ray" in names:
        cluster.check(config.ray)
    if "spark" in names:
        spark_session.check(config.spark)


Listener = Callable[[Step[Any], Manifest | None, bool], None]
"""Hears of each step before it runs (no manifest) and after, and whether it was new."""


def run_steps(
    config: Config, steps: Steps, listener: Listener, leave: Callable[[int], None] = sys.exit, waits: bool = True
) -> None:
    """Run the steps that are not done yet. Steps that do not read each other overlap where their engines differ.

    A step that another run writes is waited for, if the run `waits`. After SIGINT or SIGTERM, `leave` is called with
    the exit code; what still runs ends with the process.

    Raises:
        UserError: an input is missing or broken, the lake cannot be written, a model does not fit its GPUs or
            could not be evaluated here, an engine would not start, or another run writes a step and this one does not
            wait; all of this is found before any engine starts.
    """
    waiting = {name: step for name, step in steps.items() if not step.done}
    for step in waiting.values():
        step.check()
    check_attention(config, waiting)
    check_memory(config, steps)
    for folder in {step.lake for step in waiting.values()}:
        Output(folder).check_writable("disk" if folder == config.disk else "lake")
    for step in waiting.values() if not waits else ():
        check_free(step.output)
    for step in steps.values():
        if step.name not in waiting:
            listener(step, step.manifest(), False)
    if waiting:
        check_engines(config, set(map(_engine, waiting.values())))
        with no_orphans(), Engines(config) as engines:
            try:
                _overlapped(waiting, engines, listener, wait_for if waits else refuse)
            except SystemExit as end:
                engines.stop_spark(waits=False)
                leave(int(end.code or 0))


def wait_for(line: str) -> None:
    """Say who writes a step."""
    warn([f"{line}; this run waits for it"])


def _overlapped(waiting: dict[str, Step[Any]], engines: Engines, listener: Listener, told: Told) -> None:
    """Run each step as soon as its inputs are done and its engine is free.

    After a failure no step is started; the failure is raised when the steps beside it have ended. SIGINT and SIGTERM
    are taken as a failure if a running step can save what it has, else they end the run at once, as a second one does.
    """
    ended: SimpleQueue[tuple[Step[Any], Manifest | BaseException]] = SimpleQueue()
    running: list[Step[Any]] = []
    failure: BaseException | None = None

    def terminate(number: int, _: object) -> None:
        nonlocal failure
        again, failure = isinstance(failure, SystemExit), SystemExit(128 + number)
        if again:
            raise failure
        # Not those that it waits for: another run writes them.
        asked = [(step, stop) for step in running if (stop := step.body.stop) is not None and owns(step.output)]
        saving = [step.name for step, stop in asked if stop(step)]
        if not saving:
            raise failure
        warn(f"{signal.Signals(number).name}: {name} saves what it has and ends" for name in saving)

    handlers = {number: signal.signal(number, terminate) for number in SIGNALS}
    try:
        engines.prepare(set(map(_engine, waiting.values())))
        while running or (waiting and failure is None):
            for step in list(waiting.values()) if failure is None else ():
                ready = all(before.done for before in step.inputs.values())
                if ready and _engine(step) not in map(_engine, running):
                    listener(waiting.pop(step.name), None, True)
                    running.append(step)
                    # An interrupted run ends without waiting for its threads.
                    Thread(target=_run, args=(step, engines, told, ended), daemon=True).start()
            if "spark" not in map(_engine, (*waiting.values(), *running)):
                engines.stop_spark()
            if not running:
                raise UserError(f"{next(iter(waiting))}: what it reads is no longer in the lake; run again")
            step, outcome = ended.get()
            running.remove(step)
            if isinstance(outcome, Manifest):
                listener(step, outcome, True)
                continue
            if isinstance(failure, SystemExit):
                warn([f"{step.name}: {_in_a_line(outcome)}"])
                continue
            failure = failure or outcome
            if running or failure is not outcome:
                others = ", ".join(other.name for other in running)
                end = f"; the run ends after {others}" if others else ""
                warn([f"{step.name} failed: {_in_a_line(outcome)}{end}"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if failure is not None:
        raise failure


def _in_a_line(error: BaseException) -> str:
    """What an error says last, below where it happened. The whole is raised at the end of the run."""
    lines = [line for line in str(getattr(error, "cause", error)).splitlines() if line and not line[0].isspace()]
    return lines[-1] if lines else type(error).__name__


def _engine(step: Step[Any]) -> str:
    """Steps of one engine run one after the other: its cores are for one step."""
    return step.body.engine.partition(" ")[0]


def _run(
    step: Step[Any], engines: Engines, told: Told, ended: SimpleQueue[tuple[Step[Any], Manifest | BaseException]]
) -> None:
    try:
        if _engine(step) == "spark":
            engines.start_spark()
        with watch(step.name) if _engine(step) == "spark" else nullcontext():
            manifest = step.run(told)
        ended.put((step, manifest))
    except BaseException as error:  # noqa: BLE001 - raised again where the run waits
        ended.put((step, spark_session.lasting(error)))


def check_attention(config: Config, steps: Steps) -> None:
    """Check that vLLM can run the models that are to be evaluated. A running cluster may have GPUs elsewhere.

    Raises:
        UserError: a model's heads need a GPU, and this machine has none.
    """
    if cluster.address_of(config.ray) != LOCAL:
        return
    try:
        for step in of_kind(steps, Kind.EVALUATION):
            model = step.input("model")
            recipe = config.pretrain if model.kind is Kind.BASE else outline_of(model.input("trained"))
            check_heads({"head_dim": recipe.model.head_size})
    except UserError:
        # Asked last, for it takes seconds to import.
        import torch

        if not torch.cuda.is_available():
            raise


def say(step: Step[Any], manifest: Manifest | None, new: bool) -> None:
    """One line when a step starts, one when it is done."""
    if manifest is None:
        click.echo(f"{step.name:<14}started on {step.body.engine}")
        return
    total = manifest.total
    flow = f"{manifest.unit} in {total.entered:,}, kept {total.kept:,}" if total.entered else "done"
    if total.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in total.dropped.items())
        flow += f", dropped {sum(total.dropped.values()):,} ({reasons})"
    click.echo(f"{step.name:<14}{flow}  {manifest.seconds:.1f} s{'' if new else '  (done before)'}")
    if step.kind is Kind.MIXTURE and new:
        warn(shortfalls(step.settings, manifest.figures["mixture"]))


def warn(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"gap: {line}".replace(numbers.SPACE, " "), err=True)
