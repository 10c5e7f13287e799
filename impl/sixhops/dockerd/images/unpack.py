"""Unpacks one layer, in a process of its own that is chrooted into the layer's directory.

The process is forked from a single-threaded parent (`linux.forkserver`), so nothing is imported and no interpreter
starts. It reads a tar stream (not compressed) from one descriptor and writes its result, a line of JSON, to another.
Inside the chroot an absolute link, a `..` or a device can't reach anything else; what would still change the meaning
of the layer (a parent directory that is a link) is refused.

Whiteouts of the image format become overlayfs's own: `.wh.name` a character device 0:0, `.wh..wh..opq` the
`trusted.overlay.opaque` attribute (kernel documentation, filesystems/overlayfs, "whiteouts and opaque directories").
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tarfile
from typing import IO, Any, cast

from sixhops.dockerd.images.tarsplit import Recorder

__all__ = ["LayerError", "unpack", "work"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_PIECE = 1 << 20


class LayerError(Exception):
    """The tar stream is torn, or has an entry that can't be; the message names the entry."""


def work(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Worker of the fork server: descriptors are the tar stream and where the result goes.

    `arguments`: `root`, the directory to unpack into. The result is {"size": bytes} or {"error": message}.
    """
    source, report = descriptors
    # opened before the chroot: it lies beside the layer's tree
    split = open(arguments["split"], "xb") if "split" in arguments else None  # noqa: SIM115 - closed below
    os.chroot(arguments["root"])
    os.chdir("/")
    os.umask(0)
    try:
        with os.fdopen(source, "rb", buffering=0) as stream:
            recorder = Recorder(stream, split) if split is not None else None
            result: dict[str, Any] = {"size": unpack(stream if recorder is None else recorder, recorder)}
        if split is not None:
            split.close()
    except (LayerError, OSError, tarfile.TarError) as error:
        result = {"error": str(error)}
    os.write(report, json.dumps(result).encode())
    return 0 if "size" in result else 1


def unpack(stream: IO[bytes] | Recorder, recorder: Recorder | None = None) -> int:
    """Unpack a tar stream into the root directory; return the bytes of all regular files and links.

    `recorder`, which then is the stream as well, is told of every member.

    Raises LayerError, tarfile.TarError or OSError; what was unpacked until then stays, for the caller to remove.
    """
    size = 0
    times: list[tuple[str, float]] = []
    # TarFile's stream mode seeks nowhere, so that the layer can come from a pipe
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", errorlevel=2, bufsize=_PIECE) as archive:
        for entry in archive:
            path = _inside(entry.name)
            if path is None:
                continue
            if recorder is not None and not os.path.basename(path).startswith(_WHITEOUT):
                recorder.entry(entry, path)
            directory, name = os.path.split(path)
            _make_parents(directory, entry.name)
            if name.startswith(_WHITEOUT):
                _white_out(directory, name)
                continue
            _clear(path, entry)
            size += _make(archive, entry, path)
            _dress(entry, path)
            if entry.isdir():
                times.append((path, entry.mtime))
    # a directory's time changes with every entry made in it, so it is set last
    for path, mtime in times:
        os.utime(path, (mtime, mtime))
    while stream.read(_PIECE):
        pass  # whatever pads the archive belongs to the digest and is read to its end
    if recorder is not None:
        recorder.finish()
    return size


def _inside(name: str) -> str | None:
    """Return the path below / that an entry names; None for the root itself."""
    path = os.path.normpath("/" + name.lstrip("/"))
    return None if path == "/" else path


def _make_parents(directory: str, name: str) -> None:
    """Make the directories above an entry, and refuse to go through a link."""
    if directory == "/":
        return
    step = ""
    for part in directory.strip("/").split("/"):
        step += f"/{part}"
        try:
            mode = os.lstat(step).st_mode
        except FileNotFoundError:
            os.mkdir(step, 0o755)
            continue
        if not stat.S_ISDIR(mode):
            # in a lower layer it may be a directory; here the entry's parent is something else
            raise LayerError(f"{name}: {step} is not a directory")


def _white_out(directory: str, name: str) -> None:
    if name == _OPAQUE:
        os.setxattr(directory, _OPAQUE_ATTRIBUTE, b"y")
        return
    if name.startswith(".wh..wh."):
        return  # bookkeeping of other storage drivers, which means nothing in an image
    target = os.path.join(directory, name.removeprefix(_WHITEOUT))
    if os.path.lexists(target):
        _remove(target)
    os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))


def _clear(path: str, entry: tarfile.TarInfo) -> None:
    """A later entry replaces an earlier one of the same path, except that a directory stays a directory."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISDIR(mode) and entry.isdir()):
        _remove(path)


def _remove(path: str) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def _make(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> int:
    if entry.isdir():
        if not os.path.isdir(path):
            os.mkdir(path, 0o755)
    elif entry.isreg():
        return _write(archive, entry, path)
    elif entry.issym():
        os.symlink(entry.linkname, path)
        return len(os.fsencode(entry.linkname))
    elif entry.islnk():
        target = _inside(entry.linkname)
        if target is None:
            raise LayerError(f"{entry.name}: hard link to the root directory")
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError as error:
            raise LayerError(
                f"{entry.name}: hard link to {entry.linkname}, which is not in this layer"
            ) from error
    elif entry.isfifo():
        os.mkfifo(path, entry.mode & 0o7777)
    elif entry.ischr() or entry.isblk():
        kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        os.mknod(path, kind | (entry.mode & 0o7777), os.makedev(entry.devmajor, entry.devminor))
    else:
        raise LayerError(f"{entry.name}: unhandled tar header type {entry.type.decode(errors='replace')}")
    return 0


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> int:
    content = archive.extractfile(entry)
    if content is None:
        raise LayerError(f"{entry.name}: no content")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        if entry.issparse():
            _write_sparse(content, descriptor, entry.size)
        else:
            while piece := content.read(_PIECE):
                _write_all(descriptor, piece)
    finally:
        os.close(descriptor)
    return entry.size


def _write_sparse(content: IO[bytes], descriptor: int, size: int) -> None:
    """Keep holes as holes: pieces of zeros are skipped and the end is set."""
    while piece := content.read(_PIECE):
        if piece.count(0) == len(piece):
            os.lseek(descriptor, len(piece), os.SEEK_CUR)
        else:
            _write_all(descriptor, piece)
    os.ftruncate(descriptor, size)


def _write_all(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _dress(entry: tarfile.TarInfo, path: str) -> None:
    """Owner first, since a change of owner drops set-uid bits and capabilities; then mode, attributes, times."""
    if entry.islnk():
        return  # a second name of a file that has been dressed already
    os.lchown(path, entry.uid, entry.gid)
    if not entry.issym():
        os.chmod(path, entry.mode & 0o7777)
    for key, value in entry.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            _attribute(path, key.removeprefix("SCHILY.xattr."), value)
    if not entry.isdir():
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def _attribute(path: str, name: str, value: str) -> None:
    try:
        os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
    except OSError as error:
        # the file system below may have no user attributes; the engine drops those and nothing else
        if error.errno != errno.ENOTSUP:
            raise
