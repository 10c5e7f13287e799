"""What of a layer's tar its unpacked tree does not hold: headers, padding, order. With it the tar can be put together again.

An image's layers are named by the digest of their tar, byte for byte, so `docker save` must give back the very same
tar. While a layer is unpacked, everything in the stream that is not a file's content is written to a side
file, a compressed list:

```
B <length>\\n<bytes>     bytes to copy
F <length> <path>\\n     that many bytes of the file `path` of the tree
```

Sparse members are kept whole, because their content in the tar is not the file's.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tempfile
import zlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DuplicateError", "Recorder", "SplitError", "assemble"]

_PIECE = 1 << 20
_LEVEL = 1


class SplitError(Exception):
    """The tree and its side file no longer give the tar that the layer was made of."""


class DuplicateError(Exception):
    """Two members have one name, which the engine does not take: the tar could not be put together again."""


class Recorder:
    """Stands between a tar stream and its reader and writes the side file as the reader comes along."""

    def __init__(self, stream: IO[bytes], target: IO[bytes]) -> None:
        self._stream = stream
        self._target = target
        self._compress = zlib.compressobj(_LEVEL)
        self._held = bytearray()
        self._base = 0
        self._skip_to = 0
        self._names: set[str] = set()

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        data = self._stream.read(size)
        self._held += data
        self._drop()
        return data

    def name(self, name: str) -> None:
        """Note a member's name. Raises DuplicateError for one that was there already."""
        clean = posixpath.normpath(name)
        if clean in self._names:
            raise DuplicateError("duplicates of file paths not supported")
        self._names.add(clean)

    def entry(self, member: tarfile.TarInfo, path: str) -> None:
        """Note that a member was read: its content is to be found at `path` of the tree."""
        if not member.isreg() or member.issparse() or not member.size:
            return
        self._copy(member.offset_data - self._base)
        self._put(f"F {member.size} {path}\n".encode("utf-8", "surrogateescape"))
        self._skip_to = member.offset_data + member.size
        self._drop()

    def finish(self) -> None:
        """Write what is left; the stream has been read to its end."""
        self._copy(len(self._held))
        self._target.write(self._compress.flush())

    def _copy(self, length: int) -> None:
        if length > 0:
            self._put(b"B %d\n" % length + bytes(self._held[:length]))
            del self._held[:length]
            self._base += length

    def _drop(self) -> None:
        surplus = min(len(self._held), self._skip_to - self._base)
        if surplus > 0:
            del self._held[:surplus]
            self._base += surplus

    def _put(self, data: bytes) -> None:
        self._target.write(self._compress.compress(data))


def assemble(side: Path, tree: Path, diff_id: str, directory: Path) -> IO[bytes]:
    """Return an unnamed file in `directory` with the tar. Raises SplitError when it is not the one named `diff_id`."""
    target = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - the caller's to close
    try:
        found = hashlib.sha256()
        root = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with tempfile.TemporaryFile(dir=directory) as plain:
                _inflate(side, plain)
                for piece in _pieces(plain, root):
                    found.update(piece)
                    target.write(piece)
        finally:
            os.close(root)
        if f"sha256:{found.hexdigest()}" != diff_id:
            raise SplitError(f"layer {diff_id} was changed on disk")
    except OSError as error:
        target.close()
        raise SplitError(f"layer {diff_id}: {error}") from error
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target


def _inflate(side: Path, target: IO[bytes]) -> None:
    inflate = zlib.decompressobj()
    with side.open("rb") as source:
        while piece := source.read(_PIECE):
            target.write(inflate.decompress(piece))
    target.seek(0)


def _pieces(plain: IO[bytes], root: int) -> Iterator[bytes]:
    while line := plain.readline():
        kind, _, rest = line.rstrip(b"\n").partition(b" ")
        if kind == b"B":
            yield plain.read(int(rest))
            continue
        size, _, path = rest.partition(b" ")
        left = int(size)
        # the path was made inside this tree by a chrooted process; its parents are directories, not links
        descriptor = os.open(path.lstrip(b"/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        with os.fdopen(descriptor, "rb") as content:
            while left and (piece := content.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
