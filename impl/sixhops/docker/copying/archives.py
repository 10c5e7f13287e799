"""The tar archives of `cp`: made of local files while they are sent, and unpacked while they arrive.

Both are streams, so the size of what is copied does not matter. Unpacking replaces files, merges directories, and never
leaves the directory that it was given: neither by a name with .., nor by a link that the archive brought itself.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import tarfile
from typing import IO, TYPE_CHECKING

from sixhops.docker.errors import DockerError
from sixhops.docker.values import os_error, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["pack", "unpack"]

_READ = 64 * 1024
_BLOCK = 512
_CAPABILITY = "security.capability"
_XATTR = "SCHILY.xattr."
Rename = tuple[str, str] | None


def pack(directory: str, name: str, renames: Sequence[Rename]) -> Iterator[bytes]:
    """Yield the archive of `name` in `directory` and all below it; `.` is the directory itself.

    `renames` are applied to every name in turn. A file that can't be read ends the archive. Raises DockerError.
    """
    links: dict[tuple[int, int], str] = {}
    for path, inside in _walk(directory, name):
        yield from _entry(path, _renamed(inside, renames), links)
    yield b"\0" * (2 * _BLOCK)


def unpack(pieces: Iterable[bytes], directory: str, renames: Sequence[Rename]) -> None:
    """Unpack an archive into a directory, `renames` applied to every name in turn. Raises DockerError."""
    links: set[str] = set()
    times: list[tuple[str, int]] = []
    source = _Pieces(pieces)
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:  # type: ignore[call-overload]  # a reader is enough
            for item in archive:
                name = os.path.normpath(_renamed(item.name, renames))
                path = os.path.normpath(os.path.join(directory, name))
                _check_inside(directory, path, name, links)
                if name == "." or not _make_room(path, directory, item):
                    continue
                _create(archive, item, path, directory, renames)
                if item.issym():
                    links.add(path)
                if item.isdir():
                    times.append((path, int(item.mtime)))
        if source.count % _BLOCK:
            raise DockerError("unexpected EOF")  # tarfile takes a header that breaks off for the end
        for path, moment in times:
            os.utime(path, (moment, moment))
    except tarfile.TarError as error:
        raise DockerError(f"archive/tar: {error}") from error
    except OSError as error:
        raise DockerError(os_error("open", str(error.filename or directory), error)) from error


def _walk(directory: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield path and name in the archive, directories before what is in them, sorted."""
    top = os.path.join(directory, name) if name not in (".", "/") else directory
    yield top, name
    if not stat.S_ISDIR(_state(top).st_mode):
        return
    try:
        children = sorted(os.listdir(top))
    except OSError as error:
        raise DockerError(os_error("open", top, error)) from error
    for child in children:
        for path, inside in _walk(top, child):
            yield path, f"{name.rstrip('/')}/{inside}"


