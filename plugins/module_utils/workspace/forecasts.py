# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecasts as artefacts: bands and peaks in Parquet, scenarios as an array that is read as far as it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..clock import to_iso
from ..estate.forecast import Forecast, SeriesReport
from ..estate.scenarios import WindowScenarios
from ..estate.serialise import from_data, to_data
from ..estate.series import SeriesKey
from .errors import ArtefactMissing, BadArtefact
from .files import Files
from .forecast_tables import read_bands, read_peaks, write_bands, write_peaks
from .metric_file import DamagedFile
from .names import check_id
from .records import read_json, write_json
from .scenario_file import SCENARIO_PLAN, read_scenarios, write_scenarios

FOLDER = "forecasts"
LATEST = "latest"
_META = "meta.json"
_ADVICE = "Make the forecast first (vm_forecast, role forecast), or check the store."


class Forecasts:
    """Finished forecasts by id. One whose ``meta.json`` is not there yet does not exist for readers."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, forecast_id: str, forecast: Forecast) -> None:
        """Store ``forecast`` under an id not used before; raises `InvalidOption` for an unusable id."""
        folder = f"{FOLDER}/{check_id(forecast_id, 'forecast_id')}"
        order = sorted(range(len(forecast.keys)), key=forecast.keys.__getitem__)
        self._files.write(f"{folder}/steps.parquet", write_bands(forecast, order))
        self._files.write(f"{folder}/peaks.parquet", write_peaks(forecast, order))
        write_scenarios(self._files, folder, forecast.scenarios, forecast.origin_ts)
        write_json(self._files, f"{folder}/{_META}", _meta(forecast_id, forecast, order))

    def read(self, forecast_id: str, keys: Iterable[SeriesKey] | None = None) -> Forecast:
        """Return the forecast of ``keys`` (None: all), sorted by key; keys it does not have are left out.

        ``latest`` stands for the newest. Only the parts of the files that hold those keys are read; who needs
        scenarios only reads `scenarios`. Raises `ArtefactMissing` or `BadArtefact`.
        """
        folder, wanted = self._existing(forecast_id), None if keys is None else set(keys)
        with self._reading(folder):
            meta = read_json(self._files, f"{folder}/{_META}")
            series = [item for item in meta["series"] if wanted is None or _key(item) in wanted]
            found = tuple(_key(item) for item in series)
            levels, peak_levels = tuple(meta["levels"]), tuple(meta["peak_levels"])
            with self._files.open(f"{folder}/steps.parquet") as source:
                bands = read_bands(source, found, meta["origin_ts"], meta["step_s"], meta["horizon_steps"], levels)
            with self._files.open(f"{folder}/peaks.parquet") as source:
                peaks = read_peaks(source, found, peak_levels)
            return Forecast(
                keys=found,
                origin_ts=meta["origin_ts"],
                step_s=meta["step_s"],
                mean=bands[..., 0],
                sd=bands[..., 1],
                quantiles=bands[..., 2:],
                peak_mean=peaks[:, 0],
                peak_sd=peaks[:, 1],
                peak_quantiles=peaks[:, 2:],
                reports=tuple(from_data(SeriesReport, item) for item in series),
                scenarios=read_scenarios(self._files, folder, wanted),
                levels=levels,
                peak_levels=peak_levels,
                abstained={
                    _key(item): item["reason"] for item in meta["abstained"] if wanted is None or _key(item) in wanted
                },
                facts=meta["facts"],
            )

    def scenarios(self, forecast_id: str, keys: Iterable[SeriesKey] | None = None) -> WindowScenarios:
        """Return only the scenarios of `read`, without its bands: what placement needs, in a fraction of the time."""
        folder = self._existing(forecast_id)
        with self._reading(folder):
            return read_scenarios(self._files, folder, None if keys is None else set(keys))

    def origin_ts(self, forecast_id: str) -> float:
        """Return when the forecast begins, in Unix seconds, without reading any of it."""
        folder = self._existing(forecast_id)
        with self._reading(folder):
            return float(read_json(self._files, f"{folder}/{SCENARIO_PLAN}")["origin_ts"])

    def exists(self, forecast_id: str) -> bool:
        """Return whether a finished forecast has that id."""
        return self._finished_ts(check_id(forecast_id, "forecast_id")) is not None

    def latest(self) -> str | None:
        """Return the id of the forecast that was finished last, None when there is none."""
        return next(iter(self.by_age()), None)

    def by_age(self) -> list[str]:
        """Return the ids of all finished forecasts, the newest first."""
        names = self._files.folders(FOLDER)
        finished = [(ts, name) for name in names if (ts := self._finished_ts(name)) is not None]
        return [name for _ts, name in sorted(finished, reverse=True)]

    def delete(self, forecast_id: str) -> None:
        """Remove that forecast; one that is gone already is fine."""
        folder = f"{FOLDER}/{check_id(forecast_id, 'forecast_id')}"
        self._files.delete(f"{folder}/{_META}")
        self._files.delete_folder(folder)

    def _existing(self, forecast_id: str) -> str:
        found = self.latest() if forecast_id == LATEST else forecast_id
        if found is None or not self.exists(found):
            raise ArtefactMissing(f"{self._files.location} holds no forecast {forecast_id!r}", advice=_ADVICE)
        return f"{FOLDER}/{found}"

    def _finished_ts(self, name: str) -> float | None:
        for entry in self._files.files(f"{FOLDER}/{name}"):
            if entry.name == _META:
                return entry.modified_ts
        return None

    @contextmanager
    def _reading(self, folder: str) -> Iterator[None]:
        try:
            yield
        except (DamagedFile, FileNotFoundError, KeyError, TypeError, ValueError) as exc:
            raise BadArtefact(
                f"The forecast {self._files.location}/{folder} is damaged: {exc}", advice="Make the forecast again."
            ) from exc


def _key(item: Mapping[str, Any]) -> SeriesKey:
    return SeriesKey(item["entity_kind"], item["entity_id"], item["metric"])


def _meta(forecast_id: str, forecast: Forecast, order: Sequence[int]) -> dict[str, Any]:
    return {
        "forecast_id": forecast_id,
        "origin": to_iso(forecast.origin_ts),
        "origin_ts": forecast.origin_ts,
        "step_s": forecast.step_s,
        "horizon_steps": forecast.horizon_steps,
        "levels": forecast.levels,
        "peak_levels": forecast.peak_levels,
        "series": [{**forecast.keys[at]._asdict(), **to_data(forecast.reports[at])} for at in order],
        "abstained": [{**key._asdict(), "reason": reason} for key, reason in sorted(forecast.abstained.items())],
        "facts": to_data(forecast.facts),
    }
