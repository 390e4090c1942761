"""Low-rank adapters: what is trained in place of the weights."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from lake.config import Settings

Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraSettings(Settings):
    """The section `finetune.lora` (Hu et al. 2021, arXiv 2106.09685).

    Each of the `targets`, by their Hugging Face names, gets two matrices of `rank`, whose product counts `alpha / rank`
    times.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32
    targets: tuple[Target, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )
