# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab for people: up, down, status, guest NUMBER HOST, loop. To be run from the repository's root."""

from __future__ import annotations

import argparse
import importlib
import sys
import time

import libvirt

importlib.import_module("tests.conftest")  # makes this checkout importable as the collection
from .guests import GuestSpec, Heartbeats, start_guest  # noqa: E402
from .lab import Lab, all_labs, lab_from_environment  # noqa: E402
from .packages import LabUnavailable  # noqa: E402


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.labs.kvm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring three hosts up")
    down = commands.add_parser("down", help="end them and remove every trace")
    down.add_argument("--all", action="store_true", help="those of tests that were killed too")
    commands.add_parser("status", help="tell what runs")
    guest = commands.add_parser("guest", help="start a guest")
    guest.add_argument("number", type=int, help="number of the guest, which gives its name and address (1-99)")
    guest.add_argument("host", type=int, help="number of the host (1-3)")
    guest.add_argument("--rate", type=int, default=0, help="MiB of memory rewritten per second")
    loop = commands.add_parser("loop", help="move a guest round a lab of its own")
    loop.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    lab = lab_from_environment()
    try:
        if arguments.command == "loop":
            return go_round(arguments.rounds)
        if arguments.command == "up":
            lab.up()
        elif arguments.command == "down":
            for each in (lab, *(all_labs() if arguments.all else ())):
                each.down()
        elif arguments.command == "guest":
            start_guest(lab, lab.hosts[arguments.host - 1], GuestSpec(arguments.number, rate_mib_s=arguments.rate))
    except LabUnavailable as exc:
        print(f"skipped: {exc}", file=sys.stderr)
        return 1
    for line in lab.status():
        print(line)
    return 0


def go_round(rounds: int) -> int:
    """Move a writing guest A-B-C-A and check it after each move; returns the number of moves that failed."""
    lab, spec, failed = Lab("loop"), GuestSpec(1, rate_mib_s=20), 0
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
    try:
        lab.up()
        start_guest(lab, lab.hosts[0], spec)
        with Heartbeats(lab) as heartbeats:
            for move in range(3 * rounds):
                source, target = lab.hosts[move % 3], lab.hosts[(move + 1) % 3]
                since = time.monotonic()
                connection = libvirt.open(source.uri)
                connection.lookupByUUIDString(spec.uuid).migrateToURI3(target.peer_uri, {}, flags)
                connection.close()
                took_s = time.monotonic() - since
                heartbeats.next_beat(spec.name)
                life = heartbeats.life(spec.name, since)
                well = (life.reruns, life.bad_pages, life.io_errors) == (0, 0, 0)
                failed += not well
                print(
                    f"{move + 1:3} {source.name} -> {target.name} {took_s:5.1f} s, silent {life.silence_ms:4.0f} ms, "
                    f"{'well' if well else 'DAMAGED'}",
                    flush=True,
                )
    finally:
        lab.down()
    return failed


if __name__ == "__main__":
    sys.exit(main())
