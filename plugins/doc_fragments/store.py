# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under STORE."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store:
    description:
      - Where data lives between tasks (metrics, estate snapshots, forecasts), as a folder or as C(s3://bucket/prefix).
      - An object store on another address than Amazon's is given as C(s3://bucket/prefix?endpoint_override=https://host:port).
      - In an execution environment, which is thrown away after each job, point it outside.
      - If not set, the environment variable E(FORESIGHT_STORE) is used.
    type: str
    default: ~/.foresight
"""
