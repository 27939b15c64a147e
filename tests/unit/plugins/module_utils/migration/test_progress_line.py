# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The line that people read while a VM moves."""

from __future__ import annotations

from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import PHASES, Progress
from ansible_collections.foresight.migration.plugins.module_utils.migration.progress_line import (
    NAME_LENGTH,
    progress_line,
    shown_name,
)
from hypothesis import given
from hypothesis import strategies as st

figures = st.none() | st.floats(0, 1e7)


def _vm(name: str) -> Vm:
    return Vm("lab", "u", name, "lab/h", "running", Resources())


def test_the_line_shows_all_that_is_known() -> None:
    progress = Progress(
        "precopy", 5.0, percent=43.2, total_mib=2867, remaining_mib=1638, throughput_mib_s=310, dirty_mib_s=90
    )
    line, data = progress_line(_vm("web01"), progress)
    assert line == "web01  43 %  1.2 of 2.8 GiB  310 MiB/s  dirty 90 MiB/s  eta 7 s"
    assert data["eta_s"] == 1638 / 220


def test_what_is_not_known_is_left_out() -> None:
    assert progress_line(_vm("web01"), Progress("starting", 0.0))[0] == "web01  starting"
    assert progress_line(_vm("web01"), Progress("precopy", 9.0, percent=12.0))[0] == "web01  12 %"


def test_no_end_is_promised_while_the_rest_does_not_shrink() -> None:
    progress = Progress("precopy", 5.0, remaining_mib=100, throughput_mib_s=50, dirty_mib_s=60)
    assert "eta" not in progress_line(_vm("web01"), progress)[0]


@given(
    st.text(max_size=300),
    st.builds(
        Progress,
        st.sampled_from(PHASES),
        st.floats(0, 1e6),
        percent=figures,
        total_mib=figures,
        remaining_mib=figures,
        throughput_mib_s=figures,
        dirty_mib_s=figures,
    ),
)
def test_whatever_a_vm_is_called_it_stays_one_printable_line(name: str, progress: Progress) -> None:
    line, _data = progress_line(_vm(name), progress)
    assert line.isprintable()
    assert len(shown_name(_vm(name))) <= NAME_LENGTH
