"""The training run of one worker, up to the last checkpoint. Its launcher has set up the process group."""

import hashlib
import json
import math
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lake.files import replace
from train import checkpoint
from train.copies import Copies
from train.cpu import cudaless
from train.data import Batches, Corpus, Data, HeldOutData, Sample, Span, Vocabulary, collate
from train.flops import flops_per_token, mfu
from train.gpus import gpu_of
from train.guard import TrainingStopped, not_finite, skipped_too_often, spike
from train.history import CHECKPOINTS, PROGRESS, History, Row, checkpoints, folder_of, newest, step_of
from train.loss import sums_of, weight_unit
from train.metrics import Metrics
from train.model import build, draw_adapters, draw_weights, initialise
from train.optimizer import adamw, distributed, scheduler
from train.recipe import Recipe
from train.saver import Saved, Saver

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state
    from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
    from megatron.core.pipeline_parallel import get_forward_backward_func


@dataclass(frozen=True)
class Job:
    """A training run. Checkpoints and progress go to `folder`, on a disk that all workers share.

    It starts from the Megatron checkpoint `base`, or from random weights. `mixture` is the fingerprint of the corpus.
    `documents` finds the documents that lie in parts of the training split: rows of id, source and url. `stop` says
    whether to write a checkpoint and end. On the first rank, `observe` is given the row of each step. Messages name the
    keys of the config's `section`.
    """

    recipe: Recipe
    seed: int
    vocabulary: Vocabulary
    train: Corpus
    validation: Corpus
    folder: Path
    base: Path | None = None
    mixture: str = ""
    section: str = "pretrain"
    documents: Callable[[Sequence[Span]], list[Row]] = lambda _: []
    stop: Callable[[], bool] = lambda: False
    observe: Callable[[Row], None] = lambda _: None


def train(job: Job) -> None:
    """Train to the last step of the recipe, from the newest checkpoint in the job's folder if there is one.

    torch's default process group must be up, with one rank for each worker of the recipe.

    Raises:
        TrainingStopped: a loss or gradient is not finite, steps were skipped too often, or `job.stop` said so.
    """
    with cudaless():
        initialise(job.recipe.parallel, job.seed)
        worker = Worker(job)
        try:
            worker.run()
        finally:
            worker.batches.close()
            parallel_state.destroy_model_parallel()


