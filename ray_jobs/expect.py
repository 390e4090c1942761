"""What a run will take, before it runs: estimated and said to be so, measured where a step has run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.inputs import raw_files
from lake.step import Step

if TYPE_CHECKING:
    from ray_jobs.pipeline import Pipeline

BYTES_PER_TOKEN = 4.2
"""English medical text under a BPE tokenizer of 32,000 ids."""

VOCABULARY = 32_000
"""As long as the tokenizer is not there to be asked."""

GZIP = 3.2
"""How much larger text is than its gzip."""

# Start-up seconds, and MB of raw text a second on two cores of a laptop; pretraining and evaluation are reckoned apart.
SPEED = {
    "read": (5.0, 12.0),
    "clean": (10.0, 4.0),
    "tokenizer": (4.0, 4.0),
    "dedup": (20.0, 3.0),
    "decontaminate": (4.0, 6.0),
    "mix": (6.0, 200.0),
    "shard": (6.0, 4.0),
}
TRAIN_START, TRAIN_FLOPS = 30.0, 30e9
EVALUATE_START, QUESTION_SECONDS = 45.0, 0.2
OTHER_SECONDS = 15.0


@dataclass(frozen=True)
class Forecast:
    """Bytes and tokens to go through, and seconds by step."""

    raw_bytes: int
    tokens: int
    tokens_from: str
    seconds: dict[str, float]
    seconds_from: str


def forecast(config: "Pipeline", steps: dict[str, Step]) -> Forecast:
    """Expected tokens and times. A step that is done gives its own figures."""
    files = [path for _, path in raw_files(config.read, config.data)]
    size = sum(round(path.stat().st_size * (GZIP if path.suffix == ".gz" else 1)) for path in files)
    tokenizer = steps["tokenizer"]
    if tokenizer.done:
        tokens, source = int(tokenizer.manifest().figures["tokens"]), "counted"
    else:
        tokens, source = round(size / BYTES_PER_TOKEN), f"estimated at {BYTES_PER_TOKEN} bytes a token"
    done = {name: step.manifest().seconds for name, step in steps.items() if step.done}
    seconds = {name: done.get(name, _expected(name, size, config)) for name in steps}
    said = "as measured" if len(done) == len(steps) else "estimated for two cores, measured where a step is done"
    return Forecast(size, tokens, source, seconds, said)


def _expected(name: str, size: int, config: "Pipeline") -> float:
    if name in SPEED:
        start, speed = SPEED[name]
        return start + size / speed / 1e6
    if name == "pretrain":
        recipe = config.pretrain
        # Six floating-point operations a parameter and token: forward, and twice as many backward.
        return TRAIN_START + 6.0 * recipe.model.parameters(VOCABULARY) * recipe.tokens / TRAIN_FLOPS
    if name == "evaluate":
        return EVALUATE_START + QUESTION_SECONDS * sum(one.limit or 1000 for one in config.evaluate.benchmarks)
    return OTHER_SECONDS
