# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs playbooks of this checkout on a small simulated estate, as separate processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
#: A play of one module; its result is written out even in check mode.
ONE_TASK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - {module}:
{arguments}
      register: answer
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{{{ answer | to_json }}}}"
        dest: "{{{{ answer_path }}}}"
        mode: "0600"
      check_mode: false
"""
MAIN_JOB = "foresight.migration.preallocate_and_migrate"


@dataclass(frozen=True)
class Estate:
    """A simulated estate in ``folder`` with a store of its own; ``endpoint`` is what playbooks are given."""

    folder: Path
    endpoint: Mapping[str, Any]

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def ledger(self) -> str:
        return f"sqlite:///{self.store}/ledger.db"

    def variables(self, **extra: Any) -> dict[str, Any]:
        return {"foresight_endpoints": [self.endpoint], "foresight_store": str(self.store), **extra}


@dataclass(frozen=True)
class Truth:
    """What is so on the simulated hypervisor and in the ledger, read past all modules."""

    hosts_of: Mapping[str, tuple[str, ...]]
    active_moves: int
    moves: int
    holds: int
    active_reservations: int
    reservation_states: tuple[str, ...]


def truth(estate: Estate) -> Truth:
    """Read the state file of the estate and its ledger directly.

    ``hosts_of`` maps each VM that was ever moved to the hosts on which it was, in order.
    """
    hosts_of: dict[str, tuple[str, ...]] = {}
    with closing(sqlite3.connect(estate.endpoint["state_path"])) as state:
        for uuid, host in state.execute("SELECT vm_uuid, host_id FROM placements ORDER BY seq"):
            hosts_of[uuid] = (*hosts_of.get(uuid, ()), host)
        active_moves = state.execute("SELECT COUNT(*) FROM jobs WHERE active").fetchone()[0]
        moves = state.execute("SELECT COUNT(*) FROM jobs").fetchone()[0]
        holds = state.execute("SELECT COUNT(*) FROM holds").fetchone()[0]
    states: tuple[str, ...] = ()
    if (estate.store / "ledger.db").exists():
        with closing(sqlite3.connect(estate.store / "ledger.db")) as ledger:
            states = tuple(
                row[0] for row in ledger.execute("SELECT state FROM ledger_reservations ORDER BY created_ts")
            )
    return Truth(hosts_of, active_moves, moves, holds, states.count("active"), states)


def environment(collections: Path) -> dict[str, str]:
    """Return a clean environment in which this checkout is the collection."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "FORESIGHT_"))}
    return {
        **kept,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }


@pytest.fixture(scope="session")
def collections() -> Path:
    """The folder that holds ansible_collections."""
    return Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])


