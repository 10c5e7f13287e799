"""Directory trees as tars, both ways, below a root directory that is never left.

Only for the forked workers: all of it blocks.

The trees belong to containers that may run and change them meanwhile: whatever is opened is opened with `open_in_root`,
never by a path that was looked at before. Facts (dockerd 20.10): members in lexical order; of the extended attributes only
`security.capability`; whole seconds; the host's names of users; sockets left out; a second name of a file is a hard link.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import posixpath
import shutil
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from sixhops.dockerd.images.unpacking.decompression import Decompression
from sixhops.dockerd.images.unpacking.tarheads import StrictHead, TornError, members
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import make_directories, open_in_root, via

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterator  # type: ignore[attr-defined] # new in 3.12, and only a type

__all__ = ["DamageError", "TarError", "pack", "unpack"]

_PIECE = 1 << 18
#: How much of /etc/passwd is read, in bytes.
_LONGEST_NAMES = 1 << 20
_BLOCK = 512
#: Larger numbers of users are cut off, as in the system call.
_ID = 0xFFFFFFFF
_CAPABILITY = "security.capability"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_LOOK = os.O_PATH | os.O_NOFOLLOW
_NOTHING_THERE = (2, 20)
_MODE, _CHECKSUM = slice(100, 108), slice(148, 156)
_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}


class TarError(Exception):
    """The archive is torn or has a member that may not be; the message is dockerd's."""


class DamageError(Exception):
    """The archive can't be decompressed, though what came of it is a whole tar; the message is dockerd's."""


def pack(target: IO[bytes], root: int, path: str, name: str, *, overlay: bool = False) -> None:
    """Write the file or the tree `path` of the directory `root`; its own member is `name` ("" for none). Raises OSError.

    `path` is not followed when it is a link. What vanishes meanwhile is left out. `overlay`: the tree is the upper directory
    of an overlay, whose marks of what is gone become those of an image's layer; names of owners are the host's.
    """
    first: dict[tuple[int, int], str] = {}
    if overlay:
        with _host_root() as host:
            owners = _Owners.of(host)
    else:
        owners = _Owners.of(root)
    tar = io.BufferedWriter(cast("io.RawIOBase", target), _PIECE)
    pending = [(path, name)]
    while pending:
        place, member_name = pending.pop()
        try:
            children = (
                None
                if overlay and _white_out(tar, root, place, member_name)
                else _add(tar, root, place, member_name, first, owners)
            )
            if overlay and children is not None and _is_opaque(root, place):
                _mark(tar, f"{member_name}/{_OPAQUE}" if member_name else _OPAQUE, 0o755)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
            continue
        pending += [
            (
                f"{place.rstrip('/')}/{child}",
                f"{member_name.rstrip('/')}/{child}" if member_name else child,
            )
            for child in reversed(children or ())
        ]
    tar.write(bytes(2 * _BLOCK))
    tar.flush()


def unpack(
    source: IO[bytes], root: int, place: str, owner: tuple[int, int] | None, *, keep_kind: bool
) -> None:
    """Unpack a tar, compressed or not, into the directory `place` of `root`.

    `owner` takes the place of the members' owners; `keep_kind`: nothing turns a directory into something else or the other
    way round. Raises TarError, DamageError, OSError and LinuxError; what was unpacked until then stays.
    """
    os.umask(0o022)
    plain = _Plain(source)
    stream = io.BufferedReader(plain, _PIECE)
    times: list[tuple[str, float]] = []
    try:
        if stream.peek(1):
            with tarfile.open(
                fileobj=stream, mode="r|", errorlevel=2, bufsize=_PIECE, tarinfo=StrictHead
            ) as tar:
                for member in members(tar):
                    path = _extract(tar, member, root, place, owner, keep_kind=keep_kind)
                    if path and member.isdir():
                        times.append((path, member.mtime))
            while stream.read(_PIECE):
                pass  # damage behind the archive's end counts as well
    except TornError as error:
        raise TarError(str(error)) from error
    except tarfile.TarError as error:
        raise TarError("unexpected EOF") from error
    if plain.decompression.damage:
        raise DamageError(plain.decompression.damage)
    for path, mtime in times:
        with _opened(root, path, _LOOK) as descriptor:
            os.utime(via(descriptor), (mtime, mtime))


@contextlib.contextmanager
def _host_root() -> Iterator[int]:
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _white_out(tar: IO[bytes], root: int, place: str, name: str) -> bool:
    """Write the mark of something that is gone (to overlayfs a device 0:0); return whether `place` is one."""
    with _opened(root, place, _LOOK) as found:
        status = os.fstat(found)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev:
        return False
    directory, _, base = name.rpartition("/")
    _mark(tar, f"{directory}/{_WHITEOUT}{base}" if directory else _WHITEOUT + base, 0o600)
    return True


