# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How forecasts that have come due turned out, one file per forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .files import Files
from .names import check_id
from .records import read_json, write_json


class ForecastScores:
    """Scores by forecast. Ids begin with the forecast's time, so their order is that of time."""

    FOLDER = "scores"

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, forecast_id: str, scores: Sequence[Mapping[str, Any]]) -> None:
        """Store the JSON-able scores of one forecast's series."""
        write_json(self._files, f"{self.FOLDER}/{check_id(forecast_id, 'forecast_id')}.json", list(scores))

    def ids(self) -> list[str]:
        """Return the ids of the forecasts that have scores, sorted."""
        return [entry.name.removesuffix(".json") for entry in self._files.files(self.FOLDER)]

    def read(self, forecast_id: str) -> list[dict[str, Any]]:
        """Return the scores of that forecast's series; raises FileNotFoundError, or `BadArtefact` for damage."""
        path = f"{self.FOLDER}/{check_id(forecast_id, 'forecast_id')}.json"
        return [dict(item) for item in read_json(self._files, path)]
