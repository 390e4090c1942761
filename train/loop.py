"""The training run of one worker, up to the last checkpoint. Its launcher has set up the process group."""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lake.files import replace
from train import checkpoint
from train.cpu import cudaless
from train.data import Shards, Tensors, Vocabulary, collate, micro_batches, training_data, validation_data
from train.history import CHECKPOINTS, PROGRESS, latest
from train.model import DTYPES, build, initialise
from train.recipe import Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state
    from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
    from megatron.core.distributed.finalize_model_grads import finalize_model_grads
    from megatron.core.models.gpt import GPTModel
    from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
    from megatron.core.pipeline_parallel import get_forward_backward_func

CACHE = "cache"


@dataclass(frozen=True)
class Job:
    """A training run. Checkpoints, indexes and progress go to `folder`, on a disk that all workers share."""

    recipe: Recipe
    seed: int
    vocabulary: Vocabulary
    train: Shards
    validation: Shards
    folder: Path


@dataclass(frozen=True)
class History:
    """One row for each step, one for each validation, and the steps from which training resumed.

    `losses`: {step, loss (nats per token), lr, grad_norm, seconds}; `validation`: {step, losses by source}. Validation
    row n was measured after n steps.
    """

    losses: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    resumed_from: list[int]


def train(job: Job) -> None:
    """Train to the last step of the recipe, from the newest checkpoint in the job's folder if there is one.

    torch's default process group must be up, with one rank for each worker of the recipe.
    """
    with cudaless():
        initialise(job.recipe.parallel.tensor, job.seed)
        try:
            Worker(job).run()
        finally:
            parallel_state.destroy_model_parallel()


class Worker:
    """One rank's share of the run."""

    def __init__(self, job: Job) -> None:
        recipe = job.recipe
        self.job = job
        self.first = dist.get_rank() == 0
        self.device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
        data = (recipe.sequence, job.vocabulary, _emptied(job.folder / CACHE), job.seed)
        self.train = training_data(job.train, recipe.steps * recipe.batch.total, *data)
        self.held_out = validation_data(job.validation, recipe.validation.sequences, *data)
        gpt = build(
            recipe.model, job.vocabulary.vocab_size, recipe.sequence, recipe.parallel.tensor, recipe.precision
        ).to(self.device)
        self.gpt: GPTModel = gpt
        self.model = DistributedDataParallel(gpt.config, DistributedDataParallelConfig(grad_reduce_in_fp32=True), gpt)
        gpt.config.finalize_model_grads_func = finalize_model_grads
        self.optimizer = _optimizer(recipe, self.model)
        gpt.config.grad_scale_func = self.optimizer.scale_loss
        self.scheduler = _scheduler(recipe, self.optimizer)
        self.history = History([], [], [])

    def run(self) -> None:
        recipe, root = self.job.recipe, self.job.folder / CHECKPOINTS
        step = self._resume(root)
        while step < recipe.steps:
            if step % recipe.validation.every == 0:
                self._validate(step)
            self._step(step)
            step += 1
            if step == recipe.steps:
                self._validate(step)
            self._write_progress()
            if step % recipe.checkpoints.every == 0 or step == recipe.steps:
                checkpoint.save(root, step, self.gpt, self.optimizer, self.scheduler, asdict(self.history))

    def _resume(self, root: Path) -> int:
        """Load the newest checkpoint and return the number of finished steps."""
        newest = latest(root)
        if newest is None:
            return 0
        state = checkpoint.load(newest, self.gpt, self.optimizer, self.scheduler)
        self.history = History(**state)
        step = len(self.history.losses)
        if step < self.job.recipe.steps:
            self.history.resumed_from.append(step)
        return step

    def _step(self, step: int) -> None:
        started = time.monotonic()
        batch = self.job.recipe.batch
        rank, ranks = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        self.model.train()
        self.model.zero_grad_buffer()
        self.optimizer.zero_grad()
        losses = get_forward_backward_func()(
            forward_step_func=self._forward,
            data_iterator=micro_batches(self.train, step, batch, rank, ranks),
            model=[self.model],
            num_microbatches=batch.total // batch.micro // ranks,
            seq_length=self.job.recipe.sequence,
            micro_batch_size=batch.micro,
            forward_only=False,
        )
        # The schedule starts at rate zero; stepping it before the update wastes no step on that.
        self.scheduler.step(increment=1)
        _, norm, _ = self.optimizer.step()
        self.history.losses.append(
            {
                "step": step + 1,
                "loss": _mean(losses),
                "lr": self.optimizer.param_groups[0]["lr"],
                "grad_norm": float(norm),
                "seconds": round(time.monotonic() - started, 4),
            }
        )

    @torch.no_grad()
    def _validate(self, step: int) -> None:
        """Measure the validation losses. After a resume, the row of this step may already exist."""
        if any(row["step"] == step for row in self.history.validation):
            return
        self.model.eval()
        losses = {source: self._validation_loss(data) for source, data in self.held_out.items() if len(data)}
        self.history.validation.append({"step": step, "losses": losses})

    def _validation_loss(self, data: Any) -> float:
        rank, ranks = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        sums = [torch.zeros(2, dtype=torch.float64)]
        for index in range(rank, len(data), ranks):
            output, loss = self._forward(iter([collate([data[index]])]), self.model)
            sums.append(loss(output)[2])
        return _mean(sums)

    def _forward(self, batches: Iterator[Tensors], model: torch.nn.Module) -> tuple[torch.Tensor, Callable[..., Any]]:
        batch = {name: tensor.to(self.device) for name, tensor in next(batches).items()}
        output = model(batch["tokens"], batch["position_ids"], None, labels=batch["labels"])
        return output, partial(_loss, batch["loss_mask"])

    def _write_progress(self) -> None:
        """Write the row of the last step to PROGRESS, for whoever watches the run."""
        if self.first:
            replace(self.job.folder / PROGRESS, json.dumps(self.history.losses[-1]).encode())


