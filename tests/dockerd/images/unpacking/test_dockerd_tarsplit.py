"""A tar that was unpacked and put together again is the same, byte for byte."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.images.unpacking.tarsplit import Recorder, SplitError, assemble

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a": b"first", "dir/b": b"x" * 100_000, "empty": b"", "dir/long-" + "n" * 150: b"\n0 B\n"}


def tar_of(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a"
        tar.addfile(link)
    return data.getvalue() + bytes(5000)


def split(data: bytes, tree: Path, side: Path) -> None:
    with side.open("wb") as target:
        recorder = Recorder(io.BytesIO(data), target)
        with tarfile.open(fileobj=recorder, mode="r|", bufsize=10_240) as tar:  # type: ignore[call-overload]
            for member in tar:
                recorder.entry(member, f"/{member.name}")
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    (tree / member.name).parent.mkdir(parents=True, exist_ok=True)
                    (tree / member.name).write_bytes(content.read())
        while recorder.read(4096):
            pass
        recorder.finish()


def test_assemble_gives_the_same_bytes(tmp_path: Path) -> None:
    data, tree, side = tar_of(FILES), tmp_path / "tree", tmp_path / "side"
    tree.mkdir()
    split(data, tree, side)

    with assemble(side, tree, f"sha256:{hashlib.sha256(data).hexdigest()}", tmp_path) as found:
        assert found.read() == data
    assert side.stat().st_size < len(data) / 10


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_assemble_refuses_a_tree_that_has_changed(tmp_path: Path, damage: str) -> None:
    data, tree, side = tar_of(FILES), tmp_path / "tree", tmp_path / "side"
    tree.mkdir()
    split(data, tree, side)
    if damage == "changed":
        (tree / "a").write_bytes(b"other")
    else:
        (tree / "a").unlink()

    with pytest.raises(SplitError):
        assemble(side, tree, f"sha256:{hashlib.sha256(data).hexdigest()}", tmp_path)
