"""Unpacking happens in a chroot, so these tests fork a worker as the engine does; they need root."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.images.unpacking import unpack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the layer is unpacked in a chroot")


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def unpacked(root: Path, *members: tuple[tarfile.TarInfo, bytes]) -> dict[str, Any]:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return run_worker(root, data.getvalue())


def run_worker(root: Path, tar: bytes, **arguments: str) -> dict[str, Any]:
    source, feed = os.pipe()
    report, back = os.pipe()
    pid = os.fork()
    if pid == 0:
        gc.disable()  # what earlier tests left, gRPC's channels for one, waits for threads that are not here
        os.close(feed)
        os._exit(unpack.work({"root": str(root)} | arguments, [source, back]))
    os.close(source)
    os.close(back)
    with os.fdopen(feed, "wb") as stream, contextlib.suppress(BrokenPipeError):
        stream.write(tar)
    with os.fdopen(report, "rb") as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    result: dict[str, Any] = json.loads(answer)
    return result


def test_files_keep_content_mode_owner_and_time(tmp_path: Path) -> None:
    result = unpacked(tmp_path, (entry("bin/tool", mode=0o4755, uid=12, gid=34, mtime=1000), b"x" * 5000))

    found = (tmp_path / "bin/tool").stat()
    assert result == {"size": 5000}
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime) == (0o4755, 12, 34, 1000)
    assert (tmp_path / "bin/tool").read_bytes() == b"x" * 5000


def test_links_devices_and_fifos(tmp_path: Path) -> None:
    unpacked(
        tmp_path,
        (entry("a"), b"content"),
        (entry("hard", tarfile.LNKTYPE, linkname="a"), b""),
        (entry("soft", tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (entry("pipe", tarfile.FIFOTYPE), b""),
    )

    assert (tmp_path / "hard").stat().st_ino == (tmp_path / "a").stat().st_ino
    assert (tmp_path / "soft").readlink().as_posix() == "/etc/passwd"
    assert (tmp_path / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_whiteouts_become_overlayfs_own(tmp_path: Path) -> None:
    unpacked(
        tmp_path, (entry("d/.wh.gone"), b""), (entry("d/.wh..wh..opq"), b""), (entry("d/.wh..wh.plnk"), b"")
    )

    gone = (tmp_path / "d/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(tmp_path / "d", "trusted.overlay.opaque") == b"y"
    assert sorted(item.name for item in (tmp_path / "d").iterdir()) == ["gone"]


def test_nothing_escapes_the_layer(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    unpacked(root, (entry("../outside/up"), b"1"), (entry("/absolute"), b"2"))

    assert list(outside.iterdir()) == []
    assert (root / "outside/up").read_bytes() == b"1"
    assert (root / "absolute").read_bytes() == b"2"


@pytest.mark.parametrize(("target", "place"), [("/", "x"), ("..", "x"), ("/etc", "etc/x"), ("etc", "etc/x")])
def test_an_entry_below_a_link_goes_where_the_link_leads(tmp_path: Path, target: str, place: str) -> None:
    unpacked(
        tmp_path,
        (entry("etc", tarfile.DIRTYPE), b""),
        (entry("link", tarfile.SYMTYPE, linkname=target), b""),
        (entry("link/x"), b"x"),
    )

    assert (tmp_path / place).read_bytes() == b"x"


def test_an_entry_below_a_file_is_refused(tmp_path: Path) -> None:
    result = unpacked(tmp_path, (entry("file"), b"1"), (entry("file/x"), b"x"))

    assert result == {"error": "open /file/x: not a directory"}


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(entry("x"), io.BytesIO())
        archive.addfile(entry("./x"), io.BytesIO())

    root = tmp_path / "root"
    root.mkdir()

    result = run_worker(root, data.getvalue(), split=str(tmp_path / "split"))

    assert result == {"error": "", "how": "duplicates of file paths not supported"}


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    result = unpacked(tmp_path, (entry("hard", tarfile.LNKTYPE, linkname="nothing"), b""))

    assert result == {"error": "link /nothing /hard: no such file or directory"}


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = entry("a")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"x" * 5000))

    result = run_worker(tmp_path, data.getvalue()[:2000])

    assert result == {"error": "unexpected EOF"}


def test_a_head_that_is_none_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(entry("a"), io.BytesIO())
        archive.addfile(entry("b"), io.BytesIO())
    torn = bytearray(data.getvalue())
    torn[512:1024] = b"x" * 512

    assert run_worker(tmp_path, bytes(torn)) == {"error": "archive/tar: invalid tar header"}


def test_nothing_at_all_is_an_empty_layer(tmp_path: Path) -> None:
    assert run_worker(tmp_path, b"") == {"size": 0}


def test_extended_attributes_are_set(tmp_path: Path) -> None:
    capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    info = entry("tool")
    info.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")}

    unpacked(tmp_path, (info, b"x"))

    assert os.getxattr(tmp_path / "tool", "security.capability")[:1] == b"\x01"