def _is_opaque(root: int, place: str) -> bool:
    """Tell whether a directory hides what lower layers have in it."""
    with _opened(root, place, _LOOK) as found:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            return False
        try:
            return os.getxattr(via(found), _OPAQUE_ATTRIBUTE) == b"y"
        except OSError:
            return False


def _mark(tar: IO[bytes], name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.uname, member.gname = mode, "root", "root"
    _write(tar, member, kind=0)


@contextlib.contextmanager
def _opened(root: int, path: str, flags: int) -> Iterator[int]:
    descriptor = open_in_root(root, path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _add(
    tar: IO[bytes], root: int, place: str, name: str, first: dict[tuple[int, int], str], owners: _Owners
) -> list[str]:
    """Write one member; return the names in it when it is a directory."""
    with _opened(root, place, _LOOK) as found:
        status = os.fstat(found)
        if stat.S_ISSOCK(status.st_mode):
            return []
        member = _member(name, status, owners)
        if stat.S_ISLNK(status.st_mode):
            member.linkname = os.readlink("", dir_fd=found)
        if stat.S_ISDIR(status.st_mode):
            if name:
                _write(tar, member)
            return sorted(os.listdir(via(found)), key=os.fsencode)  # noqa: PTH208
        if not stat.S_ISREG(status.st_mode):
            _write(tar, member)
            return []
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and first.setdefault(identity, name) != name:
            member.type, member.linkname, member.size = tarfile.LNKTYPE, first[identity], 0
            _write(tar, member)
            return []
        with contextlib.suppress(OSError):
            value = os.getxattr(via(found), _CAPABILITY)
            member.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": value.decode("utf-8", "surrogateescape")}
        with Path(via(found)).open("rb", buffering=0) as file:
            _write(tar, member, _Padded(file))
        return []


def _write(
    tar: IO[bytes], member: tarfile.TarInfo, content: _Padded | None = None, kind: int | None = None
) -> None:
    """Write one member as Go does: without records, and with the kind of file in the mode too (or `kind` instead)."""
    head = bytearray(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    block = head[-_BLOCK:]
    block[_MODE] = b"%07o\0" % (member.mode | (_KINDS[member.type] if kind is None else kind))
    block[_CHECKSUM] = b" " * 8
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    head[-_BLOCK:] = block
    tar.write(head)
    left = member.size
    while content is not None and left:
        left -= tar.write(content.read(min(left, _PIECE)))
    tar.write(bytes(-member.size % _BLOCK))


def _member(name: str, status: os.stat_result, owners: _Owners) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    mode = status.st_mode
    member.mode, member.uid, member.gid = stat.S_IMODE(mode), status.st_uid, status.st_gid
    member.uname, member.gname, member.mtime = (
        owners.users.get(status.st_uid, ""),
        owners.groups.get(status.st_gid, ""),
        int(status.st_mtime),
    )
    member.type = {
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
    }.get(stat.S_IFMT(mode), tarfile.REGTYPE)
    if member.isreg():
        member.size = status.st_size
    elif member.isdev() and not member.isfifo():
        member.devmajor, member.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return member


@dataclass(frozen=True, slots=True)
class _Owners:
    """Names of users and groups by number, as the tree's own files say: dockerd has changed its root when it asks."""

    users: dict[int, str]
    groups: dict[int, str]

    @classmethod
    def of(cls, root: int) -> _Owners:
        return cls(_names(root, "etc/passwd"), _names(root, "etc/group"))


def _names(root: int, path: str) -> dict[int, str]:
    """Return the names in a file of passwd(5)'s form, by number; the first one of a number, as the C library has it."""
    names: dict[int, str] = {}
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return names
    with io.FileIO(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return names
        text = file.read(_LONGEST_NAMES).decode("utf-8", "replace")
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            names.setdefault(int(fields[2]), fields[0])
    return names


class _Padded:
    """A file that may shrink while it is read: zeros stand for what has gone, because its size is written already."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        data = bytearray()
        while len(data) < size and (piece := self._file.read(size - len(data))):
            data += piece
        return bytes(data.ljust(size, b"\0"))


class _Plain(io.RawIOBase):
    """The plain bytes of a stream, whatever it is compressed with; it ends where there is damage."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self._ready = b""
        self._ended = False
        self.decompression = Decompression()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer as far as the next piece does."""
        while not self._ready and not self._ended:
            piece = self._source.read(_PIECE)
            self._ready = self.decompression.feed(piece) if piece else self.decompression.finish()
            self._ended = not piece or bool(self.decompression.damage)
        view = memoryview(buffer)
        piece, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(piece)] = piece
        return len(piece)


def _extract(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    root: int,
    place: str,
    owner: tuple[int, int] | None,
    *,
    keep_kind: bool,
) -> str:
    """Make one member; return its path, "" for the directory itself."""
    name = posixpath.normpath(member.name)
    path = posixpath.normpath(f"{place}/{name}").replace("//", "/")
    if not _is_below(path, place):
        raise TarError(f"{_quoted(name)} is outside of {_quoted(place)}")
    if name == "." or path == place:
        return ""
    directory, base = posixpath.split(path)
    try:
        above = make_directories(root, directory)
    except (OSError, LinuxError) as error:
        if error.errno != errno.ENOTDIR:
            raise
        raise TarError(f"{_call(member, path, place)}: not a directory") from error
    try:
        try:
            _clear(above, base, member, path, place, keep_kind=keep_kind)
            _make(tar, member, root, (above, base), path, place)
        except (OSError, LinuxError) as error:
            raise TarError(
                f"{_call(member, path, place)}: {os.strerror(error.errno or 0).lower()}"
            ) from error
        if not member.islnk():
            _dress(member, above, base, owner)
    finally:
        os.close(above)
    return path


def _call(member: tarfile.TarInfo, path: str, place: str) -> str:
    """Return what makes a member, as Go's errors name it."""
    if member.isdir():
        return f"mkdir {path}"
    if member.issym():
        return f"symlink {member.linkname} {path}"
    if member.islnk():
        return f"link {posixpath.normpath(f'{place}/{member.linkname}')} {path}"
    return f"open {path}" if member.isreg() else f"mknod {path}"


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _clear(above: int, base: str, member: tarfile.TarInfo, path: str, place: str, *, keep_kind: bool) -> None:
    try:
        mode = os.lstat(base, dir_fd=above).st_mode
    except FileNotFoundError:
        return
    if keep_kind and stat.S_ISDIR(mode) and not member.isdir():
        raise TarError(f"cannot overwrite directory {_quoted(path)} with non-directory {_quoted(place)}")
    if keep_kind and not stat.S_ISDIR(mode) and member.isdir():
        raise TarError(f"cannot overwrite non-directory {_quoted(path)} with directory {_quoted(place)}")
    if not stat.S_ISDIR(mode):
        os.unlink(base, dir_fd=above)
    elif not member.isdir():
        shutil.rmtree(base, dir_fd=above)


def _make(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: int, at: tuple[int, str], path: str, place: str
) -> None:
    above, base = at
    if member.type == tarfile.CONTTYPE:
        raise TarError(f"unhandled tar header type {member.type[0]}")
    if member.isdir():
        with contextlib.suppress(FileExistsError):
            os.mkdir(base, 0o755, dir_fd=above)
    elif member.isreg():
        descriptor = os.open(base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=above)
        with os.fdopen(descriptor, "wb") as file:
            content = tar.extractfile(member)
            assert content is not None
            shutil.copyfileobj(content, file, _PIECE)
    elif member.issym():
        target = posixpath.normpath(f"{posixpath.dirname(path)}/{member.linkname}")
        if not _is_below(target.replace("//", "/"), place):
            raise TarError(f"invalid symlink {_quoted(path)} -> {_quoted(member.linkname)}")
        os.symlink(member.linkname, base, dir_fd=above)
    elif member.islnk():
        target = posixpath.normpath(f"{place}/{member.linkname}").replace("//", "/")
        if not _is_below(target, place):
            raise TarError(f"invalid hardlink {_quoted(target)} -> {_quoted(member.linkname)}")
        directory, name = posixpath.split(target)
        with _opened(root, directory, os.O_PATH | os.O_DIRECTORY) as source:
            os.link(name, base, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(base, 0o600, dir_fd=above)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(base, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=above)
    else:
        raise TarError(f"unhandled tar header type {member.type[0]}")


def _dress(member: tarfile.TarInfo, above: int, base: str, owner: tuple[int, int] | None) -> None:
    """Owner first, since a change of owner drops set-uid bits and capabilities; then mode, attributes, times."""
    uid, gid = owner or (member.uid, member.gid)
    os.chown(base, uid & _ID, gid & _ID, dir_fd=above, follow_symlinks=False)
    if not member.issym():
        found = os.open(base, _LOOK | os.O_CLOEXEC, dir_fd=above)
        try:
            Path(via(found)).chmod(member.mode & 0o7777)
            value = member.pax_headers.get(f"SCHILY.xattr.{_CAPABILITY}")
            if value is not None and member.isreg():
                os.setxattr(via(found), _CAPABILITY, value.encode("utf-8", "surrogateescape"))
        finally:
            os.close(found)
    if not member.isdir():
        os.utime(base, (member.mtime, member.mtime), dir_fd=above, follow_symlinks=False)