def write_scenario(folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Write a scenario: one crowded host, two with room, one in maintenance; demand is constant."""
    scenario = {
        "version": 1,
        "clock": {"start": "2026-03-02T20:00:30Z", "mode": "stepped", "speed": 0},
        "history": {"hours": 72},
        "hosts": [
            _host("kvm1"),
            _host("kvm2"),
            _host("kvm3"),
            _host("kvm4", state="maintenance"),
        ],
        "vms": [
            _vm("web01", "kvm1", cpu_cores=5.0, memory_mib=6000),
            _vm("db01", "kvm1", cpu_cores=4.5, memory_mib=8000),
            _vm("idle{n}", "kvm2", count=4, cpu_cores=0.2, memory_mib=500),
            _vm("batch01", "kvm3", cpu_cores=5.5, memory_mib=4000),
        ],
        **(changes or {}),
    }
    path = folder / "scenario.yml"
    path.write_text(yaml.safe_dump(scenario, allow_unicode=True), encoding="utf-8")
    return path


def _host(name: str, **extra: Any) -> dict[str, Any]:
    return {
        "name": name,
        "family": "kvm",
        "capacity": {"cpu_cores": 8, "memory_mib": 32768, "network_mbit_s": 10000, "disk_mib_s": 2000},
        "networks": ["lan"],
        "storages": ["shared"],
        "migration_link_mbit_s": 10000,
        **extra,
    }


def _vm(name: str, host: str, *, cpu_cores: float, memory_mib: float, **extra: Any) -> dict[str, Any]:
    return {
        "name": name,
        "host": host,
        "allocated": {"cpu_cores": 6, "memory_mib": 8192},
        "demand": {"cpu_cores": cpu_cores, "memory_mib": memory_mib, "network_mbit_s": 20, "disk_mib_s": 5},
        "networks": ["lan"],
        "storages": ["shared"],
        **extra,
    }


@pytest.fixture
def make_estate(tmp_path: Path) -> Callable[..., Estate]:
    """Builds a simulated estate in a folder of its own."""

    def make(changes: Mapping[str, Any] | None = None) -> Estate:
        scenario = write_scenario(tmp_path, changes)
        return Estate(
            tmp_path,
            {"name": "lab", "type": "simulated", "scenario": str(scenario), "state_path": str(tmp_path / "state.db")},
        )

    return make


@pytest.fixture
def read_truth() -> Callable[[Estate], Truth]:
    """Reads what is really so."""
    return truth


class Playbook:
    """Starts ansible-playbook in a process group of its own, with ``environment``."""

    def __init__(self, folder: Path, collections: Path) -> None:
        self._folder = folder
        self.environment = environment(collections)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, playbook: str, variables: Mapping[str, Any], *arguments: str) -> subprocess.Popen[str]:
        """Start a playbook and return its process; its output (stderr included) is in ``stdout``."""
        extra = self._folder / f"variables-{len(self._started)}.json"
        extra.write_text(json.dumps(dict(variables)), encoding="utf-8")
        process = subprocess.Popen(
            [str(ANSIBLE_PLAYBOOK), playbook, "-e", f"@{extra}", *arguments],
            cwd=self._folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, playbook: str, variables: Mapping[str, Any], *arguments: str) -> tuple[int, str]:
        """Run a playbook to its end and return (exit code, output)."""
        process = self.start(playbook, variables, *arguments)
        output = process.communicate(timeout=300)[0]
        return process.returncode, output

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a playbook and, at once, all that it has started; its workers have process groups of their own."""
        family = _stopped_family(process.pid)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=30)

    def kill_all(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            self.kill(process)


def _stopped_family(pid: int) -> list[int]:
    """Stop a process and all its descendants, each before it is asked for its children; return their ids."""
    family, waiting = [], [pid]
    while waiting:
        member = waiting.pop()
        try:
            os.kill(member, signal.SIGSTOP)
            tasks = sorted(Path(f"/proc/{member}/task").iterdir())
            children = [(task / "children").read_text().split() for task in tasks]
        except (ProcessLookupError, FileNotFoundError):
            continue  # it has ended by itself, and its children belong to nobody whom we started
        family.append(member)
        waiting += [int(child) for of_task in children for child in of_task]
    return family


@pytest.fixture
def playbook(tmp_path: Path, collections: Path) -> Iterator[Playbook]:
    """Runs playbooks; whatever still runs afterwards is killed."""
    runner = Playbook(tmp_path, collections)
    yield runner
    runner.kill_all()


class _Literally(yaml.SafeDumper):
    """Writes every string so that Ansible takes it literally, whatever braces it holds."""


def _unsafe(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("!unsafe", text, style='"')


_Literally.add_representer(str, _unsafe)


@pytest.fixture
def module(playbook: Playbook, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs one module and returns its result, failed or not."""

    def run(name: str, arguments: Mapping[str, Any], *options: str) -> dict[str, Any]:
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        literal = yaml.dump(dict(arguments), Dumper=_Literally, allow_unicode=True)
        source = tmp_path / "one-task.yml"
        source.write_text(
            ONE_TASK.format(module=f"foresight.migration.{name}", arguments=textwrap.indent(literal, " " * 8)),
            encoding="utf-8",
        )
        code, output = playbook.run(str(source), {"answer_path": str(answer)}, *options)
        if not answer.exists():
            raise AssertionError(f"ansible-playbook ended with {code}:\n{output}")
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return result

    return run


@pytest.fixture
def estate(make_estate: Callable[..., Estate], module: Callable[..., dict[str, Any]]) -> Estate:
    """A simulated estate that was collected and forecast."""
    made = make_estate()
    common = {"endpoints": [dict(made.endpoint)], "store": str(made.store)}
    for name, arguments in (("vm_metrics_facts", {}), ("vm_forecast", {"horizon_hours": 6})):
        answer = module(name, {**common, **arguments})
        assert not answer.get("failed"), answer
    return made
