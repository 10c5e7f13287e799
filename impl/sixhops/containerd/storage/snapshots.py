"""Layers on disk. A snapshot is a record (kind, parent, labels) and a numbered directory; mounts say how to see it.

overlayfs keeps each snapshot's own files in `fs` and mounts it over its parents; native copies the parent's whole tree. A
directory without a record (a crash between the two) is removed at the next garbage collection, never shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

from sixhops.containerd.errors import (
    already_exists,
    failed_precondition,
    invalid_argument,
    not_found,
    unknown,
)
from sixhops.containerd.metadata.labels import drop_empty
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import quote
from sixhops.linux.mountlist import Mount
from sixhops.wire.proto import snapshots_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sixhops.containerd.metadata.database import Database, Record

__all__ = ["NATIVE", "OVERLAYFS", "Snapshotter"]

OVERLAYFS = "overlayfs"
NATIVE = "native"
VIEW = snapshots_pb2.Kind.VIEW
ACTIVE = snapshots_pb2.Kind.ACTIVE
COMMITTED = snapshots_pb2.Kind.COMMITTED
TARGET = "containerd.io/snapshot.ref"
NAMELESS = "bucket name required"  # what upstream's database says of an empty name


class Snapshotter:
    """One snapshotter by name. Keys are unique in a namespace."""

    def __init__(self, name: str, root: Path, database: Database) -> None:
        self.name = name
        self.kind = f"snapshots:{name}"
        self._root = root / f"io.containerd.snapshotter.v1.{name}" / "snapshots"
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._database = database
        self._filling: set[int] = set()  # directories whose records come when they are whole

    def _directory(self, number: int) -> Path:
        return self._root / str(number)

    def _content(self, number: int) -> Path:
        directory = self._directory(number)
        return directory / "fs" if self.name == OVERLAYFS else directory

    def record(self, namespace: str, key: str) -> tuple[Record, snapshots_pb2.Info]:
        """Return a snapshot's row and message; NOT_FOUND without one."""
        record = self._database.get(self.kind, namespace, key)
        if record is None:
            raise not_found(f"snapshot {key} does not exist")
        return record, snapshots_pb2.Info.FromString(record.value)

    async def make(
        self, namespace: str, key: str, parent: str, kind: int, labels: Mapping[str, str]
    ) -> list[Mount]:
        """Prepare (ACTIVE) or view (VIEW) on top of a committed parent (empty: none); return the mounts.

        The label containerd.io/snapshot.ref names the snapshot that this is to become: ALREADY_EXISTS if it is there.
        """
        above = self._check(namespace, key, parent, labels)
        sequence = self._next(namespace)
        number = self._database.next_number(self.kind)
        self._filling.add(number)
        try:
            if self.name == NATIVE and above is not None:
                await asyncio.to_thread(self._fill, number, kind, above)
                self._check(namespace, key, parent, labels)  # others went on meanwhile
            else:
                self._fill(number, kind, above)
            info = snapshots_pb2.Info(name=key, parent=parent, labels=labels)
            drop_empty(info.labels)
            info.kind = kind  # type: ignore[assignment] # the enumeration's number
            set_now(info.created_at)
            info.updated_at.CopyFrom(info.created_at)
            self._database.put(
                self.kind,
                namespace,
                key,
                info.SerializeToString(),
                parent=parent,
                number=number,
                sequence=sequence,
            )
        except BaseException as error:
            shutil.rmtree(self._directory(number), ignore_errors=True)
            if isinstance(error, OSError):
                raise unknown(f"failed to create snapshot directory: {error}") from error
            raise
        finally:
            self._filling.discard(number)
        return self.mounts(namespace, key)

    def _check(self, namespace: str, key: str, parent: str, labels: Mapping[str, str]) -> Record | None:
        """Raise RpcError unless a snapshot of that name can be made; return the parent's record, if there is one."""
        target = labels.get(TARGET, "")
        if target and self._database.get(self.kind, namespace, target) is not None:
            raise already_exists(f"target snapshot {quote(target)}")
        if self._database.get(self.kind, namespace, key) is not None:
            raise already_exists(f"snapshot {quote(key)}")
        above = None
        if parent:
            above = self._database.get(self.kind, namespace, parent)
            if above is None:
                raise not_found(f"parent snapshot {parent} does not exist")
            if snapshots_pb2.Info.FromString(above.value).kind != COMMITTED:
                text = f"parent {quote(above.backend)} is not committed snapshot"
                raise invalid_argument(f"failed to create snapshot: {text}")
        if not key:
            raise RpcError(Code.UNKNOWN, NAMELESS)
        return above

    def _next(self, namespace: str) -> int:
        return self._database.next_number(f"{self.kind}/{namespace}")

    def _fill(self, number: int, kind: int, above: Record | None) -> None:
        directory = self._directory(number)
        directory.mkdir(mode=0o700)
        if self.name == NATIVE:
            directory.chmod(0o755)
            if above is not None and kind == ACTIVE:
                _copy_tree(self._content(above.number), directory)
            return
        content = directory / "fs"
        content.mkdir(mode=0o755)
        if kind == ACTIVE:
            (directory / "work").mkdir(mode=0o711)
        if above is not None:
            facts = self._content(above.number).stat()
            os.chown(content, facts.st_uid, facts.st_gid)

    def mounts(self, namespace: str, key: str) -> list[Mount]:
        """Return the mounts of an active snapshot or a view."""
        record, info = self.record(namespace, key)
        if info.kind == COMMITTED:
            what = "active mount" if self.name == OVERLAYFS else "snapshot mount"
            text = f"requested snapshot {record.backend} not active or view"
            raise failed_precondition(f"failed to get {what}: {text}")
        mode = "ro" if info.kind == VIEW else "rw"
        parents = self._parents(namespace, info.parent)
        if self.name == NATIVE:
            # a view needs no copy: nobody writes to a committed parent
            shows_parent = info.kind == VIEW and parents
            return [
                Mount(
                    "bind",
                    parents[0] if shows_parent else str(self._content(record.number)),
                    ("rbind", mode),
                )
            ]
        if not parents:
            return [Mount("bind", str(self._content(record.number)), (mode, "rbind"))]
        if info.kind == VIEW and len(parents) == 1:
            return [Mount("bind", parents[0], ("ro", "rbind"))]
        options = ["index=off"] if os.access("/sys/module/overlay/parameters/index", os.F_OK) else []
        if info.kind == ACTIVE:
            options.append(f"workdir={self._directory(record.number) / 'work'}")
            options.append(f"upperdir={self._content(record.number)}")
        options.append("lowerdir=" + ":".join(parents))
        return [Mount("overlay", "overlay", tuple(options))]

    def _parents(self, namespace: str, key: str) -> list[str]:
        """Return the directories of a chain of parents, nearest first."""
        found = []
        while key:
            record, info = self.record(namespace, key)
            found.append(str(self._content(record.number)))
            key = info.parent
        return found

    def commit(self, namespace: str, name: str, key: str, labels: Mapping[str, str]) -> None:
        """Make an active snapshot a committed one, under another name."""
        if not name:
            raise RpcError(Code.UNKNOWN, NAMELESS)
        if self._database.get(self.kind, namespace, name) is not None:
            raise already_exists(f"snapshot {quote(name)}")
        record, info = self.record(namespace, key)
        if info.kind != ACTIVE:
            text = f"snapshot {quote(record.backend)} is not active"
            raise failed_precondition(f"failed to commit snapshot: {text}")
        info.name = name
        info.kind = COMMITTED
        info.labels.clear()
        info.labels.update(labels)
        drop_empty(info.labels)
        set_now(info.created_at)
        info.updated_at.CopyFrom(info.created_at)
        with self._database.transaction():
            self._database.delete(self.kind, namespace, key, replaced=True)
            self._database.put(
                self.kind,
                namespace,
                name,
                info.SerializeToString(),
                parent=info.parent,
                number=record.number,
                sequence=self._next(namespace),
            )

    def replace(self, record: Record, info: snapshots_pb2.Info) -> None:
        """Store a snapshot's message anew."""
        self._database.put(
            self.kind,
            record.namespace,
            record.key,
            info.SerializeToString(),
            parent=record.parent,
            number=record.number,
            sequence=record.sequence,
        )

    def remove(self, namespace: str, key: str) -> None:
        """Remove a snapshot that is nobody's parent: the record first, so that a crash leaves no half of one."""
        record, _info = self.record(namespace, key)
        if self._database.children(self.kind, namespace, key):
            raise failed_precondition("cannot remove snapshot with child")
        self._database.delete(self.kind, namespace, key)
        shutil.rmtree(self._directory(record.number), ignore_errors=True)

    async def usage(self, namespace: str, key: str) -> tuple[int, int]:
        """Return bytes and inodes of a snapshot's own files; a hard link counts once."""
        record, info = self.record(namespace, key)
        if info.kind == VIEW:
            return 0, 0  # it has no files of its own
        return await asyncio.to_thread(_measure, self._content(record.number))

    def unknown(self) -> list[Path]:
        """Return the directories without a record, which nobody will ask for."""
        kept = {str(record.number) for record in self._database.all(self.kind)}
        kept.update(str(number) for number in self._filling)
        return [directory for directory in self._root.iterdir() if directory.name not in kept]

    def discard(self, directory: Path) -> None:
        """Remove one of those."""
        shutil.rmtree(directory, ignore_errors=True)


def _measure(root: Path) -> tuple[int, int]:
    """Return bytes and inodes of a tree, which may change meanwhile."""
    seen: set[int] = set()
    size = 0
    pending = [root]
    while pending:
        path = pending.pop()
        with contextlib.suppress(FileNotFoundError):
            facts = path.lstat()
            if facts.st_ino not in seen:
                seen.add(facts.st_ino)
                size += facts.st_blocks * 512
            if stat.S_ISDIR(facts.st_mode):
                pending.extend(path.iterdir())
    return size, len(seen)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, modes, times, links, devices and extended attributes; `cp` knows them all."""
    done = subprocess.run(
        ["/bin/cp", "-a", "--", f"{source}/.", str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(done.stderr.strip())
