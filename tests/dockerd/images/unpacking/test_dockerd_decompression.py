"""Streams that are compressed or not, whole or damaged, in pieces of any size."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
import zstandard

from sixhops.dockerd.images.unpacking.decompression import Decompression

_PLAIN = b"some bytes " * 500
_GZIP = gzip.compress(_PLAIN, mtime=0)


def _all(data: bytes, piece: int) -> tuple[bytes, str]:
    stream = Decompression()
    out = b"".join(stream.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    return out + stream.finish(), stream.damage


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"", b""),
        (b"abc", b"abc"),
        (b"\x1f\x8b", b"\x1f\x8b"),
        (_PLAIN, _PLAIN),
        (_GZIP, _PLAIN),
        (_GZIP + _GZIP, _PLAIN * 2),
        (bz2.compress(_PLAIN), _PLAIN),
        (lzma.compress(_PLAIN) + bytes(8), _PLAIN),
        (zstandard.compress(_PLAIN) * 2, _PLAIN * 2),
    ],
)
def test_whole_streams_give_their_bytes(data: bytes, plain: bytes, piece: int) -> None:
    assert _all(data, piece) == (plain, "")


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (_GZIP[:-9], "unexpected EOF"),
        (_GZIP + b"junk", "unexpected EOF"),
        (_GZIP + b"junk" * 10, "gzip: invalid header"),
        (_GZIP[:-8] + bytes(8), "gzip: invalid checksum"),
        (_GZIP[:12] + b"\xff" * 20, "flate: corrupt input"),
        (b"BZh9" + b"x" * 99, "bzip2 data invalid: bad magic value found"),
        (bz2.compress(_PLAIN)[:20], "unexpected EOF"),
        (bz2.compress(_PLAIN) + b"x" * 30, "bzip2 data invalid: bad magic value in continuation file"),
        (b"\xfd7zXZ\0" + b"x" * 99, "exit status 1: xz: (stdin): Compressed data is corrupt\n"),
        (lzma.compress(_PLAIN)[:30], "exit status 1: xz: (stdin): Unexpected end of input\n"),
    ],
)
def test_damage_is_named_in_the_engines_words(data: bytes, damage: str, piece: int) -> None:
    assert _all(data, piece)[1] == damage
