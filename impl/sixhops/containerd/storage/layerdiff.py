"""Makes a layer's archive from two sets of mounts, in a worker process: mounting and walking must not hold up the server.

`run` is the worker: it mounts both, walks them (`changes`), writes the archive (`tarwrite`) to a descriptor, and reports
one JSON line: digest and size of what it wrote and the digest of the archive before compression, or an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.containerd.storage.changes import CAPABILITY, Change, Kind, capability, changes
from sixhops.containerd.storage.tarwrite import END, Member, header, padding
from sixhops.containerd.storage.tempmounts import from_lists, mounted, read_only

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["run", "write_layer"]

CHUNK = 1 << 16
WHITEOUT = b".wh."
KINDS = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
LINK = b"1"


def run(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """The worker: `left` and `right` are mounts as [type, source, options], `below` is where to mount them, `gzip` whether
    to compress.

    Descriptors: where the archive goes, and where to report.
    """
    target, report = descriptors
    below = Path(arguments["below"])
    answer: dict[str, Any]
    try:
        with (
            mounted(from_lists(arguments["left"]), below) as old,
            mounted(read_only(from_lists(arguments["right"])), below) as new,
        ):
            layer = write_layer(old, new)
            answer = _write(target, layer, compress=bool(arguments["gzip"]))
    except OSError as error:
        answer = {"error": str(error)}
    os.write(report, json.dumps(answer).encode())
    return 0


def _write(target: int, pieces: Iterable[bytes], *, compress: bool) -> dict[str, Any]:
    plain, packed = hashlib.sha256(), hashlib.sha256()
    compressor = zlib.compressobj(wbits=31) if compress else None
    size = 0

    def put(data: bytes) -> None:
        nonlocal size
        packed.update(data)
        size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]

    for piece in pieces:
        plain.update(piece)
        put(compressor.compress(piece) if compressor else piece)
    if compressor:
        put(compressor.flush())
    return {
        "digest": f"sha256:{packed.hexdigest()}",
        "size": size,
        "uncompressed": f"sha256:{plain.hexdigest()}",
    }


def write_layer(old: Path, new: Path) -> Iterator[bytes]:
    """Yield the archive of what changed from the tree `old` to the tree `new`."""
    layer = _Layer(new)
    for change in changes(old, new):
        yield from layer.take(change)
    yield END


class _Layer:
    """The archive as it grows: which directories it has and under which name each hard-linked file is in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._removed = round(time.time())
        self._directories: set[bytes] = set()
        self._names: dict[int, bytes] = {}
        self._waiting: dict[int, list[bytes]] = {}

    def take(self, change: Change) -> Iterator[bytes]:
        """Yield the members for one change, parents first."""
        directory, _, base = change.path.rpartition(b"/")
        if change.kind is Kind.REMOVED or change.facts is None:
            name = b"/".join(part for part in (directory, WHITEOUT + base) if part)
            yield from self._add(Member(name, b"0", mtime=self._removed, plain=True))
            return
        facts = change.facts
        if stat.S_ISSOCK(facts.st_mode):
            return
        others: list[bytes] = []
        link = b""
        if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
            link = self._names.get(facts.st_ino, b"")
            if not link and change.kind is Kind.UNMODIFIED:
                self._waiting.setdefault(facts.st_ino, []).append(change.path)
                return
            if not link:
                self._names[facts.st_ino] = change.path
                others = self._waiting.pop(facts.st_ino, [])
        elif change.kind is Kind.UNMODIFIED:
            return
        member = self._member(change.path, facts, link)
        yield from self._add(member)
        if member.kind == b"0" and member.size:
            yield from self._content(member)
        for other in others:
            yield from self._add(self._member(other, facts, change.path))

    def _member(self, path: bytes, facts: os.stat_result, link: bytes) -> Member:
        full = self._root / os.fsdecode(path)
        kind = LINK if link else KINDS[stat.S_IFMT(facts.st_mode)]
        if kind == KINDS[stat.S_IFLNK]:
            link = os.fsencode(full.readlink())
        own = capability(full)
        device = (0, 0)
        if kind in (KINDS[stat.S_IFCHR], KINDS[stat.S_IFBLK]):
            device = (os.major(facts.st_rdev), os.minor(facts.st_rdev))
        return Member(
            name=path + b"/" if kind == KINDS[stat.S_IFDIR] else path,
            kind=kind,
            mode=facts.st_mode & 0o7777,
            uid=facts.st_uid,
            gid=facts.st_gid,
            size=facts.st_size if kind == b"0" else 0,
            mtime=facts.st_mtime_ns // 10**9,
            link=link,
            device=device,
            xattrs={CAPABILITY: own} if own else {},
        )

    def _add(self, member: Member) -> Iterator[bytes]:
        name = member.name.rstrip(b"/")
        directory = name.rpartition(b"/")[0]
        if directory and directory not in self._directories:
            self._directories.add(directory)
            facts = (self._root / os.fsdecode(directory)).stat()
            yield from self.take(Change(Kind.MODIFIED, directory, facts))
        if member.kind == KINDS[stat.S_IFDIR]:
            self._directories.add(name)
        yield header(member)

    def _content(self, member: Member) -> Iterator[bytes]:
        left = member.size
        with (self._root / os.fsdecode(member.name)).open("rb") as source:
            while left and (data := source.read(min(CHUNK, left))):
                left -= len(data)
                yield data
        if left:
            raise OSError(f"short write copying file {os.fsdecode(member.name)}")
        yield padding(member.size)
