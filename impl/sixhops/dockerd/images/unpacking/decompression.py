"""Plain bytes of a stream, whatever it is compressed with; no I/O.

The format shows in the first bytes. What is damaged gives no bytes from there on and says so at the end (`damage`), because
the engine's message depends on what whoever reads the plain bytes made of those before.

Source: pkg/archive of moby 20.10 (`DetectCompression`, `DecompressStream`), whose words these are; it has no zstd yet.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard
from isal import igzip_lib, isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Decompression"]

#: So many bytes are looked at to tell the format.
_HEAD: Final = 10
_EARLY: Final = "unexpected EOF"
# the package's stub declares the exception as an instance of Exception instead of a class
_GzipError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]
_DAMAGED: Final = (_GzipError, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError)
_XZ: Final = "exit status 1: xz: (stdin): "


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Format:
    """One of the formats: how its streams are read, any number of them after one another."""

    def __init__(self, magic: bytes, make: Callable[[], _Stream], early: str = _EARLY) -> None:
        self.magic = magic
        self.make = make
        self.early = early

    def words(self, error: Exception, *, is_first: bool) -> str:
        """Return what the engine says to damage; `is_first`: in the first stream."""
        del is_first
        return str(error)


class _Gzip(_Format):
    def words(self, error: Exception, *, is_first: bool) -> str:
        del is_first
        if "wrapper" in str(error):
            return "gzip: invalid header"
        return "gzip: invalid checksum" if "checksum" in str(error) else "flate: corrupt input"


class _Bzip2(_Format):
    def words(self, error: Exception, *, is_first: bool) -> str:
        del error
        return f"bzip2 data invalid: bad magic value {'found' if is_first else 'in continuation file'}"


class _Xz(_Format):
    def words(self, error: Exception, *, is_first: bool) -> str:
        del error, is_first
        return f"{_XZ}Compressed data is corrupt\n"


_FORMATS: Final = (
    _Gzip(b"\x1f\x8b\x08", lambda: isal_zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)),
    _Bzip2(b"BZh", bz2.BZ2Decompressor),
    _Xz(b"\xfd7zXZ\0", lzma.LZMADecompressor, f"{_XZ}Unexpected end of input\n"),
    _Format(b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
)


class Decompression:
    """Bytes of a stream go in, plain bytes come out."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._format: _Format | None = None
        self._stream: _Stream | None = None
        self._is_first = True
        #: What is the matter with the stream, "" for nothing; complete once `finish` was called.
        self.damage = ""

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return the plain ones that are known by now, none once there is damage."""
        if self._head is not None:
            self._head += data
            if len(self._head) < _HEAD:
                return b""
            data = self._begin(self._head)
        return self._decompress(data)

    def finish(self) -> bytes:
        """Note the end; return the last plain bytes."""
        last = b""
        if self._head is not None:
            last = self._decompress(self._begin(self._head))
        if self._format is not None and self._stream is not None and not self._stream.eof:
            self.damage = self.damage or self._format.early
        return last

    def _begin(self, head: bytes) -> bytes:
        self._head = None
        self._format = next((one for one in _FORMATS if head.startswith(one.magic)), None)
        self._stream = self._format.make() if self._format is not None else None
        return head

    def _decompress(self, data: bytes) -> bytes:
        if self._format is None or self._stream is None:
            return data
        out = b""
        while data and not self.damage:
            if self._stream.eof:
                if isinstance(self._format, _Xz) and not (data := data.lstrip(b"\0")):
                    break  # zeros may stand between streams, and behind the last
                self._stream, self._is_first = self._format.make(), False
            try:
                out += self._stream.decompress(data)
            except _DAMAGED as error:
                self.damage = self._format.words(error, is_first=self._is_first)
                break
            data = self._stream.unused_data if self._stream.eof else b""
        return out
