# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choosing hosts and VMs by JMESPath."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.selection import select

HOSTS = tuple(
    Host("lab", f"h{cores}", f"host-{cores}", "kvm", "up", Resources(cores, 1024), labels=labels)
    for cores, labels in ((4, {"rack": "a"}), (8, {"rack": "b"}), (16, {}))
)


@pytest.mark.parametrize(
    ("expression", "cores"),
    [
        ("capacity.cpu_cores >= `8`", [8, 16]),
        ("labels.rack == 'a'", [4]),
        ("labels.rack", [4, 8]),
        ("labels.rack && starts_with(labels.rack, 'b')", [8]),
        ("!contains(['host-4'], name)", [8, 16]),
        ("used", []),
    ],
)
def test_items_are_chosen_for_which_the_expression_holds(expression: str, cores: list[int]) -> None:
    assert [host.capacity.cpu_cores for host in select(HOSTS, expression, "filter")] == cores


@pytest.mark.parametrize("expression", ["", "name ==", "nothing(name)", "starts_with(labels.rack, 'a')", "{{ 7 }}"])
def test_an_expression_that_cannot_be_put_names_the_option(expression: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        select(HOSTS, expression, "filter")
    assert caught.value.details["option"] == "filter"
