"""The heads of a tar, read strictly: tarfile by itself takes a broken one for the archive's end.

Messages are those of Go's archive/tar.
"""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["StrictHead", "TornError", "entries", "go_head", "is_ended", "members"]

#: tarfile's own, which its stub does not have: nothing there, zeros, half a head, no second head after an extended one.
_EMPTY: type[Exception] = tarfile.EmptyHeaderError  # type: ignore[attr-defined]
_ZEROS: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_HALF: type[Exception] = tarfile.TruncatedHeaderError  # type: ignore[attr-defined]
_NO_SECOND: type[Exception] = tarfile.SubsequentHeaderError  # type: ignore[attr-defined]


_MODE, _CHECKSUM, _DEVICES = slice(100, 108), slice(148, 156), slice(329, 345)


class TornError(Exception):
    """The tar ends too early, or has a head that is none."""


class StrictHead(tarfile.TarInfo):
    """A head whose mistakes are raised."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next head. Raises TornError, and tarfile's own errors for the archive's end."""
        try:
            return super().fromtarfile(tarfile_)
        except _EMPTY:
            raise
        except _ZEROS:
            # one block of zeros may end a tar, but only two may stand before something else
            following = tarfile_.fileobj.read(tarfile.BLOCKSIZE)
            if 0 < len(following) < tarfile.BLOCKSIZE:
                raise TornError("unexpected EOF") from None
            if following.strip(b"\0"):
                raise TornError("archive/tar: invalid tar header") from None
            raise
        except (_HALF, _NO_SECOND) as error:
            raise TornError("unexpected EOF") from error
        except (tarfile.HeaderError, ValueError) as error:
            raise TornError("archive/tar: invalid tar header") from error

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            found: tarfile.TarInfo = super()._proc_member(tarfile_)  # type: ignore[misc] # the stub does not have it
        except _NO_SECOND as error:
            is_whole = tarfile_.fileobj.tell() >= self.offset + tarfile.BLOCKSIZE + self.size
            if is_whole and isinstance(error.__context__, _EMPTY):
                raise _ZEROS from error  # a whole extended head that nothing follows ends the archive
            raise
        return found


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Give the members of a tar. Raises TornError.

    What pads the last member may be missing, as Go has it.
    """
    last: tarfile.TarInfo | None = None
    left = iter(archive)
    while True:
        try:
            last = next(left)
        except StopIteration:
            return
        except tarfile.ReadError as error:
            if last is not None and archive.fileobj.tell() >= last.offset_data + last.size:
                return
            raise TornError("unexpected EOF") from error
        yield last


def is_ended(data: bytes | bytearray) -> bool:
    """Tell whether these bytes of a tar reach to its end (two blocks of zeros), or to a head that is none."""
    at, block = 0, tarfile.BLOCKSIZE
    while at + 2 * block <= len(data):
        if not any(data[at : at + 2 * block]):
            return True
        try:
            size = tarfile.TarInfo.frombuf(bytes(data[at : at + block]), "utf-8", "surrogateescape").size
        except (tarfile.HeaderError, ValueError):
            return any(data[at : at + block])
        at += block + -(-size // block) * block
    return False


def go_head(info: tarfile.TarInfo) -> bytes:
    """Return a member's head as Go writes it: the kind of file stands in the mode too, and no number is left out."""
    head = bytearray(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    block = head[-tarfile.BLOCKSIZE :]
    block[_MODE] = b"%07o\0" % info.mode
    block[_DEVICES] = b"0000000\0" * 2
    block[_CHECKSUM] = b" " * 8
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    head[-tarfile.BLOCKSIZE :] = block
    return bytes(head)


def entries(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Give the members of a tar in a file; nothing at all has none. Raises TornError."""
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=StrictHead) as archive:
            yield from members(archive)
    except tarfile.ReadError as error:
        if str(error) != "empty file":
            raise TornError("unexpected EOF") from error
