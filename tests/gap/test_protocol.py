"""`gap protocol`: every difference of two protocols is shown, and nothing else is marked."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eval.protocol import PROTOCOLS, load_protocol
from eval.task import TASKS, load_task
from gap.protocol import compared, protocol
from lake import bundled

TEXTS = st.lists(st.sampled_from(["a", "b ", "", "c", "- d"]), max_size=8).map("\n".join)


def shown(*words: str) -> list[str]:
    done = CliRunner().invoke(protocol, words)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_blanks_and_instructions_that_differ_are_marked() -> None:
    lines = shown("strict", "lm-eval")
    assert "- Each question has one right option." in lines
    assert {"- B. Pancreas", "+ B. Pancreas·", "  A. Liver", "  Answer:"} <= set(lines)
    assert any(line.split() == ["control_tokens", '"text"', '"parsed"'] for line in lines)


def test_a_protocol_does_not_differ_from_itself() -> None:
    lines = shown("meditron", "meditron", "pubmedqa", "--shots", "--mode", "thought", "--chat")
    assert all(line.startswith("  ") for line in lines)
    assert sum("<|im_start|>" in line for line in lines) == 5


def test_the_first_shots_of_a_group_are_told() -> None:
    lines = shown("strict", "lm-eval", "mmlu-medical", "--shots")
    assert any(line.split() == ["draw", '"set"', '"first"'] for line in lines)
    assert "+ The following are multiple choice questions (with answers) about anatomy." in lines


def test_a_mode_that_a_protocol_lacks_is_one_line() -> None:
    done = CliRunner().invoke(protocol, ["strict", "lm-eval", "--mode", "thought"])
    assert done.exit_code == 2
    assert done.output == (
        "gap: MedQA-4: the protocol lm-eval has no way thought; its ways are letters, cloze, number answer\n"
    )


@pytest.mark.parametrize("task", bundled.names(TASKS))
@pytest.mark.parametrize("name", bundled.names(PROTOCOLS))
def test_every_task_has_an_example_in_every_protocol_that_asks_it(name: str, task: str) -> None:
    loaded, kind = load_protocol(name), load_task(task).kind
    if kind in loaded.templates:
        assert len(shown(name, name, task, "--shots")) > 3


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_from_the_lines(left: str, right: str) -> None:
    lines = [line.replace("·", " ") for line in compared(left, right)]
    assert "\n".join(line[2:] for line in lines if line[0] != "+") == left
    assert "\n".join(line[2:] for line in lines if line[0] != "-") == right
