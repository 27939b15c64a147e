# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The forecast's page as a real browser shows it, with names chosen by hostile guests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.chart import Panel
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast_report import (
    Picture,
    write_report,
)
from matplotlib import image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEVELS = (0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975)
HOSTILE = "<script>document.title='owned'</script>{{ 7*7 }} $x$ \u202e &amp; 日本"
BLUE, VERMILLION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


@pytest.fixture
def pages() -> list[Picture]:
    ahead = 3 + np.sin(np.arange(288) / 40)[:, None] + np.linspace(-1, 1, len(LEVELS))
    panel = Panel(
        "cpu", "cores", 1_770_000_000.0, 300, np.full(288, 3.0), ahead, LEVELS, (4.5, 5.5), "global",
        ((HOSTILE, 1_770_010_000.0, 1_770_020_000.0),),
    )  # fmt: skip
    return [Picture(HOSTILE, "VM", (panel, panel), (f"1: {HOSTILE}",))]


def browse(page: Path, *options: str) -> str:
    """Open ``page`` and return what the browser printed."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; as root, make prerequisites installs it")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")  # containers have little of that
    command = [CHROMIUM, *flags, f"--user-data-dir={page.parent}/profile"]
    done = subprocess.run(
        [*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True, cwd=page.parent
    )
    return done.stdout


def test_the_page_shows_names_as_text_and_runs_nothing(pages: list[Picture], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert write_report(str(page), pages, "Forecast")
    shown = browse(page, "--dump-dom")
    assert "<title>Forecast</title>" in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "{{ 7*7 }} $x$" in shown
    assert "http://" not in shown.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_bands_and_peak_are_drawn_in_colours_that_everybody_can_tell_apart(
    pages: list[Picture], tmp_path: Path
) -> None:
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    write_report(str(page), pages, "Forecast")
    browse(page, f"--screenshot={shot}", "--window-size=1280,900", "--hide-scrollbars")
    pixels = (image.imread(shot)[:, :, :3] * 255).round()
    assert pixels.shape[:2] == (900, 1280)
    for colour in (BLUE, VERMILLION):
        assert (np.abs(pixels - colour).max(axis=2) < 40).sum() > 100
    drawn = (pixels.min(axis=2) < 250).mean(axis=1)
    assert drawn.max() > 0.5, "the charts span the page"


def test_the_same_forecast_gives_the_same_file(pages: list[Picture], tmp_path: Path) -> None:
    for name in ("report.html", "report.png"):
        path = tmp_path / name
        assert write_report(str(path), pages, "Forecast")
        first = path.read_bytes()
        assert not write_report(str(path), pages, "Forecast")
        assert path.read_bytes() == first
