# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecasts as artefacts: bands and peaks in Parquet, scenarios as an array that is read as far as it is used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.forecast import Forecast, Outline, SeriesReport
from ..estate.scenarios import WindowScenarios
from ..estate.serialise import from_data, to_data
from ..estate.series import SeriesKey
from .errors import ArtefactMissing, BadArtefact
from .files import Files
from .forecast_tables import read_bands, read_peaks, write_bands, write_peaks
from .metric_file import DamagedFile
from .names import check_id
from .records import read_json, write_json
from .scenario_file import read_scenarios, write_scenarios

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER = "forecasts"
LATEST = "latest"
_META = "meta.json"
_SERIES = "series.json"
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
        write_scenarios(self._files, folder, forecast.scenarios)
        write_json(self._files, f"{folder}/{_SERIES}", _series(forecast, order))
        write_json(self._files, f"{folder}/{_META}", _meta(forecast_id, forecast))

    def find(self, forecast_id: str) -> str:
        """Return the id itself, or that of the newest for ``latest``; raises `ArtefactMissing`.

        Who reads several parts asks for the id first, so that all are of one forecast.
        """
        found = self.latest() if forecast_id == LATEST else forecast_id
        if found is None or not self.exists(found):
            raise ArtefactMissing(f"{self._files.location} holds no forecast {forecast_id!r}", advice=_ADVICE)
        return found

    def read(self, forecast_id: str, keys: Iterable[SeriesKey] | None = None) -> Forecast:
        """Return the forecast of ``keys`` (None: all), sorted by key; keys it does not have are left out.

        ``latest`` stands for the newest. Only the parts of the files that hold those keys are read; `outline`,
        `peaks` and `scenarios` read less. Raises `ArtefactMissing` or `BadArtefact`, as they do.
        """
        wanted = None if keys is None else set(keys)
        with self._reading(forecast_id) as folder:
            outline = self._outline(folder)
            described = read_json(self._files, f"{folder}/{_SERIES}")
            series = [item for item in described if wanted is None or _key(item) in wanted]
            found = tuple(_key(item) for item in series)
            with self._files.open(f"{folder}/steps.parquet") as source:
                bands = read_bands(
                    source, found, outline.origin_ts, outline.step_s, outline.horizon_steps, outline.levels
                )
            peaks = self._peaks(folder, found, outline.peak_levels)
            return Forecast(
                keys=found,
                origin_ts=outline.origin_ts,
                step_s=outline.step_s,
                mean=bands[..., 0],
                sd=bands[..., 1],
                quantiles=bands[..., 2:],
                peak_mean=peaks[:, 0],
                peak_sd=peaks[:, 1],
                peak_quantiles=peaks[:, 2:],
                reports=tuple(from_data(SeriesReport, item) for item in series),
                scenarios=read_scenarios(self._files, folder, wanted),
                levels=outline.levels,
                peak_levels=outline.peak_levels,
                abstained={key: why for key, why in outline.abstained.items() if wanted is None or key in wanted},
                facts=dict(outline.facts),
            )

    def outline(self, forecast_id: str) -> Outline:
        """Return when the forecast begins, how far it goes, and what it leaves out, without reading any series."""
        with self._reading(forecast_id) as folder:
            return self._outline(folder)

    def peaks(self, forecast_id: str, keys: Iterable[SeriesKey]) -> dict[SeriesKey, dict[float, float]]:
        """Return the quantiles of the maximum over the horizon by key and level, for the keys that it has."""
        asked = tuple(keys)
        with self._reading(forecast_id) as folder:
            levels = self._outline(folder).peak_levels
            rows = self._peaks(folder, asked, levels).tolist()
        return {
            key: dict(zip(levels, quantiles, strict=True))
            for key, (mean, _sd, *quantiles) in zip(asked, rows, strict=True)
            if not math.isnan(mean)
        }

    def scenarios(self, forecast_id: str, keys: Iterable[SeriesKey] | None = None) -> WindowScenarios:
        """Return only the scenarios of `read`, without its bands: what placement needs, in a fraction of the time."""
        with self._reading(forecast_id) as folder:
            return read_scenarios(self._files, folder, None if keys is None else set(keys))

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

    def _outline(self, folder: str) -> Outline:
        meta = read_json(self._files, f"{folder}/{_META}")
        return Outline(
            origin_ts=meta["origin_ts"],
            step_s=meta["step_s"],
            horizon_steps=meta["horizon_steps"],
            levels=tuple(meta["levels"]),
            peak_levels=tuple(meta["peak_levels"]),
            abstained={_key(item): item["reason"] for item in meta["abstained"]},
            facts=meta["facts"],
        )

    def _peaks(self, folder: str, keys: Sequence[SeriesKey], levels: Sequence[float]) -> NDArray[np.float32]:
        with self._files.open(f"{folder}/peaks.parquet") as source:
            return read_peaks(source, keys, levels)

    def _finished_ts(self, name: str) -> float | None:
        for entry in self._files.files(f"{FOLDER}/{name}"):
            if entry.name == _META:
                return entry.modified_ts
        return None

    @contextmanager
    def _reading(self, forecast_id: str) -> Iterator[str]:
        """Give the forecast's folder; what goes wrong inside is a damaged artefact."""
        folder = f"{FOLDER}/{self.find(forecast_id)}"
        try:
            yield folder
        except (DamagedFile, FileNotFoundError, KeyError, TypeError, ValueError) as exc:
            raise BadArtefact(
                f"The forecast {self._files.location}/{folder} is damaged: {exc}", advice="Make the forecast again."
            ) from exc


def _key(item: Mapping[str, Any]) -> SeriesKey:
    return SeriesKey(item["entity_kind"], item["entity_id"], item["metric"])


def _series(forecast: Forecast, order: Sequence[int]) -> list[dict[str, Any]]:
    """Return how each series was forecast, in ``order``."""
    return [{**forecast.keys[at]._asdict(), **to_data(forecast.reports[at])} for at in order]


def _meta(forecast_id: str, forecast: Forecast) -> dict[str, Any]:
    return {
        "forecast_id": forecast_id,
        "origin": to_iso(forecast.origin_ts),
        "origin_ts": forecast.origin_ts,
        "step_s": forecast.step_s,
        "horizon_steps": forecast.horizon_steps,
        "levels": forecast.levels,
        "peak_levels": forecast.peak_levels,
        "abstained": [{**key._asdict(), "reason": reason} for key, reason in sorted(forecast.abstained.items())],
        "facts": to_data(forecast.facts),
    }
