"""Unpacks one layer, in a process of its own that is chrooted into the layer's directory.

The process is forked from a single-threaded parent (`linux.forkserver`), so nothing is imported and no interpreter
starts. It reads a tar stream (not compressed) from one descriptor and writes its result, a line of JSON, to another.
Inside the chroot an absolute link, a `..` or a device can't reach anything else. An entry below a link goes where the link
leads, as the engine has it: many images have /bin as a link and files in it. Messages about the tar are Go's.

Whiteouts of the image format become overlayfs's own: `.wh.name` a character device 0:0, `.wh..wh..opq` the
`trusted.overlay.opaque` attribute (kernel documentation, filesystems/overlayfs, "whiteouts and opaque directories").
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING, Any, cast

from sixhops.dockerd.images.unpacking.tarheads import StrictHead, TornError, members
from sixhops.dockerd.images.unpacking.tarsplit import DuplicateError, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LayerError", "unpack", "work"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_PIECE = 1 << 20
#: Larger numbers of users are cut off, as in the system call.
_ID = 0xFFFFFFFF


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
    except DuplicateError as error:
        result = {"error": "", "how": str(error)}
    except OSError as error:
        result = {"error": _go_words(error)}
    except (LayerError, TornError, tarfile.TarError, ValueError, OverflowError) as error:
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
    with _opened(stream) as archive:
        for entry in members(archive):
            if recorder is not None:
                recorder.name(entry.name)
            path = _inside(entry.name)
            if path is None:
                continue
            directory, name = os.path.split(path)
            directory = _make_parents(directory)
            path = os.path.join(directory, name)
            if name.startswith(_WHITEOUT):
                _white_out(directory, name)
                continue
            if recorder is not None:
                recorder.entry(entry, path)
            _clear(path, entry)
            size += _make(archive, entry, path)
            _dress(entry, path)
            if entry.isdir():
                times.append((path, entry.mtime))
    # a directory's time changes with every entry made in it, so it is set last
    for path, mtime in times:
        os.utime(path, (max(mtime, 0), max(mtime, 0)))
    while stream.read(_PIECE):
        pass  # whatever pads the archive belongs to the digest and is read to its end
    if recorder is not None:
        recorder.finish()
    return size


@contextlib.contextmanager
def _opened(stream: IO[bytes] | Recorder) -> Iterator[tarfile.TarFile]:
    """Give the entries of a tar stream; a stream of nothing has none. Raises LayerError for one that is torn."""
    try:
        try:
            archive = tarfile.open(  # noqa: SIM115 - closed below
                fileobj=cast("IO[bytes]", stream), mode="r|", errorlevel=2, bufsize=_PIECE, tarinfo=StrictHead
            )
        except tarfile.ReadError as error:
            if str(error) != "empty file":
                raise
            archive = tarfile.open(fileobj=io.BytesIO(bytes(1024)), mode="r|")  # noqa: SIM115
        with archive:
            yield archive
    except tarfile.ReadError as error:
        raise LayerError("unexpected EOF") from error


@contextlib.contextmanager
def _worded(call: str) -> Iterator[None]:
    """Raise a failed system call as Go prints it: `open /a/b: not a directory`."""
    try:
        yield
    except OSError as error:
        raise LayerError(f"{call}: {os.strerror(error.errno or 0).lower()}") from error


def _go_words(error: OSError) -> str:
    """Return a failed system call as Go prints it: `mkdir /a/b: not a directory`."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    names = " ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"{names}: {reason}" if names else reason


def _inside(name: str) -> str | None:
    """Return the path below / that an entry names; None for the root itself."""
    path = os.path.normpath("/" + name.lstrip("/"))
    return None if path == "/" else path


def _make_parents(directory: str) -> str:
    """Make the directories above an entry, following links that are there; return where that leads. Raises OSError."""
    if not os.path.lexists(directory):
        try:
            os.makedirs(directory, 0o755, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise LayerError(f"mkdir {directory}: not a directory") from error
    return os.path.realpath(directory) if os.path.isdir(directory) else directory


def _white_out(directory: str, name: str) -> None:
    if name == _OPAQUE:
        os.setxattr(directory, _OPAQUE_ATTRIBUTE, b"y")
        return
    if name.startswith(".wh..wh."):
        return  # bookkeeping of other storage drivers, which means nothing in an image
    target = os.path.join(directory, name.removeprefix(_WHITEOUT))
    try:
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    except OSError as error:
        quoted = json.dumps(target.rstrip("/") or "/", ensure_ascii=False)
        reason = os.strerror(error.errno or 0).lower()
        raise LayerError(f"failed to mknod({quoted}, S_IFCHR, 0): {reason}") from error


def _clear(path: str, entry: tarfile.TarInfo) -> None:
    """A later entry replaces an earlier one of the same path, except that a directory stays a directory."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # what can't be looked at can't be made either, and that says why
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
    if entry.type == tarfile.CONTTYPE:
        raise LayerError(f"unhandled tar header type {entry.type[0]}")
    if entry.isdir():
        if not os.path.isdir(path):
            with _worded(f"mkdir {path}"):
                os.mkdir(path, 0o755)
    elif entry.isreg():
        return _write(archive, entry, path)
    elif entry.issym():
        with _worded(f"symlink {entry.linkname} {path}"):
            os.symlink(entry.linkname, path)
        return len(os.fsencode(entry.linkname))
    elif entry.islnk():
        target = _inside(entry.linkname)
        if target is None:
            raise LayerError(f"link / {path}: operation not permitted")
        with _worded(f"link {target} {path}"):
            os.link(target, path, follow_symlinks=False)
    elif entry.isfifo():
        os.mkfifo(path, entry.mode & 0o7777)
    elif entry.ischr() or entry.isblk():
        kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        os.mknod(path, kind | (entry.mode & 0o7777), os.makedev(entry.devmajor, entry.devminor))
    else:
        raise LayerError(f"unhandled tar header type {entry.type[0]}")
    return 0


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> int:
    content = archive.extractfile(entry)
    if content is None:
        raise LayerError(f"{entry.name}: no content")
    with _worded(f"open {path}"):
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
    os.lchown(path, entry.uid & _ID, entry.gid & _ID)
    if not entry.issym():
        os.chmod(path, entry.mode & 0o7777)
    for key, value in entry.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            _attribute(path, key.removeprefix("SCHILY.xattr."), value)
    if not entry.isdir():
        when = max(entry.mtime, 0)
        os.utime(path, (when, when), follow_symlinks=False)


def _attribute(path: str, name: str, value: str) -> None:
    try:
        os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
    except OSError as error:
        # the file system below may have no user attributes; the engine drops those and nothing else
        if error.errno != errno.ENOTSUP:
            raise
