"""A tar's table of contents: members by path, with links followed inside the archive.

It stands for the directory that dockerd 20.10 unpacks an archive into; messages are about that directory, and name one.
"""

from __future__ import annotations

import posixpath
from typing import IO, TYPE_CHECKING, Final

from sixhops.dockerd.errors import system
from sixhops.dockerd.images.unpacking.tarheads import TornError, entries

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path
    from types import TracebackType

__all__ = ["Contents", "Member"]

_LONGEST_DOCUMENT: Final = 32 << 20
_MOST_LINKS: Final = 255
_TORN = "Error processing tar file(exit status 1): "


class Member:
    """The content of one member, from its beginning."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file = file
        self._at = offset
        self._left = size
        self.size = size

    def __enter__(self) -> Member:
        """Use as it is."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is held: the file is the archive's."""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes more."""
        self._file.seek(self._at)
        data = self._file.read(min(size, self._left))
        self._at += len(data)
        self._left -= len(data)
        return data


class Contents:
    """Use as a context manager; it holds the archive open."""

    def __init__(self, path: Path, file: IO[bytes], members: dict[str, tarfile.TarInfo]) -> None:
        self._directory = path
        self._file = file
        self._members = members

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Read an archive's heads, all of them. Raises EngineError 500 for one that is torn."""
        file = path.open("rb")
        try:
            found = {_clean(entry.name): entry for entry in entries(file)}
            size = path.stat().st_size
            if any(entry.offset_data + entry.size > size for entry in found.values() if entry.isreg()):
                raise TornError("unexpected EOF")
        except TornError as error:
            file.close()
            raise system(f"{_TORN}{error}") from error
        return cls(path, file, found)

    def __enter__(self) -> Contents:
        """Use as it is."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the archive."""
        self._file.close()

    def has(self, path: str) -> bool:
        """Tell whether there is a file of that path."""
        return self._find(path) is not None

    def folders(self) -> list[str]:
        """Return the directories at the top, in lexical order."""
        tops = {path.partition("/")[0] for path in self._members if "/" in path}
        tops |= {path for path, entry in self._members.items() if entry.isdir() and "/" not in path}
        return sorted(tops - {""})

    def open(self, path: str) -> Member:
        """Return a file's content. Raises EngineError 500 when there is none."""
        clean = posixpath.normpath(path)
        if clean.startswith("../") or clean == "..":
            outside = posixpath.normpath(f"{self._directory}/{path}")
            raise system(f"evalSymlinksInScope: {outside} is not in {self._directory}")
        entry = self._find(path)
        if entry is None:
            raise system(f"open {self._directory}/{clean.lstrip('/')}: no such file or directory")
        if not entry.isreg():
            raise system(f"read {self._directory}/{clean.lstrip('/')}: is a directory")
        return Member(self._file, entry.offset_data, entry.size)

    def read(self, path: str) -> bytes:
        """Return a whole file. Raises EngineError 500 when there is none, or it is no document by its size."""
        member = self.open(path)
        if member.size > _LONGEST_DOCUMENT:
            raise system(f"{path} is too long for a document")
        return member.read(member.size)

    def _find(self, path: str) -> tarfile.TarInfo | None:
        """Follow links from part to part, never out of the archive; None when that leads nowhere."""
        done: list[str] = []
        left = path.split("/")[::-1]
        for _step in range(_MOST_LINKS):
            if not left:
                break
            part = left.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                del done[-1:]
                continue
            entry = self._members.get("/".join([*done, part]))
            if entry is not None and (entry.issym() or entry.islnk()):
                if entry.islnk() or entry.linkname.startswith("/"):
                    done = []
                left += entry.linkname.split("/")[::-1]
                continue
            done.append(part)
        return None if left else self._members.get("/".join(done))


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
