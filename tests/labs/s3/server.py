# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An object store that speaks S3 on a free port of loopback, gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.foresight.migration.tests.labs.loopback import free_port

START_DEADLINE_S = 60.0
#: What its clients must have in their environment; moto accepts any credentials.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab", "AWS_EC2_METADATA_DISABLED": "true"}


class ObjectStore:
    """A running server. `store` is what a playbook gives as store."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process

    def store(self, bucket: str, prefix: str = "some/prefix") -> str:
        """Return the URL of a store in ``bucket``."""
        return f"s3://{bucket}/{prefix}?endpoint_override=http://127.0.0.1:{self.port}&region=us-east-1"

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=START_DEADLINE_S):
            return

    def stop(self) -> None:
        """Stop the server; safe to call twice."""
        self._process.terminate()
        self._process.wait(timeout=START_DEADLINE_S)

    def wait_until_it_answers(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
            except OSError:  # refused, reset or without an answer: not ready
                assert self._process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
            else:
                return


@contextmanager
def running() -> Iterator[ObjectStore]:
    """Give a running server."""
    port = free_port()
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT}
    )
    server = ObjectStore(port, process)
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.stop()
