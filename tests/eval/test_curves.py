"""The curves and tables of a training: what it learned, what it forgot, where it went wrong."""

import math
import re
from typing import Any

import pytest

from eval import curves, numbers
from eval.summary import layout
from tests.eval.paged import EVIL, cells, changed, measured, page_of, run, section, words

STEPS = 40


def step(number: int, **more: Any) -> dict[str, Any]:
    """A row of the history."""
    return {
        "step": number,
        "loss": 2.6 - number / 100,
        "lr": 2e-4,
        "grad_norm": 1.5,
        "seconds": 14.0,
        "tokens_per_second": 140.0 + number,
        "mfu": None,
        "memory_gb": 3.0 + number / 100,
        "skipped": False,
        "phases": {"data": 0.1, "forward_backward": 9.8, "optimizer": 0.1, "checkpoint": 0.0},
    } | more


LEARNED = {0: 12.07, 20: 10.5, 40: 9.66}
FORGOTTEN = {0: 20.0, 20: 21.0, 40: 20.5}
"""Perplexities by step."""


def history(**more: Any) -> dict[str, Any]:
    """Figures of a training that learns guidelines, and forgets at first what replay shows."""
    validation = [
        {
            "step": n,
            "sources": {"guidelines": measured(math.log(LEARNED[n])), "replay": measured(math.log(FORGOTTEN[n]))},
        }
        for n in LEARNED
    ]
    return {
        "losses": [step(n) for n in range(1, STEPS + 1)],
        "validation": validation,
        "spikes": [],
        "saves": [],
        "failed_saves": [],
        "resumed_from": [],
    } | more


def part(**more: Any) -> Any:
    """The section of the training in a page."""
    return section(page_of(changed("pretrain", history(**more))), "pretrain")


def picture(of: Any, begins: str) -> Any:
    (found,) = of.xpath(f".//svg[starts-with(@aria-label, '{begins}')]")
    return found


def test_base_and_adapted_model_stand_side_by_side_by_source() -> None:
    guidelines, replay = (
        [words(cell) for cell in row] for row in part().xpath(".//table[contains(caption, 'Held-out text')]/tbody/tr")
    )
    assert guidelines[:6] == ["guidelines", "2.491", "2.268", "12.07", "9.66", "−20.0 %"]
    assert replay[3:6] == ["20.00", "20.50", "+2.5 %"]
    bits = [math.log2(12.07) / 4, math.log2(9.66) / 4]
    assert guidelines[6:] == [f"{bits[0]:.4f}", f"{bits[1]:.4f}", f"−{(1 - bits[1] / bits[0]) * 100:.1f} %"]


def test_what_is_learned_lies_below_the_base_model_and_what_is_forgotten_above() -> None:
    drawn = picture(part(), "Change of perplexity")
    label = drawn.get("aria-label")
    assert "guidelines from 0.000 to -19.967" in label
    assert "replay from 0.000 to 2.500" in label
    curve = dict(zip(("guidelines", "replay"), _paths(drawn), strict=True))
    heights = {name: [float(place.split()[1]) for place in path.split("L")] for name, path in curve.items()}
    # y grows downwards.
    assert heights["guidelines"] == sorted(heights["guidelines"])
    assert heights["replay"][1] < heights["replay"][2] < heights["replay"][0]


def _paths(drawn: Any) -> list[str]:
    return [path.removeprefix("M") for path in drawn.xpath("path[contains(@class, 'line ')]/@d")]


@pytest.mark.parametrize("begins", ["loss, nats", "perplexity", "bits per byte"])
def test_each_measure_has_a_curve_by_source(begins: str) -> None:
    drawn = picture(part(), f"Validation, {begins}")
    assert len(_paths(drawn)) == 2
    assert len(drawn.xpath("circle")) == 2 * len(LEARNED)


def test_a_source_without_bytes_has_no_bits_per_byte() -> None:
    sources = {"replay": measured(2.0) | {"bits_per_byte": None, "bytes": 0}}
    found = part(validation=[{"step": 0, "sources": sources}, {"step": 40, "sources": sources}])
    (row,) = cells(found, "Held-out text")[-1:]
    assert row["bits per byte before"] == "–"
    assert row["change"] == "–"


