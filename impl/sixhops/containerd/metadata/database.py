"""Metadata in SQLite: records by kind, namespace and key, and the resources that leases hold.

A record's value is the protobuf message that the API shows, so the schema need not know the messages. A namespace is there
from the first record in it until it is deleted, also when all else in it has gone. One connection, one
thread, write-ahead log. `synchronous=NORMAL`: a crash of the process loses nothing and the file is always consistent; a
power cut may take the last transactions, and what they spoke of (blobs without record, shims) is found and
removed at the next start. Blobs themselves are synced before they are recorded.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Database", "Record"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, parent TEXT NOT NULL DEFAULT '',
    number INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, namespace, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leased (
    namespace TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (namespace, lease, type, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
COLUMNS = "namespace, key, value, parent, number, sequence"
NAMESPACE = "namespace"
VERSION = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its key, the message's bytes, and for snapshots the parent's key and the directory's number.

    `sequence` is the number that makes the name of a snapshot or ingest unique in the store behind (`backend`).
    """

    namespace: str
    key: str
    value: bytes
    parent: str = ""
    number: int = 0
    sequence: int = 0

    @property
    def backend(self) -> str:
        """The name in the store behind, which containerd's messages show."""
        return f"{self.namespace}/{self.sequence}/{self.key}"


class Database:
    """The connection.

    `mutations` and `deletions` count changes since the last garbage collection (deletions: those after which something
    may be unreachable); `changed` is called at each.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, 1, VERSION):
            raise ValueError(f"{path} has version {version}, this program knows {VERSION}")
        if version != VERSION:  # where there is nothing to change nothing is written: the disk may be full
            self._upgrade(version)
        self._known = {record.key for record in self.all(NAMESPACE, "")}
        self.mutations = 0
        self.deletions = 0
        self.changed: Callable[[], None] = _ignore

    def _upgrade(self, version: int) -> None:
        """Make the tables of a new file, or what an earlier version lacks."""
        if version == 1:
            self._connection.execute("ALTER TABLE records ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0")
            self._connection.execute(
                "INSERT OR IGNORE INTO records (kind, namespace, key, value) "
                "SELECT DISTINCT 'namespace', '', namespace, X'' FROM records WHERE namespace != ''"
            )
        self._connection.executescript(SCHEMA)
        self._connection.execute(f"PRAGMA user_version={VERSION}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that follows or none of it. Must not contain an await."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # a full disk can refuse the COMMIT and leave the transaction open, or have undone it already
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def get(self, kind: str, namespace: str, key: str) -> Record | None:
        """Return one record, or None."""
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM records WHERE kind=? AND namespace=? AND key=?",
            (kind, namespace, key),
        ).fetchone()
        return Record(*row) if row else None

    def all(self, kind: str, namespace: str | None = None) -> list[Record]:
        """Return all records of a kind, by key; of all namespaces when none is given."""
        where, values = ("", ()) if namespace is None else (" AND namespace=?", (namespace,))
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM records WHERE kind=?{where} ORDER BY namespace, key",
            (kind, *values),
        )
        return [Record(*row) for row in rows]

    def children(self, kind: str, namespace: str, parent: str) -> list[str]:
        """Return the keys of the records whose parent is `parent`."""
        rows = self._connection.execute(
            "SELECT key FROM records WHERE kind=? AND namespace=? AND parent=?", (kind, namespace, parent)
        )
        return [key for (key,) in rows]

    def kinds(self, namespace: str) -> set[str]:
        """Return the kinds of which the namespace has records."""
        rows = self._connection.execute("SELECT DISTINCT kind FROM records WHERE namespace=?", (namespace,))
        return {kind for (kind,) in rows}

    def put(
        self,
        kind: str,
        namespace: str,
        key: str,
        value: bytes,
        *,
        parent: str = "",
        number: int = 0,
        sequence: int = 0,
    ) -> None:
        """Write a record, new or not, and with the first one its namespace."""
        self._mutate()
        with self.transaction():
            if namespace and namespace not in self._known:
                self._connection.execute(
                    "INSERT OR IGNORE INTO records (kind, namespace, key, value) VALUES (?,'',?,X'')",
                    (NAMESPACE, namespace),
                )
            self._connection.execute(
                f"INSERT OR REPLACE INTO records (kind, {COLUMNS}) VALUES (?,?,?,?,?,?,?)",
                (kind, namespace, key, value, parent, number, sequence),
            )
        if not self._connection.in_transaction:  # what is still open may yet be undone
            self._known.add(key if kind == NAMESPACE else namespace)

    def delete(self, kind: str, namespace: str, key: str, *, replaced: bool = False) -> bool:
        """Remove a record; return whether there was one. `replaced`: another leads to all that it led to."""
        self.deletions += not replaced and kind not in (NAMESPACE, "ingest")
        self._mutate()
        cursor = self._connection.execute(
            "DELETE FROM records WHERE kind=? AND namespace=? AND key=?", (kind, namespace, key)
        )
        return cursor.rowcount > 0

    def delete_namespace(self, namespace: str) -> None:
        """Remove a namespace with all that is in it."""
        self._known.discard(namespace)
        with self.transaction():
            self.delete(NAMESPACE, "", namespace)
            self._connection.execute("DELETE FROM records WHERE namespace=?", (namespace,))
            self._connection.execute("DELETE FROM leased WHERE namespace=?", (namespace,))

    def deleted(self) -> None:
        """Count a deletion that no record shows: a lease has let go of something."""
        self.deletions += 1
        self.changed()

    def _mutate(self) -> None:
        self.mutations += 1
        self.changed()

    def next_number(self, name: str) -> int:
        """Return 1, 2, 3, ... for `name`, never the same twice."""
        row = self._connection.execute(
            "INSERT INTO counters (name, value) VALUES (?, 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])

    def lease(self, namespace: str, lease: str, kind: str, identifier: str) -> None:
        """Let a lease hold a resource."""
        self._connection.execute(
            "INSERT OR IGNORE INTO leased (namespace, lease, type, id) VALUES (?,?,?,?)",
            (namespace, lease, kind, identifier),
        )

    def unlease(
        self, namespace: str, lease: str, kind: str | None = None, identifier: str | None = None
    ) -> None:
        """Let a lease go of one resource, or of all."""
        self._mutate()
        if kind is None:
            self._connection.execute("DELETE FROM leased WHERE namespace=? AND lease=?", (namespace, lease))
        else:
            self._connection.execute(
                "DELETE FROM leased WHERE namespace=? AND lease=? AND type=? AND id=?",
                (namespace, lease, kind, identifier),
            )

    def leased(self, namespace: str, lease: str) -> list[tuple[str, str]]:
        """Return (type, id) of what a lease holds."""
        rows = self._connection.execute(
            "SELECT type, id FROM leased WHERE namespace=? AND lease=? ORDER BY type, id", (namespace, lease)
        )
        return list(rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _ignore() -> None:
    """Nobody waits for changes."""
