"""The engine's metadata: one SQLite file in write-ahead mode, one writer, one transaction a change.

What is in it is what must survive a restart: layers, images, their names, and containers. Files (layer trees, logs) are
beside it; a row is written only after its files are whole, and removed before they go, so a crash leaves at worst files
that nobody names, which `layers.sweep` and `containers` remove at the next start.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["State"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (
    chain_id TEXT PRIMARY KEY, parent TEXT NOT NULL, diff_id TEXT NOT NULL,
    cache_id TEXT NOT NULL UNIQUE, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT NOT NULL, diff_id TEXT NOT NULL, PRIMARY KEY (digest, diff_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    number INTEGER PRIMARY KEY AUTOINCREMENT, diff_id TEXT NOT NULL, digest TEXT NOT NULL,
    repository TEXT NOT NULL, mark TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS sources_by_diff_id ON sources (diff_id);
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, config BLOB NOT NULL, chain_id TEXT NOT NULL,
    parent TEXT NOT NULL DEFAULT '', tagged REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (
    name TEXT PRIMARY KEY, repository TEXT NOT NULL, image TEXT NOT NULL REFERENCES images (id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS images_by_parent ON images (parent);
CREATE INDEX IF NOT EXISTS names_by_image ON names (image);
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class State:
    """The open database. Any thread may use it; calls take turns."""

    def __init__(self, path: Path) -> None:
        self._turn = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction: all of the block, or nothing of it when it raises."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *arguments: object) -> list[tuple[object, ...]]:
        """Return all rows of a query."""
        with self._turn:
            return self._connection.execute(query, arguments).fetchall()

    def row(self, query: str, *arguments: object) -> tuple[object, ...] | None:
        """Return the first row of a query, or None."""
        found = self.rows(query, *arguments)
        return found[0] if found else None

    def close(self) -> None:
        """Write everything into the main file and close it."""
        with self._turn:
            self._connection.close()
