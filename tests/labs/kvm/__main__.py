# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab for people: ``python -m tests.labs.kvm up | down | status | guest NAME HOST`` from the repository's root."""

from __future__ import annotations

import argparse
import sys

from .guests import GuestSpec, start_guest
from .lab import lab_from_environment
from .packages import LabUnavailable


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.labs.kvm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring three hosts up")
    commands.add_parser("down", help="end them and remove every trace")
    commands.add_parser("status", help="tell what runs")
    guest = commands.add_parser("guest", help="start a guest")
    guest.add_argument("number", type=int, help="number of the guest, which gives its name and address (1-99)")
    guest.add_argument("host", type=int, help="number of the host (1-3)")
    guest.add_argument("--rate", type=int, default=0, help="MiB of memory rewritten per second")
    arguments = parser.parse_args()
    lab = lab_from_environment()
    try:
        if arguments.command == "up":
            lab.up()
        elif arguments.command == "down":
            lab.down()
        elif arguments.command == "guest":
            start_guest(lab, lab.hosts[arguments.host - 1], GuestSpec(arguments.number, rate_mib_s=arguments.rate))
    except LabUnavailable as exc:
        print(f"skipped: {exc}", file=sys.stderr)
        return 1
    for line in lab.status():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