def _state(path: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise DockerError(os_error("lstat", path, error)) from error


def _renamed(name: str, renames: Sequence[Rename]) -> str:
    for rename in renames:
        if rename is not None:
            old, new = rename
            name = name.replace("" if old == "/" else old, new, 1)
    return name


def _entry(path: str, name: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    state = _state(path)
    item = tarfile.TarInfo(name.lstrip("/"))
    item.uname, item.gname = _names(state.st_uid, state.st_gid)
    item.uid, item.gid, item.mtime = state.st_uid, state.st_gid, int(state.st_mtime)
    kind = stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFSOCK:
        return  # nothing that could be unpacked
    item.type = {
        stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE,
    }.get(kind, tarfile.REGTYPE)  # fmt: skip
    if item.issym():
        item.linkname = os.readlink(path)
    elif item.isdev():
        item.devmajor, item.devminor = os.major(state.st_rdev), os.minor(state.st_rdev)
    elif item.isreg():
        item.size = state.st_size
    inode = (state.st_dev, state.st_ino)
    if not item.isdir() and state.st_nlink > 1:
        if inode in links:
            item.type, item.linkname, item.size = tarfile.LNKTYPE, links[inode], 0
        else:
            links[inode] = item.name
    if item.isreg():
        item.pax_headers = _capability(path)
    yield _with_type(item.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), state.st_mode)
    if item.isreg() and item.size:
        yield from _content(path, item.size)


def _names(user: int, group: int) -> tuple[str, str]:
    """Return the names of a user and a group, "" for one that has none."""
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = ""
    try:
        return name, grp.getgrgid(group).gr_name
    except KeyError:
        return name, ""


def _capability(path: str) -> dict[str, str]:
    """Return the file's capabilities as an archive holds them: the one attribute that is copied."""
    try:
        value = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    except OSError:
        return {}  # it has none, or this file system has no such thing
    return {f"{_XATTR}{_CAPABILITY}": value.decode("utf-8", "surrogateescape")}


def _with_type(header: bytes, mode: int) -> bytes:
    """Return a header whose mode says the file's type as well, which docker writes and tarfile does not."""
    block = bytearray(header[-_BLOCK:])
    block[100:108] = b"%07o\0" % mode
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return header[:-_BLOCK] + bytes(block)


def _content(path: str, size: int) -> Iterator[bytes]:
    """Yield as many bytes as the header says, whatever happens to the file meanwhile, and fill the last block."""
    left = size
    try:
        with open(path, "rb") as file:
            while left and (piece := file.read(min(left, _READ))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise DockerError(os_error("open", path, error)) from error
    if left:
        raise DockerError(f"archive/tar: missed writing {left} bytes of {path}: it has become shorter")
    yield b"\0" * (-size % _BLOCK)


class _Pieces:
    """Pieces as a file that is read from its beginning to its end; `count` bytes have come so far."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.count = 0
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, less at the end."""
        parts, count = [self._rest], len(self._rest)
        while count < size and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            count += len(piece)
            self.count += len(piece)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def _check_inside(directory: str, path: str, name: str, links: set[str]) -> None:
    """Raise DockerError for a path outside of the directory, or behind a link that the archive brought."""
    root = directory.rstrip("/") + "/"
    if path != directory and not path.startswith(root):
        raise DockerError(f"{quote(name)} is outside of {quote(directory)}")
    parent = os.path.dirname(path)
    while len(parent) >= len(root):
        if parent in links:
            raise DockerError(f"{quote(name)} is behind the link {quote(parent)} of the same archive")
        parent = os.path.dirname(parent)


def _make_room(path: str, directory: str, item: tarfile.TarInfo) -> bool:
    """Remove what is in the way; tell whether the entry is to be made. Raises DockerError, OSError."""
    parent = os.path.dirname(path)
    if not os.path.lexists(parent):
        os.makedirs(parent, 0o755)
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True
    if is_directory and not item.isdir():
        raise DockerError(f"cannot overwrite directory {quote(path)} with non-directory {quote(directory)}")
    if not is_directory and item.isdir():
        raise DockerError(f"cannot overwrite non-directory {quote(path)} with directory {quote(directory)}")
    if not is_directory:
        os.unlink(path)
    return True


def _create(
    archive: tarfile.TarFile, item: tarfile.TarInfo, path: str, directory: str, renames: Sequence[Rename]
) -> None:
    mode = stat.S_IMODE(item.mode)
    if item.isdir():
        if not os.path.isdir(path):
            os.mkdir(path, mode)
    elif item.isreg():
        _write(archive.extractfile(item), path, mode)
    elif item.issym():
        _make_link(item, path, directory)
        return
    elif item.islnk():
        target = os.path.normpath(os.path.join(directory, _renamed(item.linkname, renames)))
        if not target.startswith(directory.rstrip("/") + "/"):
            raise DockerError(f"invalid hardlink {quote(target)} -> {quote(item.linkname)}")
        os.link(target, path, follow_symlinks=False)
        return
    elif item.isfifo():
        os.mkfifo(path, mode)
    elif item.isdev():
        kind = stat.S_IFCHR if item.ischr() else stat.S_IFBLK
        os.mknod(path, mode | kind, os.makedev(item.devmajor, item.devminor))
    else:
        raise DockerError(f"unhandled tar header type {item.type[0]}")
    value = item.pax_headers.get(f"{_XATTR}{_CAPABILITY}")
    if value is not None and os.geteuid() == 0:
        os.setxattr(path, _CAPABILITY, value.encode("utf-8", "surrogateescape"))
    os.chmod(path, mode)
    os.utime(path, (int(item.mtime), int(item.mtime)))


def _write(source: IO[bytes] | None, path: str, mode: int) -> None:
    assert source is not None  # a regular file has content
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "wb") as file:
        shutil.copyfileobj(source, file, _READ)


def _make_link(item: tarfile.TarInfo, path: str, directory: str) -> None:
    # Go joins the link's text to its directory, absolute or not, and so looks only at what .. does
    target = os.path.normpath(f"{os.path.dirname(path)}/{item.linkname}")
    if target != directory and not target.startswith(directory.rstrip("/")):
        raise DockerError(f"invalid symlink {quote(path)} -> {quote(item.linkname)}")
    os.symlink(item.linkname, path)
    moment = int(item.mtime)
    os.utime(path, (moment, moment), follow_symlinks=False)
