# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Network weights as text: a module receives no data files, so arrays travel as base85 of an ``.npz``."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def unpack(text: str) -> dict[str, NDArray[np.float32]]:
    """Return the arrays that `pack` made text of; nothing in it is ever executed (``allow_pickle`` is off)."""
    with np.load(io.BytesIO(base64.b85decode(text.encode("ascii"))), allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def pack(arrays: Mapping[str, NDArray[np.floating]]) -> str:
    """Return the arrays, rounded to half precision, as text without quotes, backslashes or line breaks."""
    buffer = io.BytesIO()
    halved: dict[str, Any] = {name: np.asarray(array, np.float16) for name, array in arrays.items()}
    np.savez_compressed(buffer, **halved)
    return base64.b85encode(buffer.getvalue()).decode("ascii")
