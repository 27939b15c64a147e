# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arrow columns of numbers as NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def numbers(column: Any) -> NDArray[Any]:
    """Return an Arrow (chunked) array of numbers, not to be written to; gaps are NaN.

    Arrow's own ``to_numpy`` imports pandas where that is installed, which takes longer than most reads. It is used
    only for columns with gaps, which this collection never writes.
    """
    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False))
    return np.asarray(np.from_dlpack(array))
