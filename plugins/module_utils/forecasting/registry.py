# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every model by its name in playbooks."""

from __future__ import annotations

from ..errors import InvalidOption
from .arima import Arima
from .ets import Ets
from .global_network import GlobalNetwork
from .lstm import Lstm
from .members import MEMBERS
from .model import Model
from .prophet import Prophet
from .week_naive import WeekNaive

MODELS: dict[str, Model] = {
    model.NAME: model for model in (*MEMBERS, WeekNaive(), GlobalNetwork(), Lstm(), Arima(), Ets(), Prophet())
}
#: The name that asks for a choice per series.
AUTO = "auto"


def find_model(name: str) -> Model:
    """Return the model called ``name``; raises `InvalidOption` that lists the names there are."""
    if name not in MODELS:
        raise InvalidOption("model", f"unknown model {name!r}", advice=f"Known are {', '.join([AUTO, *MODELS])}.")
    return MODELS[name]
