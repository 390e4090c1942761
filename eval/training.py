"""Training questions of benchmarks as chats. A model learns to say what evaluation asks of it, in the same words."""

from collections.abc import Iterator
from pathlib import Path

from eval.prompts import Form, Messages
from eval.protocol import load_protocol, protocol_file
from eval.questions import Question, load_training, training_files
from eval.settings import BenchmarkSettings, Mode
from eval.task import load_task
from lake.decision import Drop, Reason
from lake.error import UserError

WHERE = "evaluate.benchmarks"
"""How messages about questions begin, which is not where these come from."""


class Training:
    """The training questions of a task, to be asked in one way.

    Args:
        where: The key of the config, for messages.
        files: Paths below the folder `data`; without any, those of the task's solved questions.

    Raises:
        UserError: there is no such task or protocol, or the protocol has no way to ask this.
    """

    def __init__(self, where: str, task: str, files: tuple[str, ...], mode: Mode, protocol: str, data: str) -> None:
        self.where, self.data = where, data
        try:
            load_protocol(protocol).way(load_task(task), mode)
        except UserError as error:
            raise self._own(error) from None
        self.benchmark = BenchmarkSettings(task=task, files=files, mode=mode, protocol=protocol, chat=True)

    def files(self) -> list[Path]:
        """The files that decide what `chats` gives.

        Raises:
            UserError: there is none.
        """
        try:
            return [*training_files(self.benchmark, self.data), protocol_file(self.benchmark.protocol)]
        except UserError as error:
            raise self._own(error) from None

    def chats(self) -> Iterator[tuple[Question, Messages | Drop]]:
        """Each record with its chat, or why there is none. A way that shows explanations takes only records with one.

        Raises:
            UserError: a file is missing, broken, or in no form that the task describes.
        """
        try:
            questions = load_training(self.benchmark, self.data)
        except UserError as error:
            raise self._own(error) from None
        protocol = load_protocol(self.benchmark.protocol)
        for question in questions:
            yield question, question.drop or self._chat(Form.of(protocol, self.benchmark, question), question)

    def _chat(self, form: Form, question: Question) -> Messages | Drop:
        if "{explanation}" in form.way.shot and not question.explanation.strip():
            return Drop(Reason.MISSING_FIELD, f"{question.id}: no explanation")
        return form.solved(question)

    def _own(self, error: UserError) -> UserError:
        return UserError(f"{self.where}: {str(error).removeprefix(f'{WHERE}: ')}")