def _emptied(cache: Path) -> Path:
    """Empty the cache of indexes; all ranks call it together.

    A killed run may leave a cut index, which Megatron would trust. Building the same indexes again takes seconds.
    """
    if dist.get_rank() == 0:
        shutil.rmtree(cache, ignore_errors=True)
    dist.barrier()
    return cache


def _loss(mask: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sum of losses over unmasked tokens, the number of these tokens, and both as float64 for the history."""
    total = (output.float() * mask).sum()
    tokens = mask.sum()
    return total, tokens.to(torch.int), torch.stack([total.detach().double(), tokens.double()]).cpu()


def _mean(sums: list[torch.Tensor]) -> float:
    """The loss per token over all data-parallel ranks, from the sums of this rank."""
    total = torch.stack(sums).sum(0).to(torch.device("cuda") if torch.cuda.is_available() else "cpu")
    dist.all_reduce(total, group=parallel_state.get_data_parallel_group())
    return float(total[0] / total[1])


def _optimizer(recipe: Recipe, model: DistributedDataParallel) -> MegatronOptimizer:
    adamw = recipe.optimizer
    config = OptimizerConfig(
        optimizer="adam",
        lr=adamw.lr,
        min_lr=adamw.min_lr,
        weight_decay=adamw.weight_decay,
        adam_beta1=adamw.betas[0],
        adam_beta2=adamw.betas[1],
        adam_eps=adamw.eps,
        clip_grad=adamw.clip,
        bf16=recipe.precision == "bfloat16",
        params_dtype=DTYPES[recipe.precision],
    )
    return get_megatron_optimizer(config, [model])


def _scheduler(recipe: Recipe, optimizer: MegatronOptimizer) -> OptimizerParamScheduler:
    """The learning rate: linear up to `lr` at step `warmup`, then a cosine down to `min_lr` at the last step."""
    adamw = recipe.optimizer
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=adamw.lr,
        min_lr=adamw.min_lr,
        lr_warmup_steps=adamw.warmup,
        lr_decay_steps=recipe.steps,
        lr_decay_style="cosine",
        start_wd=adamw.weight_decay,
        end_wd=adamw.weight_decay,
        wd_incr_steps=recipe.steps,
        wd_incr_style="constant",
    )
