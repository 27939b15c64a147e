# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under LEDGER."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  ledger:
    description:
      - The database that holds reservations, as an SQLAlchemy URL, C(sqlite:////absolute/path.db) or
        C(postgresql+psycopg://user@host/database).
      - All controllers that reserve on the same estate must share one ledger.
      - Leave the password out of the URL and give it in E(PGPASSWORD) or a password file.
      - The default is C(ledger.db) in O(store), which must then be a local folder.
      - If not set, the environment variable E(FORESIGHT_LEDGER) is used.
    type: str
"""
