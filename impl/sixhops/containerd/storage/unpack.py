"""A layer onto mounts: run as a worker of its own, which mounts the layer aside, changes its root and then
reads the archive.

After the change of root no path, link or device in the archive can name anything outside of the layer, whatever it says. The
worker reads the blob from a descriptor that it was given, and reports one JSON line: digest and size of what it unpacked,
or an error.

Whiteouts are those of the OCI image specification: `.wh.NAME` removes NAME, `.wh..wh..opq` empties the directory
of what lower layers put there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tarfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sixhops.containerd.storage.tempmounts import from_lists, mounted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["extract", "open_layer", "run"]

CHUNK = 1 << 16
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class LayerReader:
    """A stream of the unpacked archive that counts and digests what passes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._hash = hashlib.sha256()
        self._ahead = b""
        self.size = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        parts = [self._ahead[:size]]
        size -= len(parts[0])
        self._ahead = self._ahead[len(parts[0]) :]
        while size > 0 and (data := self._read(size)):
            parts.append(data)
            size -= len(data)
        joined = b"".join(parts)
        self._hash.update(joined)
        self.size += len(joined)
        return joined

    def is_empty(self) -> bool:
        """Tell whether there is nothing to read at all."""
        if not self._ahead:
            self._ahead = self._read(1)
        return not self._ahead

    @property
    def digest(self) -> str:
        """The digest of what has been read."""
        return f"sha256:{self._hash.hexdigest()}"


def open_layer(source: IO[bytes]) -> LayerReader:
    """Return the archive in `source`: gzip, zstd or plain, told by its first bytes."""
    head = source.read(4)
    rest = [head]

    def raw(size: int) -> bytes:
        if rest:
            return rest.pop()
        return source.read(size)

    if head[:2] == GZIP_MAGIC:
        return LayerReader(_inflate(raw))
    if head == ZSTD_MAGIC:
        return LayerReader(_zstd(raw))
    plain = bytearray()

    def read(size: int) -> bytes:
        if not plain:
            plain.extend(raw(size))
        data = bytes(plain[:size])
        del plain[:size]
        return data

    return LayerReader(read)


def _inflate(raw: Callable[[int], bytes]) -> Callable[[int], bytes]:
    decoder = zlib.decompressobj(wbits=31)
    pending = b""

    def read(size: int) -> bytes:
        nonlocal decoder, pending
        while True:
            if decoder.eof:
                # gzip members may follow one another
                pending = decoder.unused_data or raw(CHUNK)
                if not pending:
                    return b""
                decoder = zlib.decompressobj(wbits=31)
            elif not pending and not (pending := raw(CHUNK)):
                raise EOFError("the gzip stream ends too early")
            data = decoder.decompress(pending, size)
            pending = decoder.unconsumed_tail
            if data:
                return data

    return read


def _zstd(raw: Callable[[int], bytes]) -> Callable[[int], bytes]:
    import zstandard  # noqa: PLC0415 - few layers need it, every worker would pay for it

    decoder = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    pending = bytearray()

    def read(size: int) -> bytes:
        while not pending:
            packed = raw(CHUNK)
            if not packed:
                return b""
            pending.extend(decoder.decompress(packed))
        data = bytes(pending[:size])
        del pending[:size]
        return data

    return read


def run(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """The worker: `arguments["mounts"]` as [type, source, options], `below` is where to mount them; descriptors are the
    blob and where to report.
    """
    blob, report = descriptors
    answer: dict[str, Any]
    try:
        with mounted(from_lists(arguments["mounts"]), Path(arguments["below"])) as target:
            answer = _in_child(target, blob)
    except OSError as error:
        answer = {"error": str(error)}
    os.write(report, json.dumps(answer).encode())
    return 0


def _in_child(target: Path, blob: int) -> dict[str, Any]:
    """Unpack in a child whose root is `target`, so that this process can still unmount it."""
    source = os.fdopen(blob, "rb")
    layer = open_layer(source)  # before the change of root: a decoder may have to be imported
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            answer: dict[str, Any]
            try:
                os.chroot(target)
                os.chdir("/")
                extract(layer, Path("/"))
                while layer.read(CHUNK):
                    pass  # what follows the archive's end counts for the digest too
                answer = {"digest": layer.digest, "size": layer.size}
            except Exception as error:  # noqa: BLE001 - whatever the archive provoked, the caller is told
                answer = {"error": f"{error}"}
            os.write(writer, json.dumps(answer).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        data = results.read()
    os.waitpid(pid, 0)
    if not data:
        return {"error": "the unpacking process died"}
    result: dict[str, Any] = json.loads(data)
    return result


def extract(layer: LayerReader, root: Path) -> None:
    """Unpack an archive below `root`, which must be this process's root for archives that aren't trusted."""
    times: list[tuple[Path, float]] = []
    unpacked: set[str] = set()
    if layer.is_empty():
        return  # no archive at all is an empty one
    with tarfile.open(fileobj=layer, mode="r|", errorlevel=2) as archive:  # type: ignore[call-overload] # it only reads
        for member in archive:
            name = os.path.normpath("/" + member.name).lstrip("/")
            path = root / name
            parent, base = path.parent, path.name
            if base.startswith(WHITEOUT):
                _white_out(parent, base, root, unpacked)
                continue
            parent.mkdir(parents=True, exist_ok=True)
            _place(archive, member, path, root)
            unpacked.add(name)
            if member.isdir():
                times.append((path, member.mtime))
    for path, mtime in reversed(times):
        # last, because every file in a directory changes its time
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (mtime, mtime))


def _white_out(parent: Path, base: str, root: Path, unpacked: set[str]) -> None:
    if base == OPAQUE:
        _empty(parent, root, unpacked)
    else:
        _remove(parent / base.removeprefix(WHITEOUT))


def _empty(directory: Path, root: Path, unpacked: set[str]) -> None:
    """Remove what the layer has not brought itself, at every depth: the marker may come after what it must not touch."""
    for child in list(directory.iterdir()) if directory.is_dir() else []:
        if str(child.relative_to(root)) not in unpacked:
            _remove(child)
        elif not child.is_symlink():
            _empty(child, root, unpacked)


def _remove(path: Path) -> None:
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, root: Path) -> None:
    """Make one file, over whatever is there; a directory keeps what it has."""
    if os.path.lexists(path) and not (member.isdir() and stat.S_ISDIR(path.lstat().st_mode)):
        _remove(path)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root / os.path.normpath("/" + member.linkname).lstrip("/"), path, follow_symlinks=False)
        return
    elif member.isfifo():
        os.mkfifo(path)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind, os.makedev(member.devmajor, member.devminor))
    elif member.isreg():
        source = archive.extractfile(member)
        assert source is not None
        with path.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    else:
        raise ValueError(f"unhandled tar header type {member.type!r} of {member.name}")
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    for key, value in member.pax_headers.items():
        if key.startswith(XATTR):
            _set_attribute(path, key.removeprefix(XATTR), value.encode("utf-8", "surrogateescape"))
    if not member.issym():
        path.chmod(member.mode & 0o7777)  # after chown, which clears set-id bits
    if not member.isdir():
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)


def _set_attribute(path: Path, name: str, value: bytes) -> None:
    """Set an extended attribute; where the file system knows none, the layer does without, as upstream's."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
