# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sla option is taken exactly or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Sla
from ansible_collections.foresight.migration.plugins.module_utils.estate.sla import sla_from


@pytest.mark.parametrize("options", [None, {}, {"max_downtime_ms": None, "blackout": None, "soft": None}])
def test_nothing_given_is_no_limit(options: dict[str, Any] | None) -> None:
    assert sla_from(options) == Sla()


def test_every_limit_is_taken_over() -> None:
    window = {"start": "2026-03-01T08:00:00Z", "end": "2026-03-01T09:00:00+00:00"}
    found = sla_from({"max_downtime_ms": 250, "blackout": [window], "soft": ["blackout"]})
    assert found == Sla(max_downtime_ms=250.0, blackout=((1772352000.0, 1772355600.0),), soft=frozenset({"blackout"}))


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"max_downtime_ms": -1}, "sla.max_downtime_ms"),
        ({"max_duration_s": float("nan")}, "sla.max_duration_s"),
        ({"max_overload_probability": 1.5}, "sla.max_overload_probability"),
        ({"soft": ["downtime"]}, "sla.soft"),
        ({"blackout": [{"start": "2026-03-01T09:00Z", "end": "2026-03-01T08:00Z"}]}, "sla.blackout"),
        ({"blackout": [{"start": "tonight", "end": "2026-03-01T08:00Z"}]}, "sla.blackout.start"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_by_name(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        sla_from(options)
    assert caught.value.details["option"] == option