class Worker:
    """One rank's share of the run."""

    def __init__(self, job: Job, data: Data | None = None) -> None:
        recipe = job.recipe
        self.job, self.recipe = job, recipe
        self.first = dist.get_rank() == 0
        self.device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
        self.rank, self.ranks = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        self.eod = job.vocabulary.eod if recipe.document_mask else None
        self.data = data or job.train.training(recipe.sequence, job.vocabulary, job.seed)
        self.batches = Batches(self.data, recipe.batch, self.rank, self.ranks, self.eod)
        self.held_out = job.validation.held_out(recipe.validation.sequences, recipe.sequence, job.vocabulary)
        self.unit = weight_unit(recipe.batch.total * recipe.sequence)
        ids, length = job.vocabulary.vocab_size, recipe.sequence
        chunks = build(recipe.model, ids, length, recipe.parallel, recipe.precision, recipe.recompute, recipe.lora)
        self.chunks = [chunk.to(self.device) for chunk in chunks]
        self.models = distributed(recipe, self.chunks)
        self.optimizer = adamw(recipe, self.models)
        self.chunks[0].config.grad_scale_func = self.optimizer.scale_loss
        self.scheduler = scheduler(recipe, self.optimizer)
        self.history = History()
        self.phases: dict[str, float] = {}
        self.unsaved: str | None = None
        self.metrics: Metrics | None = None
        self.copies: Copies | None = None

    def run(self) -> None:
        recipe = self.recipe
        step = self.start(self.job.folder / CHECKPOINTS)
        history = self.history
        if self.first:
            self.metrics = Metrics(self.job.folder, history.losses, history.validation, recipe.wandb)
        try:
            while step < recipe.steps:
                if step % recipe.validation.every == 0:
                    self.validate(step)
                stop = self.step(step)
                step += 1
                if step == recipe.steps:
                    self.validate(step)
                with self._phase("checkpoint"):
                    self._copy()
                    self.saver.poll()
                    if step % recipe.checkpoints.every == 0 or step == recipe.steps or stop:
                        self.saver.save(step, self.chunks, self.optimizer, self.scheduler, asdict(self.history))
                self._tell()
                if stop and step < recipe.steps:
                    raise TrainingStopped(f"stopped as asked after step {step}; a new run goes on from there")
        except TrainingStopped:
            # All ranks stop at the same step, so they can complete the save that they began.
            self.saver.finish()
            self._copy(wait=True)
            raise
        finally:
            if self.metrics is not None:
                self.metrics.close()
        self.saver.finish()
        if self.unsaved is not None:
            raise TrainingStopped(
                f"no checkpoint of the last step: {self.unsaved}; a new run goes on from the one before"
            )
        last = folder_of(self.job.folder, recipe.steps).name
        if reason := self._copy(wait=True).get(last):
            raise TrainingStopped(f"{last}: {reason}; a new run copies it")

    def start(self, root: Path) -> int:
        """Load the newest checkpoint, the base model or random weights; returns the number of finished steps."""
        settings = self.recipe.checkpoints
        if self.first and settings.copy_to is not None:
            self.copies = Copies(settings.copy_to, self.job.folder, settings.keep_last)
        self.saver = Saver(root, settings, self._saved)
        found = self.saver.resume()
        if self.copies is not None and found.checkpoint is not None:
            self.copies.send(found.checkpoint.name)
        if found.checkpoint is None and self.recipe.resume_from is not None:
            found = newest(checkpoints(Path(self.recipe.resume_from, CHECKPOINTS)))
            if found.checkpoint is None:
                raise TrainingStopped(f"resume_from: {self.recipe.resume_from} has no checkpoints")
        if found.checkpoint is None or self.recipe.lora is not None:
            self._begin()
        if found.checkpoint is None:
            self.history = History(origin=self._origin())
            return 0
        self.history = History(**checkpoint.load(found.checkpoint, self.chunks, self.optimizer, self.scheduler))
        self._compare(found.checkpoint)
        for name, reason in found.broken.items():
            self.history.failed_saves.append(
                {"step": step_of(name), "reason": f"broken when training resumed: {reason}"}
            )
        step = len(self.history.losses)
        if step < self.recipe.steps:
            self.history.resumed_from.append(step)
        return step

    def _begin(self) -> None:
        """Load the base or draw random weights. Checkpoints of adapters are without the model below them."""
        if self.job.base is None:
            draw_weights(self.chunks, self.job.seed)
        else:
            checkpoint.load_model(self.job.base, self.chunks)
            draw_adapters(self.chunks, self.job.seed)
        self.optimizer.reload_model_params()

    def _origin(self) -> Row:
        """What the sequences of a step follow from."""
        files = json.dumps(self.job.train.sources, sort_keys=True)
        return {
            "mixture": hashlib.sha256(f"{self.job.mixture} {files}".encode()).hexdigest()[:12],
            "sequence": self.recipe.sequence,
            "tokenizer": self.job.vocabulary.fingerprint,
            "batch": self.recipe.batch.total,
            "seed": self.job.seed,
        }

    def _compare(self, resumed: Path) -> None:
        """Refuse to go on with other sequences than those that the checkpoint would have seen, unless asked for."""
        before, now = self.history.origin, self._origin()
        changed = [key for key in now if before[key] != now[key] and key not in self.recipe.accept_changes]
        if changed:
            told = ", ".join(f"{key} {before[key]} → {now[key]}" for key in changed)
            go_on = f"To go on all the same, set {self.job.section}.accept_changes=[{', '.join(changed)}]"
            anew = f"To train anew, delete {resumed.parent}"
            raise TrainingStopped(
                f"{resumed} was trained with other data: {told}. {go_on if self.recipe.resume_from else anew}"
            )
        before.update(now)

    def _saved(self, saved: Saved) -> None:
        row = asdict(saved)
        self.unsaved = row.pop("reason")
        if self.unsaved is None:
            self.history.saves.append(row)
            if self.copies is not None:
                self.copies.send(folder_of(self.job.folder, saved.step).name)
        else:
            self.history.failed_saves.append({"step": saved.step, "reason": self.unsaved})

    def _copy(self, wait: bool = False) -> dict[str, str]:
        """Go on copying checkpoints to object storage. A copy that fails is told, and training goes on."""
        failed = self.copies.poll(wait) if self.copies is not None else {}
        for name, reason in failed.items():
            self.history.failed_saves.append({"step": step_of(name), "reason": reason})
        return failed

    def step(self, step: int) -> bool:
        """Do a step of training and write its row; steps count from 0. Returns whether some rank was asked to stop."""
        started, self.phases = time.monotonic(), {}
        with self._phase("data"):
            batches = self.batches.of(step)
        with self._phase("forward_backward"):
            for model in self.models:
                model.train()
                model.zero_grad_buffer()
            self.optimizer.zero_grad()
            sums = self._passes(batches, training=True)
            (total, tokens, asked) = self._summed(sums, float(self.job.stop()))
        loss = total / tokens if tokens else math.nan
        # The schedule starts at rate zero; stepping it before the update wastes no step on that.
        self.scheduler.step(increment=1)
        with self._phase("optimizer"):
            norm, skipped = self._update(step, loss)
        seconds = time.monotonic() - started
        speed = self.recipe.batch.total * self.recipe.sequence / seconds
        self.history.losses.append(
            {
                "step": step + 1,
                "loss": loss,
                "lr": self.optimizer.param_groups[0]["lr"],
                "grad_norm": norm,
                "seconds": round(seconds, 4),
                "tokens_per_second": round(speed, 1),
                "mfu": self._mfu(speed),
                "memory_gb": round(_peak_memory() / 1e9, 3),
                "skipped": skipped,
                "phases": self.phases,
            }
        )
        if skipped_too_often(self.recipe.guard, self.history.losses):
            raise TrainingStopped(
                f"{self.recipe.guard.skips} of the last steps were spikes, up to step {step + 1}; look at their "
                f"documents, lower {self.job.section}.optimizer.lr, or raise {self.job.section}.guard"
            )
        return asked > 0

    def _update(self, step: int, loss: float) -> tuple[float, bool]:
        """Update the weights unless the guard objects. Returns the gradient's norm and whether the step was skipped."""
        self.optimizer.prepare_grads()
        norm = float(self.optimizer.get_grad_norm())
        if fault := not_finite(loss, norm):
            documents = self._documents(step)
            raise TrainingStopped(
                f"{fault} at step {step + 1}, before any update by it; checkpoints are kept. "
                f"The step has {len(documents)} documents: {_listed(documents)}"
            )
        if found := spike(self.recipe.guard, self.history.losses, loss, norm):
            self.history.spikes.append({"step": step + 1, **asdict(found), "documents": self._documents(step)})
            return norm, True
        for part in getattr(self.optimizer, "chained_optimizers", [self.optimizer]):
            if weights := part.get_parameters():
                clip_grad_by_total_norm_fp32(weights, self.recipe.optimizer.clip, norm)
        self.optimizer.step_with_ready_grads()
        return norm, False

    @torch.no_grad()
    def validate(self, step: int) -> None:
        """Measure the held-out losses. After a resume, the row of this step may already exist."""
        if any(row["step"] == step for row in self.history.validation):
            return
        for model in self.models:
            model.eval()
        row = {"step": step, "sources": {source: self._held_out(data) for source, data in self.held_out.items()}}
        self.history.validation.append(row)
        if self.metrics is not None:
            self.metrics.validated(row)

    def _held_out(self, data: HeldOutData) -> Row:
        micro, parallel = self.recipe.batch.micro, self.recipe.parallel
        # Interleaved schedules want a multiple of the pipeline's length; what lies beyond the end is masked.
        unit = micro * (parallel.pipeline if parallel.interleave > 1 else 1)
        share = -(-data.sequences // (self.ranks * unit)) * unit
        first = self.rank * share
        batches = [
            collate((data[number] for number in range(start, start + micro)), self.eod)
            for start in range(first, first + share, micro)
        ]
        total, tokens, _ = self._summed(self._passes(batches, training=False))
        loss = total / tokens
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700)),
            "bits_per_byte": total / math.log(2) / data.bytes if data.bytes else None,
            "tokens": data.tokens,
            "bytes": data.bytes,
        }

    def _passes(self, batches: Sequence[Sample], training: bool) -> list[torch.Tensor]:
        """The sums of losses and tokens of each micro-batch, on the last stage of the pipeline; else none."""
        several = len(self.models) > 1
        iterators = [iter(batches) for _ in self.models]
        return get_forward_backward_func()(
            forward_step_func=self._forward,
            data_iterator=iterators if several else iterators[0],
            model=self.models if several else self.models[0],
            num_microbatches=len(batches),
            seq_length=self.recipe.sequence,
            micro_batch_size=self.recipe.batch.micro,
            forward_only=not training,
        )

    def _forward(self, batches: Iterator[Sample], model: torch.nn.Module) -> tuple[torch.Tensor, Callable[..., Any]]:
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in next(batches).items()}
        output = model(batch["tokens"], None, batch.get("bounds"), labels=batch["labels"], loss_mask=batch["mask"])
        return output, partial(sums_of, batch["mask"], self.unit)

    def _summed(self, sums: Sequence[torch.Tensor], asked: float = 0) -> tuple[float, float, float]:
        """Loss and tokens over all ranks, and whether any rank was asked to stop; the same on every rank."""
        mine = torch.zeros(3, dtype=torch.float64, device=self.device)
        if sums:
            mine[:2] = torch.stack(list(sums)).sum(0)
        mine[2] = asked
        dist.all_reduce(mine)
        mine[:2] /= self.recipe.parallel.tensor
        total, tokens, stop = mine.tolist()
        return total, tokens, stop

    def _mfu(self, tokens_per_second: float) -> float | None:
        """The share of the GPUs' peak; None on CPUs and unknown GPUs."""
        gpu = gpu_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        if gpu is None:
            return None
        recipe = self.recipe
        flops = flops_per_token(recipe.model, self.job.vocabulary.vocab_size, recipe.sequence, recipe.lora)
        return round(mfu(tokens_per_second, flops, dist.get_world_size(), gpu.peak), 4)

    def _documents(self, step: int) -> list[Row]:
        """The documents of a step, from the first rank; the others do not look."""
        if not self.first:
            return []
        return self.job.documents([span for number in self.batches.numbers(step) for span in self.data.spans(number)])

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - started, 4)

    def _tell(self) -> None:
        """Write the row of the last step to PROGRESS and the metrics, for whoever watches the run."""
        if self.metrics is not None:
            row = self.history.losses[-1]
            replace(self.job.folder / PROGRESS, json.dumps(row).encode())
            self.metrics.observe(row)
            self.job.observe(row)


def _listed(documents: Sequence[Row], most: int = 5) -> str:
    names = [f"{row['id']} ({row['source']}, {row['url'] or 'no URL'})" for row in documents[:most]]
    return ", ".join(names) + (", …" if len(documents) > most else "")


def _peak_memory() -> float:
    """Bytes of this worker so far: on the GPU if there is one, else in main memory."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
