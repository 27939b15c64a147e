# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many questions to many places at once, none of which can hold up the others for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from ..errors import ForesightError

T = TypeVar("T")

#: Questions under way at the same time.
PARALLEL_QUESTIONS = 16


class DeadlinePassed(ForesightError):
    """No complete answer came within the deadline for the whole question."""

    code = "deadline_passed"


def answer_all(
    questions: Mapping[str, Callable[[], T]], deadline_s: float | None = None
) -> dict[str, T | ForesightError]:
    """Ask all ``questions`` in parallel and return per name the answer or the `ForesightError` it raised.

    One that has not answered ``deadline_s`` seconds from now is given up as `DeadlinePassed`; its thread is left
    behind and does not keep the process alive. Any other exception is a defect and is raised here.
    """
    gate = threading.BoundedSemaphore(PARALLEL_QUESTIONS)
    answers: dict[str, Future[T]] = {name: Future() for name in questions}
    for name, question in questions.items():
        threading.Thread(target=_ask, args=(question, answers[name], gate), daemon=True, name=f"ask {name}").start()
    wait(answers.values(), timeout=deadline_s)
    return {name: _settled(name, answer, deadline_s) for name, answer in answers.items()}


def _ask(question: Callable[[], T], answer: Future[T], gate: threading.BoundedSemaphore) -> None:
    with gate:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
            answer.set_exception(error)


def _settled(name: str, answer: Future[Any], deadline_s: float | None) -> Any:
    if not answer.done():
        return DeadlinePassed(
            f"{name!r} has not answered completely within {deadline_s:g} s",
            advice="Raise deadline_s, or find out why it is slow.",
            details={"name": name, "deadline_s": deadline_s},
        )
    error = answer.exception()
    return error if isinstance(error, ForesightError) else answer.result()
