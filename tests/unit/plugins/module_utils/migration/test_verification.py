# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is concluded from what both sides say."""

from __future__ import annotations

from typing import cast

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Driver,
    EndpointUnreachable,
    Whereabouts,
)
from ansible_collections.foresight.migration.plugins.module_utils.migration.verification import (
    VERDICTS,
    Place,
    judge,
    look,
    verify,
)
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock
from hypothesis import given
from hypothesis import strategies as st

AWAY = EndpointUnreachable("no answer")
RUNNING = (Whereabouts("u", "h", "running"),)
LEAVING = (Whereabouts("u", "h", "paused", active=False),)
ARRIVING = (Whereabouts("u", "h", "running", active=False),)
OFF = (Whereabouts("u", "h", "off"),)
PART = (Whereabouts("u", "h", "running", complete=False),)

answers = st.one_of(
    st.just(AWAY),
    st.lists(
        st.builds(
            Whereabouts,
            st.just("u"),
            st.sampled_from(["h", "other"]),
            st.sampled_from(["running", "paused", "off"]),
            st.booleans(),
        ),
        max_size=3,
    ),
)


@pytest.mark.parametrize(
    ("at_source", "at_destination", "verdict"),
    [
        ((), RUNNING, "arrived"),
        (LEAVING, RUNNING, "arrived"),
        (OFF, RUNNING, "arrived"),
        (AWAY, RUNNING, "arrived"),
        (RUNNING, (), "stayed"),
        (RUNNING, ARRIVING, "stayed"),
        (RUNNING, AWAY, "stayed"),
        (RUNNING, RUNNING, "both"),
        ((), (), "lost"),
        ((), AWAY, "unknown"),
        (AWAY, (), "unknown"),
        (AWAY, AWAY, "unknown"),
        (LEAVING, ARRIVING, "between"),
        (LEAVING, PART, "between"),
        (AWAY, PART, "unknown"),
    ],
)
def test_the_destination_is_trusted_and_silence_is_no_proof(
    at_source: object, at_destination: object, verdict: str
) -> None:
    assert judge(at_source, at_destination, "h", "h") == verdict  # type: ignore[arg-type]  # either kind of answer


@given(answers, answers)
def test_only_a_vm_seen_running_there_has_arrived(at_source: object, at_destination: object) -> None:
    verdict = judge(at_source, at_destination, "h", "h")  # type: ignore[arg-type]  # either kind of answer
    seen = at_destination if isinstance(at_destination, list) else []
    runs_there = any(place.host_id == "h" and place.active and place.power_state == "running" for place in seen)
    assert verdict in VERDICTS
    assert (verdict in ("arrived", "both")) == runs_there


class _Endpoint:
    """An endpoint that gives one prepared answer after the other, the last one for ever."""

    def __init__(self, name: str, *answers: object) -> None:
        self.name = name
        self._answers = list(answers)

    def locate(self, _vm_uuid: str) -> object:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, EndpointUnreachable):
            raise answer
        return answer


def _place(name: str, *answers: object, host_id: str = "h") -> Place:
    return Place(cast(Driver, _Endpoint(name, *answers)), host_id)


def test_both_sides_are_asked_until_they_agree() -> None:
    clock = SteppedClock()
    verdict = verify("u", _place("s", LEAVING, AWAY, ()), _place("d", ARRIVING, ARRIVING, RUNNING), clock)
    assert verdict.verdict == "arrived"
    assert clock.ts == 1.0


def test_asking_ends_at_the_limit() -> None:
    clock = SteppedClock()
    assert verify("u", _place("s", RUNNING), _place("d", RUNNING), clock, limit_s=5).verdict == "both"
    assert clock.ts == pytest.approx(5)


def test_a_vm_that_went_to_a_third_host_is_found_there() -> None:
    driver = cast(Driver, _Endpoint("vc", (Whereabouts("u", "third", "running"),)))
    verdict = look("u", Place(driver, "a"), Place(driver, "b"))
    assert (verdict.verdict, verdict.elsewhere) == ("elsewhere", "vc/third")


def test_the_evidence_says_who_was_asked_and_what_they_said() -> None:
    verdict = look("u", _place("s", AWAY), _place("d", RUNNING))
    assert verdict.evidence == ("destination d/h: running", "source s/h: no answer (endpoint_unreachable)")
    verdict = look("u", _place("s", LEAVING), _place("d", PART))
    assert verdict.evidence == (
        "destination d/h: running, part of its memory elsewhere",
        "source s/h: paused, not the one that runs",
    )
