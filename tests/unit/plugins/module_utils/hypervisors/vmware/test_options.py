# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A move's own options for this driver: what is misspelt is refused rather than ignored."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.preflight import of_options


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({}, set()),
        ({"priority": "low", "datastore": "ds1"}, set()),
        ({"priorty": "low"}, {"option_unknown"}),
        ({"priority": "hihg"}, {"option_invalid"}),
        ({"priority": ["low"]}, {"option_invalid"}),
        ({"priority": "", "pool": "x"}, {"option_unknown", "option_invalid"}),
    ],
)
def test_options_are_known_and_of_a_known_value(options: dict[str, Any], codes: set[str]) -> None:
    findings = list(of_options(MoveOrder("uuid", "host-1", "", options=options)))
    assert {finding.code for finding in findings} == codes
    assert all(finding.blocking for finding in findings)
