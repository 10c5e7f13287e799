"""Workers that read and write a container's root file system, each a process forked by the fork server.

One socket is all they have: a worker first writes a line of JSON ({"error": message, "status": n} or what it found), and
then, if it packs, the tar. Reading and writing as a client of `docker cp` wants it needs the container's volumes too: they
are mounted over its root in a mount namespace of the worker's own, so nobody else sees that, and nothing is left behind.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
import stat
from pathlib import Path
from typing import IO, Any

from sixhops.dockerd.containers.rootfs import treetar
from sixhops.dockerd.containers.times import rfc3339
from sixhops.linux import mounts
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import unshare
from sixhops.linux.paths import make_directories, make_file, open_in_root, via

__all__ = ["changes", "export", "get", "layer", "put", "stat_path"]

_CLONE_NEWNS = 0x00020000
_LINKS = 255
_ENOENT, _ENOTDIR = 2, 20
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
#: Go's bits of a file's mode, which the API's document has.
_GO_BITS = (
    (stat.S_IFDIR, 1 << 31),
    (stat.S_IFLNK, 1 << 27),
    (stat.S_IFBLK, 1 << 26),
    (stat.S_IFIFO, 1 << 25),
    (stat.S_IFSOCK, 1 << 24),
    (stat.S_IFCHR, 1 << 26 | 1 << 21),
)
_GO_FLAGS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_MODIFIED, _ADDED, _DELETED = range(3)


class _RefusedError(Exception):
    """An answer that is an error, with its status."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


