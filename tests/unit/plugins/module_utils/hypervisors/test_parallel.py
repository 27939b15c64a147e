# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many questions at once: each answered, failed or given up by itself."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.parallel import (
    PARALLEL_QUESTIONS,
    DeadlinePassed,
    answer_all,
)


def fail() -> str:
    raise ForesightError("no")


def test_answers_and_failures_come_by_name_and_in_order() -> None:
    answers = answer_all({"a": lambda: "yes", "b": fail, "c": lambda: "too"})
    assert list(answers) == ["a", "b", "c"]
    assert (answers["a"], answers["c"]) == ("yes", "too")
    assert isinstance(answers["b"], ForesightError)


def test_a_question_without_an_answer_is_given_up_and_the_rest_is_kept() -> None:
    never = threading.Event()
    answers = answer_all({"slow": lambda: never.wait(60), "quick": lambda: True}, deadline_s=0.5)
    never.set()
    assert answers["quick"] is True
    slow = answers["slow"]
    assert isinstance(slow, DeadlinePassed)
    assert slow.details == {"name": "slow", "deadline_s": 0.5}


def test_a_defect_is_raised_and_not_taken_for_an_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        answer_all({"a": lambda: 1 / 0})


def test_they_are_asked_at_the_same_time_within_bounds() -> None:
    together = threading.Barrier(PARALLEL_QUESTIONS, timeout=30)
    answers = answer_all({str(number): together.wait for number in range(2 * PARALLEL_QUESTIONS)})
    assert not any(isinstance(answer, ForesightError) for answer in answers.values())


def test_a_thread_left_behind_does_not_keep_the_process_alive() -> None:
    code = """
import time
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.parallel import answer_all
answer_all({"stuck": lambda: time.sleep(600)}, deadline_s=0.1)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
