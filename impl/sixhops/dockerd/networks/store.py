"""The documents of networks in the engine's state: one table, one transaction a change."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from sixhops.dockerd.networks.model import Network, network_from

if TYPE_CHECKING:
    from sixhops.dockerd.state import State

__all__ = ["NetworkStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created INTEGER NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID
"""


class NetworkStore:
    """The networks that the state knows."""

    def __init__(self, state: State) -> None:
        self._state = state
        with state.change() as database:
            database.execute(_SCHEMA)

    def all(self) -> list[Network]:
        """Return all networks, oldest first."""
        rows = self._state.rows("SELECT document FROM networks ORDER BY created")
        return [network_from(json.loads(str(row[0]))) for row in rows]

    def save(self, *networks: Network) -> None:
        """Write networks."""
        with self._state.change() as database:
            for network in networks:
                database.execute(
                    "INSERT OR REPLACE INTO networks VALUES (?, ?, ?, ?)",
                    (network.id, network.name, network.created, json.dumps(asdict(network))),
                )

    def remove(self, network: Network) -> None:
        """Forget a network."""
        with self._state.change() as database:
            database.execute("DELETE FROM networks WHERE id = ?", (network.id,))
