"""Evaluate the kept checkpoints of a training, one after the other, on the same questions with the same shots."""

import shutil
from dataclasses import replace

from eval.answers import SCORES
from eval.ask import samples
from eval.comparison import compare, load
from eval.settings import EvaluateSettings
from lake.error import UserError
from lake.step import Body, Kind, Outcome, Step, account
from ray_jobs.evaluate import Exam, check, quoted
from ray_jobs.export import check_trained, export_in_a_process, export_job
from train.history import CHECKPOINTS, MODEL, checkpoints, damage, step_of
from train.recipe import ExportSettings


def evaluate_checkpoints(step: Step[EvaluateSettings], data: str, export: ExportSettings) -> Outcome:
    """Write an evaluation for each checkpoint, in a folder of its name. The exported model is deleted afterwards.

    Raises:
        ParityError: an exported model is not the trained one.
        UserError: a checkpoint is broken, or see `Exam.hold`.
    """
    trained = step.input("trained")
    job = export_job(step, export)
    exam = Exam(step.name, step.settings, data, samples(step.settings, data), quoted(step.input("hits").output))
    models, rows = [], []
    for checkpoint in checkpoints(trained.output.local(CHECKPOINTS)):
        output = step.output.below(checkpoint.name)
        tokens = step_of(checkpoint.name) * trained.settings.tokens // trained.settings.steps
        if not output.exists(SCORES):
            model = output.local(MODEL)
            if broken := damage(checkpoint):
                raise UserError(f"{checkpoint}: {broken}; delete it, and the curve has a point less")
            about = {"model": f"{trained.fingerprint} {checkpoint.name}", "training": trained.name, "tokens": tokens}
            export_in_a_process(replace(job, checkpoint=checkpoint, model=model))
            exam.hold(model, output, about)
            shutil.rmtree(model)
        rows = output.read_part("decisions", output.part_name(0)).to_pylist()
        models.append(load(checkpoint.name, output.root))
    return Outcome(accounts=account(rows), figures={"curves": compare(models)["curves"]}, unit="questions")


def check_both(step: Step[EvaluateSettings], data: str, export: ExportSettings) -> None:
    """Raises UserError if a question, a shard or all checkpoints are missing or broken."""
    check(step, data)
    check_trained(step)


EVALUATE_CHECKPOINTS = Body[EvaluateSettings](evaluate_checkpoints, Kind.CURVE, "ray + vllm", 1, check=check_both)
