# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every operation of the driver, over every way of logging in: what goes out, and what comes back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.options import connections
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.runner import Runner
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.bootstrap import BOOTSTRAP
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Identity
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD, USER
from ansible_collections.foresight.migration.tests.labs.hyperv.operations import SCRIPTS

TRANSPORTS = ("basic", "ntlm", "ntlm over http", "certificate")
MARK = "v4lue-$(x)-{{y}}-\"'`é日本"
WEB = sites.vm_id(sites.WEB)
MOVE = {"vm_id": WEB, "addresses": ["127.0.0.1"], "smb": False, "storage_path": None}
#: A key of a hash table as it is written, or set later.
KEYS = re.compile(r"(?:^|[;{])\s*(\w+) = |\$\w+(?:\[\$\w+\])?\.(\w+) \+?= ", re.MULTILINE)
#: Operation -> parameters with which each is tried, in an order that makes sense.
CALLS: Mapping[str, Mapping[str, Any]] = {
    "identify": {},
    "cluster": {},
    "host": {},
    "vms": {"vm_ids": []},
    "counters": {},
    "history": {
        "time_frame": "LastHour",
        "host_series": ["clusternode.cpu.usage"],
        "vm_ids": [WEB],
        "vm_series": ["vm.cpu.usage"],
    },
    "locate": {"vm_id": WEB},
    "migration_settings": {},
    "vm_for_move": {"vm_id": WEB},
    "tuning": {"vm_id": WEB},
    "set_tuning": {
        "vm_id": WEB,
        "notes": MARK,
        "cpu_reserve_percent": 10,
        "memory_minimum_bytes": None,
        "adapters": [],
        "disks": [],
    },
    "compare": {**MOVE, "destination": "node2.lab.test", "wait_s": 5.0},
    "start_move": {**MOVE, "destination": "NODE2", "clustered": True},
    "poll_move": {"vm_id": WEB},
    "cancel_move": {"vm_id": WEB, "clustered": True, "job_id": ""},
}


def test_every_shipped_operation_is_tried_here() -> None:
    assert list(SCRIPTS) == [name for name in SCRIPTS if name in CALLS]
    assert set(CALLS) == set(SCRIPTS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_operation_answers_and_leaves_no_shell(start: Callable[..., Lab], transport: str) -> None:
    lab = start(sites.failover_cluster(history_hours=1), transport)
    runner = Runner("cluster", connections(lab.endpoint("NODE1"))[0])
    for operation, parameters in CALLS.items():
        assert isinstance(runner.run(SCRIPTS[operation], parameters), dict)
    machine = lab.machine("NODE1")
    assert [name for name, unused in machine.operations.calls] == list(CALLS)
    assert machine.server.identities == [Identity(USER, transport.partition(" ")[0])]
    assert lab.site.vm(WEB).notes == MARK
    assert (lab.shells_opened(), lab.open_shells()) == (len(CALLS), 0)


def test_no_value_is_ever_part_of_a_script_or_of_a_command_line(start: Callable[..., Lab]) -> None:
    lab = start(sites.failover_cluster())
    runner = Runner("cluster", connections(lab.endpoint("NODE1"))[0])
    runner.run(SCRIPTS["set_tuning"], CALLS["set_tuning"])
    requests = [request.decode() for request in lab.machine("NODE1").server.requests]
    assert PASSWORD not in "".join(requests)
    lines = [request for request in requests if "rsp:CommandLine" in request]
    (encoded,) = re.findall(r"-EncodedCommand ([\w+/=]+)", "".join(lines))
    assert base64.b64decode(encoded).decode("utf-16-le") == BOOTSTRAP
    pieces = re.findall(r"<rsp:Stream [^>]*>([\w+/=]*)</rsp:Stream>", "".join(requests))
    call = json.loads(b"".join(base64.b64decode(piece) for piece in pieces))
    assert call["script"] == SCRIPTS["set_tuning"].text
    assert call["parameters"]["notes"] == MARK
    assert sorted(call) == ["frame", "host", "operation", "parameters", "script"]


def test_frames_differ_from_call_to_call_so_that_none_can_be_forged(start: Callable[..., Lab]) -> None:
    lab = start(sites.failover_cluster())
    runner = Runner("cluster", connections(lab.endpoint("NODE1"))[0])
    for _unused in range(3):
        runner.run(SCRIPTS["locate"], CALLS["locate"])
    sent = "".join(request.decode() for request in lab.machine("NODE1").server.requests)
    pieces = re.findall(r"<rsp:Stream [^>]*>([\w+/=]*)</rsp:Stream>", sent)
    assert len({json.loads(base64.b64decode(piece))["frame"] for piece in pieces}) == 3


@pytest.mark.parametrize("operation", CALLS)
def test_the_model_answers_with_the_keys_that_the_script_gives(start: Callable[..., Lab], operation: str) -> None:
    """So that the model and the scripts, of which none is executed, cannot drift apart."""
    site = sites.lone_hosts() if operation == "compare" else sites.failover_cluster(history_hours=1)
    lab = start(site)
    host = next(iter(site.hosts))
    runner = Runner("cluster", connections(lab.endpoint(host))[0])
    if operation in ("poll_move", "cancel_move"):
        runner.run(SCRIPTS["start_move"], CALLS["start_move"])
    answer = runner.run(SCRIPTS[operation], CALLS[operation])
    named = set(
        re.findall(r"(?:^|[;{])\s*(\w+) = |\$\w+(?:\[\$\w+\])?\.(\w+) \+?= ", SCRIPTS[operation].text, re.MULTILINE)
    )
    given = {name for pair in named for name in pair if name}
    assert set(keys(answer)) <= given


def keys(answer: Any) -> Iterator[str]:
    """Yield all keys of a JSON value."""
    if isinstance(answer, dict):
        yield from answer
        for value in answer.values():
            yield from keys(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from keys(value)
