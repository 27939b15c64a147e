# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Prometheus server of its own: filled before it starts, TLS and basic authentication on, gone afterwards."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.foresight.migration.tests.labs.loopback import free_port, make_certificate

START_DEADLINE_S = 60.0
USERNAME = "foresight"
PASSWORD = "s3cret-{{x}}"
#: bcrypt of PASSWORD with the lowest cost, as tests log in often.
_PASSWORD_HASH = "$2b$04$ZfxAN0DH1PVc7FmqrsSoQ.lovV9xxGeGDy/aeUnuWdcu1bEMgjZ1O"


class Series(NamedTuple):
    """One series to fill the server with: metric name, labels, and (Unix seconds, value) pairs."""

    metric: str
    labels: Mapping[str, str]
    samples: Iterable[tuple[float, float]]


def missing_programs() -> list[str]:
    """Return the programs that this lab needs and the machine does not have."""
    return [name for name in ("prometheus", "promtool", "openssl") if shutil.which(name) is None]


class PrometheusServer:
    """A running server; ``options`` are what a playbook gives to reach it."""

    def __init__(self, folder: Path, arguments: Iterable[str]) -> None:
        self._folder = folder
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.ca_path = folder / "server.crt"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a source that reads this server."""
        return {
            "name": "prom",
            "type": "prometheus",
            "url": f"https://localhost:{self.port}",
            "auth": {"username": USERNAME, "password": PASSWORD},
            "ca_path": str(self.ca_path),
        }

    def fill(self, series: Iterable[Series]) -> None:
        """Write blocks of samples, as a scraping server would have stored them."""
        (self._folder / "data").mkdir()
        text = self._folder / "samples.txt"
        text.write_text(_open_metrics(series), encoding="utf-8")
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, self._folder / "data"],
            check=True, capture_output=True,
        )  # fmt: skip

    def start(self) -> None:
        """Start the server and return when it is ready."""
        make_certificate(self._folder)
        (self._folder / "prometheus.yml").write_text("scrape_configs: []\n")
        (self._folder / "web.yml").write_text(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
            f"basic_auth_users:\n  {USERNAME}: {_PASSWORD_HASH}\n"
        )
        with open(self._folder / "server.log", "wb") as log:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={self._folder / 'prometheus.yml'}",
                 f"--web.config.file={self._folder / 'web.yml'}", f"--web.listen-address=127.0.0.1:{self.port}",
                 f"--storage.tsdb.path={self._folder / 'data'}", "--storage.tsdb.retention.time=100y",
                 *self._arguments],
                stdout=log, stderr=log, cwd=self._folder,
            )  # fmt: skip
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=START_DEADLINE_S)

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        context = ssl.create_default_context(cafile=str(self.ca_path))
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                urllib.request.urlopen(f"https://localhost:{self.port}/-/ready", timeout=5, context=context)
            except urllib.error.HTTPError as answer:
                with answer:
                    if answer.code == 401:  # it answers, and wants a login, which is what this lab is for
                        return
            except OSError:  # refused, reset or without an answer: not ready
                pass
            log = (self._folder / "server.log").read_text(errors="replace")
            assert self._process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)


@contextmanager
def running(folder: Path, series: Iterable[Series], *arguments: str) -> Iterator[PrometheusServer]:
    """Give a running server that holds ``series``; ``arguments`` are added to its command line."""
    server = PrometheusServer(folder, arguments)
    server.fill(series)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _open_metrics(series: Iterable[Series]) -> str:
    """Return OpenMetrics text; series of one metric must stand together."""
    lines = []
    for metric, labels, samples in sorted(series, key=lambda one: one.metric):
        named = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        lines += [f"{metric}{{{named}}} {value!r} {ts:.3f}" for ts, value in samples]
    return "\n".join([*lines, "# EOF\n"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