def test_a_source_that_was_not_measured_at_the_start_has_no_change() -> None:
    validation = [{"step": 0, "sources": {}}, {"step": 40, "sources": {"replay": measured(2.0)}}]
    found = part(validation=validation)
    assert "replay" not in picture(found, "Change of perplexity").get("aria-label")
    assert "replay – 2.000 – 7.39 –" in words(found)


def test_skipped_steps_failed_saves_and_resumes_are_marked() -> None:
    losses = [step(n, skipped=n == 7) for n in range(1, STEPS + 1)]
    document = {"id": "d1", "source": "guidelines", "url": f"https://example.org/{EVIL}"}
    spike = {"step": 7, "what": "gradient norm", "value": 91.0, "limit": 12.5, "documents": [document]}
    found = part(
        losses=losses, spikes=[spike], failed_saves=[{"step": 20, "reason": "no space left"}], resumed_from=[10]
    )
    drawn = picture(found, "Training loss")
    assert drawn.get("aria-label").endswith("skipped at step 7, resumed at step 10, save failed at step 20")
    assert len(drawn.xpath("path[@class='mark']")) == 3
    assert len(picture(found, "Norm of the gradient").xpath("path[@class='mark']")) == 1
    (row,) = cells(found, "Steps that pretrain skipped")
    assert (row["step"], row["what"], row["value"], row["limit"]) == ("7", "gradient norm", "91", "12.5")
    assert row["documents"].startswith("guidelines https://example.org/<script>")
    assert not found.xpath(".//script")
    assert cells(found, "Checkpoints that pretrain could not save") == [{"step": "20", "reason": "no space left"}]
    assert "steps skipped 1" in words(found)


def test_speed_memory_and_phases_are_told_and_mfu_where_it_is_known() -> None:
    found = part(saves=[{"step": 40, "stall": 0.25, "seconds": 3.0, "bytes": 10}])
    assert picture(found, "Tokens a second").get("aria-label").endswith("from 141.000 to 180.000")
    text = words(found)
    assert "peak memory of a worker 3.40 GB" in text
    assert "time by phase data 1.0 %, forward and backward 98.0 %, optimizer 1.0 %, checkpoint 0.0 %" in text
    assert "longest stall of a save 0.2 s" in text
    assert "MFU" not in text
    on_gpu = part(losses=[step(n, mfu=0.05 if n == 1 else 0.45) for n in range(1, STEPS + 1)])
    assert "MFU, median 45.0 %" in words(on_gpu)
    assert picture(on_gpu, "Model FLOPs utilization").get("aria-label").endswith("from 5.000 to 45.000")


def test_a_training_without_rows_has_no_curves() -> None:
    assert curves.median(history(losses=[]), "mfu") is None
    assert curves.time_by_phase(history(losses=[])) == ""
    assert "No training step was logged" in words(part(losses=[]))


@pytest.mark.parametrize(
    ("parallel", "said"),
    [
        ({"tensor": 1, "data": 1}, "1 worker: tensor parallel 1, data parallel 1"),
        (
            {
                "tensor": 4,
                "pipeline": 2,
                "interleave": 2,
                "data": 16,
                "sequence_parallel": True,
                "distributed_optimizer": False,
            },
            "128 workers: tensor parallel 4, pipeline parallel 2, data parallel 16, interleave 2, sequence parallel",
        ),
    ],
)
def test_the_layout_is_told_in_words(parallel: dict[str, Any], said: str) -> None:
    assert layout({"parallel": parallel}) == said
    assert said in words(section(page_of(changed("pretrain", {"parallel": parallel})), "pretrain"))


def test_a_change_has_a_sign_and_none_where_there_is_no_base() -> None:
    said = [numbers.change(*pair) for pair in ((9.0, 10.0), (10.3, 10.0), (1.0, None), (None, 1.0), (1.0, 0.0))]
    assert [re.sub("\u00a0", " ", word) for word in said] == ["−10.0 %", "+3.0 %", "–", "–", "–"]
    assert numbers.change(math.nan, 1.0) == "–"


def test_the_made_up_run_has_every_key_of_the_history() -> None:
    figures = run().steps["pretrain"].figures
    assert history().keys() <= figures.keys()
    assert step(1).keys() - {"mfu"} <= figures["losses"][0].keys()
