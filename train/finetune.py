"""The settings of fine-tuning. They become a recipe, so the loop is that of pretraining."""

import math
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from lake.config import explain
from lake.error import UserError
from lake.values import Count, NotNegative, Positive, ShareBelowAll
from train.recipe import Adam, AdamW, Batch, Llama, Recipe, Training, Validation


class FinetuneAdamW(Adam):
    """With a warm-up over this share of the steps before the decay."""

    lr: Positive = 2e-5
    min_lr: NotNegative = 2e-6
    warmup: ShareBelowAll = 0.1


class FinetuneSettings(Training):
    """The section `finetune`. Its defaults are those of MEDITRON (Chen et al. 2023, arXiv 2311.16079).

    Each row of instructions is seen once in each of `epochs`; their length is that of `instructions.sequence`. Only
    answers are validated, on rows that are held out. Training starts from the `continued` model or from its `base`.
    """

    epochs: Count = 3
    batch: Batch = Batch(total=64, micro=1)
    optimizer: FinetuneAdamW = FinetuneAdamW()
    validation: Validation = Validation(every=100, sequences=256)
    start: Literal["continued", "base"] = "continued"

    @model_validator(mode="before")
    @classmethod
    def _without_decay(cls, given: Any) -> Any:
        """On adapters, whose B begins at zero, decay is not usual."""
        if not isinstance(given, dict) or given.get("lora") is None:
            return given
        optimizer = {} if given.get("optimizer") is None else given["optimizer"]
        return given | {"optimizer": {"weight_decay": 0.0} | optimizer} if isinstance(optimizer, dict) else given

    def recipe(self, model: Llama, rows: int, sequence: int) -> Recipe:
        """The recipe for so many rows of `sequence` tokens; the last step may lack rows.

        Raises:
            UserError: there is no row, or the layout does not fit the model or the rows.
        """
        if not rows:
            raise UserError("finetune: no row of instructions is left to train on; look at why they were dropped")
        steps = math.ceil(self.epochs * rows / self.batch.total)
        rates = {name: getattr(self.optimizer, name) for name in Adam.model_fields}
        shared = {name: getattr(self, name) for name in Training.model_fields}
        warmup = int(self.optimizer.warmup * steps)
        try:
            return Recipe(
                **shared | {"optimizer": AdamW(**rates, warmup=warmup)}, model=model, sequence=sequence, steps=steps
            )
        except ValidationError as error:
            raise UserError(f"finetune: {explain(error, Recipe)}") from None
