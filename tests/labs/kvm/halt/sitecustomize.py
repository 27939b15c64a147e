# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops a module of a play at a chosen call, so that a test can kill the play right there.

Python runs this at its start where this folder is on PYTHONPATH. ``LAB_HALT_AT`` is ``FILE:FUNCTION:EVENT`` (``call``
or ``return``), optionally with ``:PHASE``, which the function's ``progress`` must be in; ``LAB_HALT_MARK`` is the file
that is made just before the process stops with SIGSTOP. Threads other than the main one are not watched.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def watch(place: str, mark: Path) -> None:
    """Stop this process when it comes to ``place``."""
    file, function, when, phase = (*place.split(":"), "")[:4]

    def look(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != when or code.co_name != function or not code.co_filename.endswith(file):
            return
        if phase and frame.f_locals["progress"].phase != phase:
            return
        sys.setprofile(None)
        mark.touch()
        os.kill(os.getpid(), signal.SIGSTOP)

    sys.setprofile(look)


if "LAB_HALT_AT" in os.environ:
    watch(os.environ["LAB_HALT_AT"], Path(os.environ["LAB_HALT_MARK"]))