def export(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Write the whole tree of `merged` as a tar."""
    with _channel(descriptors) as channel:
        root = os.open(arguments["merged"], _DIRECTORY | os.O_CLOEXEC)
        _report(channel, {})
        treetar.pack(channel, root, "/", "")
    return 0


def layer(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Write what a container has changed (`upper`, the writable directory of its overlay) as the tar of a layer."""
    with _channel(descriptors) as channel:
        root = os.open(arguments["upper"], _DIRECTORY | os.O_CLOEXEC)
        _report(channel, {})
        treetar.pack(channel, root, "/", "", overlay=True)
    return 0


def stat_path(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Say what `path` is: {"stat": document}."""
    with _channel(descriptors) as channel:
        try:
            found = _Place(_with_mounts(arguments), arguments["merged"], arguments["path"])
            _report(channel, {"stat": found.document()})
        except (_RefusedError, OSError) as error:
            _fail(channel, error)
    return 0


def get(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Say what `path` is, and write it as a tar."""
    with _channel(descriptors) as channel:
        try:
            root = _with_mounts(arguments)
            found = _Place(root, arguments["merged"], arguments["path"])
            _report(channel, {"stat": found.document()})
        except (_RefusedError, OSError) as error:
            _fail(channel, error)
            return 0
        treetar.pack(channel, root, found.resolved, found.member)
    return 0


def copy(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Say that `path` is there, and write what it leads to as a tar: a file, or what is in a directory."""
    with _channel(descriptors) as channel:
        try:
            root = _with_mounts(arguments)
            place = _real(root, _absolute(arguments["path"]))
            found = _looked_up(root, arguments["merged"], place, os.O_PATH | os.O_NOFOLLOW)
            is_directory = stat.S_ISDIR(os.fstat(found).st_mode)
            os.close(found)
            _report(channel, {})
        except (_RefusedError, OSError) as error:
            _fail(channel, error)
            return 0
        treetar.pack(channel, root, place, "" if is_directory else posixpath.basename(place))
    return 0


def put(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Unpack a tar into the directory `path`; the report comes when that is done."""
    with _channel(descriptors) as channel:
        try:
            root = _with_mounts(arguments)
            place = _real(root, _absolute(arguments["path"]))
            _check_target(root, place, arguments)
            try:
                owner = arguments["owner"]
                pair = (int(owner[0]), int(owner[1])) if owner else None
                treetar.unpack(channel, root, place, pair, keep_kind=arguments["keep_kind"])
            except treetar.DamageError as error:
                raise _RefusedError(500, f"Error processing tar file({error}): ") from error
            except (treetar.TarError, OSError, LinuxError, OverflowError) as error:
                raise _RefusedError(
                    500, f"Error processing tar file(exit status 1): {_reason(error)}"
                ) from error
            _report(channel, {})
        except (_RefusedError, OSError) as error:
            _fail(channel, error)
    return 0


def changes(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Say where the tree differs from that of the image: {"changes": [{"Path", "Kind"}]}, in lexical order."""
    with _channel(descriptors) as channel:
        merged = arguments["merged"]
        _private()
        new = os.open(merged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        upper = os.open(arguments["upper"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(arguments["layers"])
        below = Path(merged).parent.joinpath("lower").read_text()
        # over the container's own mount, in this namespace alone: no other place is needed
        mounts.mount("overlay", merged, "overlay", mounts.MS_RDONLY, f"lowerdir={below}")
        old = os.open(merged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found: list[dict[str, Any]] = []
        _compare("", old, new, upper, found)
        _report(channel, {"changes": found})
    return 0


def _channel(descriptors: list[int]) -> IO[bytes]:
    return os.fdopen(descriptors[0], "r+b", buffering=0)


def _report(channel: IO[bytes], document: dict[str, Any]) -> None:
    left = memoryview(json.dumps(document).encode() + b"\n")
    while left:
        left = left[channel.write(left) :]


def _fail(channel: IO[bytes], error: Exception) -> None:
    status = error.status if isinstance(error, _RefusedError) else 500
    _report(channel, {"error": str(error), "status": status})


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, (OSError, LinuxError)) else None
    if isinstance(number, int) and isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {os.strerror(number).lower()}"
    return str(error)


def _private() -> None:
    unshare(_CLONE_NEWNS)
    mounts.mount("none", "/", "", mounts.MS_REC | mounts.MS_SLAVE)


def _with_mounts(arguments: dict[str, Any]) -> int:
    """Mount the container's volumes and files where it has them; return the root directory."""
    _private()
    root = os.open(arguments["merged"], _DIRECTORY | os.O_CLOEXEC)
    for source, destination in arguments["mounts"]:
        make = make_directories if Path(source).is_dir() else make_file
        target = make(root, destination)
        try:
            mounts.mount(source, via(target), "", mounts.MS_BIND | mounts.MS_REC)
        finally:
            os.close(target)
    return root


def _absolute(path: str) -> str:
    """Return a path from the root, without `..`; a `/` or `/.` at its end stays, as it means what a link points to."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if posixpath.basename(path.rstrip("/") or "/") == ".":
        return clean if clean.endswith("/.") else f"{clean.rstrip('/')}/."
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _real(root: int, path: str) -> str:
    """Return where a path leads, following links inside `root`; what is not there stays as it is written."""
    done: list[str] = []
    left = path.split("/")[::-1]
    followed = 0
    while left:
        part = left.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            del done[-1:]
            continue
        try:
            above = open_in_root(root, "/" + "/".join(done), _DIRECTORY)
            try:
                target = os.readlink(part, dir_fd=above)
            finally:
                os.close(above)
        except (OSError, LinuxError, ValueError):  # the last for a zero byte
            done.append(part)
            continue
        followed += 1
        if followed > _LINKS:
            raise _RefusedError(500, f"Too many links in {path}")
        if target.startswith("/"):
            done = []
        left += target.split("/")[::-1]
    return "/" + "/".join(done)


class _Place:
    """A path of a container, with the links above its last part resolved."""

    def __init__(self, root: int, merged: str, path: str) -> None:
        self._root = root
        self._absolute = _absolute(path)
        directory, _, base = self._absolute.rpartition("/")
        above = _real(root, directory)
        self.resolved = f"{above.rstrip('/')}/{base}"
        flags = os.O_PATH | os.O_NOFOLLOW | (os.O_DIRECTORY if base in {"", "."} else 0)
        found = _looked_up(root, merged, self.resolved, flags)
        self._status = os.fstat(found)
        os.close(found)

    @property
    def name(self) -> str:
        """The last part of the path as the user wrote it."""
        return posixpath.basename(self._absolute.rstrip("/")) or "/"

    @property
    def member(self) -> str:
        """How the archive calls it."""
        return self.name

    def document(self) -> str:
        """Return the header of the API."""
        status = self._status
        mode = status.st_mode & 0o777
        mode |= dict(_GO_BITS).get(stat.S_IFMT(status.st_mode), 0)
        for bit, go_bit in _GO_FLAGS:
            mode |= go_bit if status.st_mode & bit else 0
        is_link = stat.S_ISLNK(status.st_mode)
        fields = {
            "name": self.name,
            "size": status.st_size,
            "mode": mode,
            "mtime": "1970-01-01T00:00:00Z" if status.st_mtime_ns == 0 else rfc3339(status.st_mtime_ns),
            "linkTarget": _real(self._root, self._absolute) if is_link else "",
        }
        return base64.b64encode(
            json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        ).decode()


def _looked_up(root: int, merged: str, place: str, flags: int) -> int:
    """Open a place below the root. Raises _RefusedError 404 when there is none, else 500."""
    if "\0" in place:
        raise _RefusedError(500, f"lstat {merged}{place}: invalid argument")
    try:
        return open_in_root(root, place, flags)
    except LinuxError as error:
        if error.number == _ENOENT:
            raise _RefusedError(404) from error
        raise _RefusedError(500, f"lstat {merged}{place}: {os.strerror(error.number).lower()}") from error


def _check_target(root: int, place: str, arguments: dict[str, Any]) -> None:
    found = _looked_up(root, arguments["merged"], place, os.O_PATH | os.O_NOFOLLOW)
    mode = os.fstat(found).st_mode
    os.close(found)
    if not stat.S_ISDIR(mode):
        raise _RefusedError(500, "extraction point is not a directory")
    for destination, writable in arguments["volumes"]:
        if place == destination or place.startswith(destination.rstrip("/") + "/"):
            if not writable:
                raise _RefusedError(500, "mounted volume is marked read-only")
            return
    if arguments["readonly"]:
        raise _RefusedError(500, "container rootfs is marked read-only")


def _compare(path: str, old: int, new: int, upper: int | None, found: list[dict[str, Any]]) -> None:
    """Compare two directories; closes both. `upper`: the same of the writable layer, without which nothing differs."""
    before, after = set(os.listdir(old)), set(os.listdir(new))
    written = set(os.listdir(upper)) if upper is not None else after  # noqa: PTH208 - a descriptor
    for name in sorted((before - after) | (after & written), key=os.fsencode):
        place = f"{path}/{name}"
        if name not in after:
            found.append({"Path": place, "Kind": _DELETED})
            continue
        status = os.lstat(name, dir_fd=new)
        is_directory = stat.S_ISDIR(status.st_mode)
        mark = len(found)
        if name not in before:
            found.append({"Path": place, "Kind": _ADDED})
            if is_directory:
                _add_all(place, _below(new, name), found)
            continue
        previous = os.lstat(name, dir_fd=old)
        if is_directory and stat.S_ISDIR(previous.st_mode):
            layer = _below(upper, name) if upper is not None else None
            _compare(place, _below(old, name), _below(new, name), layer, found)
        elif is_directory:
            _add_all(place, _below(new, name), found)
        if len(found) > mark or _differs(previous, status):
            found.insert(mark, {"Path": place, "Kind": _MODIFIED})
    for descriptor in (old, new, *(() if upper is None else (upper,))):
        os.close(descriptor)


def _below(directory: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _add_all(path: str, directory: int, found: list[dict[str, Any]]) -> None:
    for name in sorted(os.listdir(directory), key=os.fsencode):
        found.append({"Path": f"{path}/{name}", "Kind": _ADDED})
        if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            _add_all(f"{path}/{name}", _below(directory, name), found)
    os.close(directory)


def _differs(one: os.stat_result, other: os.stat_result) -> bool:
    if (one.st_mode, one.st_uid, one.st_gid, one.st_rdev) != (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_rdev,
    ):
        return True
    return not stat.S_ISDIR(other.st_mode) and (one.st_mtime_ns, one.st_size) != (
        other.st_mtime_ns,
        other.st_size,
    )
