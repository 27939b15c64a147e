# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes network weights as a Python module, the only kind of file that reaches a running module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.weights.codec import pack

WIDTH = 110
TEMPLATE = '''# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Weights of {what}: base85 of an .npz, written by tools/train (see docs/model-card.md)."""

from __future__ import annotations

WEIGHTS = (
{lines}
)
'''


def write_weights(path: Path, arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Write ``arrays`` to ``path`` as a module with the constant ``WEIGHTS``."""
    text = pack(arrays)
    lines = "\n".join(f'    "{text[at : at + WIDTH]}"' for at in range(0, len(text), WIDTH))
    path.write_text(TEMPLATE.format(what=what, lines=lines), encoding="ascii")
    print(f"{path.name}: {len(text) / 1024:.0f} KiB of text, {sum(array.size for array in arrays.values())} numbers")
