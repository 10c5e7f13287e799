"""Layers as directories."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.images import build, load_recipe, unpack_image, unpack_tar

if TYPE_CHECKING:
    from pathlib import Path

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other owners, and devices")


def archive(*members: tuple[str, dict[str, Any]], data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, fields in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            info.uid, info.gid = os.getuid(), os.getgid()
            for key, value in fields.items():
                setattr(info, key, value)
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


@ROOT
def test_an_image_with_everything(tmp_path: Path) -> None:
    recipe = tmp_path / "images" / "all.yaml"
    recipe.parent.mkdir()
    recipe.write_text(
        """\
layers:
  - - {dir: /etc, mode: '0750', uid: 3, gid: 4, mtime: 1000}
    - {file: /etc/a, text: one, mode: '4711', uid: 5, mtime: 2000, xattrs: {user.color: blue}}
    - {hardlink: /etc/b, to: /etc/a}
    - {symlink: /etc/c, to: a}
    - {fifo: /f}
    - {char: /n, major: 1, minor: 3}
    - {file: /gone, text: x}
    - {dir: /full}
    - {file: /full/old, text: x}
  - - {whiteout: /gone}
    - {opaque: /full}
    - {file: /full/new, text: y}
"""
    )
    cache, rootfs = tmp_path / "cache", tmp_path / "rootfs"
    cache.mkdir()
    rootfs.mkdir()

    unpack_image(build(load_recipe(recipe), cache), rootfs)

    etc, one = (rootfs / "etc").stat(), (rootfs / "etc/a").stat()
    assert (stat.S_IMODE(etc.st_mode), etc.st_uid, etc.st_gid, etc.st_mtime) == (0o750, 3, 4, 1000)
    assert (stat.S_IMODE(one.st_mode), one.st_uid, one.st_mtime, one.st_nlink) == (0o4711, 5, 2000, 2)
    assert os.getxattr(rootfs / "etc/a", "user.color") == b"blue"
    assert (rootfs / "etc/b").read_text() == "one"
    assert str((rootfs / "etc/c").readlink()) == "a"
    assert (rootfs / "f").is_fifo()
    assert (rootfs / "n").stat().st_rdev == os.makedev(1, 3)
    assert not (rootfs / "gone").exists()
    assert [path.name for path in (rootfs / "full").iterdir()] == ["new"]


def test_what_is_there_is_replaced(tmp_path: Path) -> None:
    unpack_tar(archive(("a", {"type": tarfile.DIRTYPE, "mode": 0o755}), ("a/b", {})), tmp_path)
    unpack_tar(archive(("a", {}), data=b"now a file"), tmp_path)

    assert (tmp_path / "a").read_bytes() == b"now a file"


@pytest.mark.parametrize(
    "members",
    [
        [("../x", {})],
        [("l", {"type": tarfile.SYMTYPE, "linkname": ".."}), ("l/x", {})],
        [("l", {"type": tarfile.SYMTYPE, "linkname": "/"}), ("l/x", {})],
        [("h", {"type": tarfile.LNKTYPE, "linkname": "../outside"})],
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, members: list[Any]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("safe")

    with pytest.raises(ScenarioError, match="leads out of the root file system"):
        unpack_tar(archive(*members), root)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


def test_a_final_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("safe")

    unpack_tar(
        archive(("l", {"type": tarfile.SYMTYPE, "linkname": "../outside"}), ("l", {}), data=b"new"), root
    )

    assert (tmp_path / "outside").read_text() == "safe"
    assert (root / "l").read_bytes() == b"new"
