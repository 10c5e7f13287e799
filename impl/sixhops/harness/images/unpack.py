"""A built image's layers as a directory: a copy of its root file system that its user may change.

The layers are ours, but a recipe may hold links that lead elsewhere on purpose; nothing is ever written outside of the
directory.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sixhops.harness.errors import ScenarioError
from sixhops.harness.images.store import uncompressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.images.built import BuiltImage

__all__ = ["unpack_image", "unpack_tar"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_XATTR: Final = "SCHILY.xattr."


def unpack_image(image: BuiltImage, directory: Path) -> None:
    """Unpack the layers of the member that fits this machine into `directory`, lowest first.

    Raises ScenarioError for a member that leads out of the directory, and for an image without layers on disk.
    """
    for layer in image.layers:
        place = image.blobs.get(layer.digest)
        if place is None:
            raise ScenarioError(f"the image {image.name} has no layers to make a rootfs of")
        _unpack(_Pieces(uncompressed(place)), directory, whiteouts=True)


def unpack_tar(data: bytes, directory: Path) -> None:
    """Unpack an archive over `directory`. Raises ScenarioError as above."""
    _unpack(io.BytesIO(data), directory, whiteouts=False)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that can be read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        end = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:end], self._rest[end:]
        return data


def _unpack(source: io.RawIOBase | io.BytesIO, directory: Path, *, whiteouts: bool) -> None:
    root = Path(os.path.realpath(directory))
    times: list[tuple[Path, float]] = []
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            name = member.name.strip("/")
            place = root / name
            parent = Path(os.path.realpath(place.parent))
            if parent != root and not parent.is_relative_to(root) and place != root:
                raise ScenarioError(f"{member.name} of a layer leads out of the root file system")
            if whiteouts and place.name == _OPAQUE:
                for entry in parent.iterdir():
                    _remove(entry)
            elif whiteouts and place.name.startswith(_WHITEOUT):
                _remove(parent / place.name.removeprefix(_WHITEOUT))
            else:
                _put(archive, member, parent / place.name if place != root else root, root)
                if member.isdir():
                    times.append((place, member.mtime))
    # What came later into a directory has changed its time.
    for place, moment in reversed(times):
        if place.is_dir() and not place.is_symlink():
            os.utime(place, (moment, moment))


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path, root: Path) -> None:
    if place != root and place.is_symlink():
        place.unlink()
    elif place.exists() and not (member.isdir() and place.is_dir()):
        _remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        place.mkdir(exist_ok=True)
    elif member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        target = root / member.linkname.strip("/")
        if not Path(os.path.realpath(target.parent)).is_relative_to(root):
            raise ScenarioError(f"{member.linkname} of a layer leads out of the root file system")
        os.link(target, place, follow_symlinks=False)
        return
    elif member.isreg():
        source = archive.extractfile(member)
        assert source is not None
        with source, place.open("xb") as file:
            shutil.copyfileobj(source, file)
    else:
        kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(place, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    os.chown(place, member.uid, member.gid, follow_symlinks=False)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            os.setxattr(place, key.removeprefix(_XATTR), value.encode(), follow_symlinks=False)
    if not member.issym():
        place.chmod(member.mode)
    os.utime(place, (member.mtime, member.mtime), follow_symlinks=False)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
