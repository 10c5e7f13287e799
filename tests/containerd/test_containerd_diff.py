"""Layers from trees: what counts as a change, and archives that are byte for byte Go's."""

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from sixhops.containerd.storage.changes import Kind, changes
from sixhops.containerd.storage.layerdiff import write_layer
from sixhops.containerd.storage.tarwrite import BLOCK, Member, header
from sixhops.containerd.storage.tempmounts import read_only
from sixhops.linux.mountlist import Mount

EPOCH = 1_600_000_000


def tree(root: Path, **files: str | None) -> Path:
    """Make a tree of files (None: a directory) whose times are all the same whole second."""
    root.mkdir()
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_text(content)
    still(root)
    return root


def still(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def found(old: Path, new: Path) -> list[tuple[str, str]]:
    return [(change.kind.name, os.fsdecode(change.path)) for change in changes(old, new)]


def test_additions_changes_and_removals_in_order(tmp_path: Path) -> None:
    old = tree(tmp_path / "old", same="s", changed="a", gone="g", dir__in="x", tree__a="1", tree__b__c="2")
    new = tree(tmp_path / "new", same="s", changed="bb", dir__in="x", dir__new="n", zero="z")

    assert found(old, new) == [
        ("MODIFIED", "changed"),
        ("ADDED", "dir/new"),
        ("REMOVED", "gone"),
        ("REMOVED", "tree"),
        ("ADDED", "zero"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "content", "kinds"),
    [
        (0, 0, "a", []),
        (0, 0, "b", ["MODIFIED"]),
        (5, 5, "b", []),
        (5, 6, "a", ["MODIFIED"]),
        (0, 6, "a", []),
        (0, 6, "b", ["MODIFIED"]),
        (0, 10**9, "a", ["MODIFIED"]),
    ],
)
def test_times_and_content(tmp_path: Path, one: int, other: int, content: str, kinds: list[str]) -> None:
    old, new = tree(tmp_path / "old", f="a"), tree(tmp_path / "new", f=content)
    for root, nanoseconds in ((old, one), (new, other)):
        moment = EPOCH * 10**9 + nanoseconds
        os.utime(root / "f", ns=(moment, moment))

    assert [kind for kind, _path in found(old, new)] == kinds


def test_directory_that_became_a_file(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", d__a="1", d__b="2", e="e"), tree(tmp_path / "new", d="file", e="e")

    assert found(old, new) == [("MODIFIED", "d")]


def test_mode_and_link_target_count(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", f="a"), tree(tmp_path / "new", f="a")
    (new / "f").chmod(0o600)
    (old / "l").symlink_to("x")
    (new / "l").symlink_to("y")
    still(old)
    still(new)

    assert found(old, new) == [("MODIFIED", "f"), ("MODIFIED", "l")]


def test_unchanged_file_with_several_names_is_told(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", f="a"), tree(tmp_path / "new", f="a")
    (new / "g").hardlink_to(new / "f")
    still(new)

    assert [change.kind for change in changes(old, new)] == [Kind.UNMODIFIED, Kind.ADDED]


def layer(old: Path, new: Path) -> bytes:
    return b"".join(write_layer(old, new))


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


def test_layer_has_parents_whiteouts_and_links(tmp_path: Path) -> None:
    old = tree(tmp_path / "old", dir__sub__gone="g", dir__sub__kept="k")
    new = tree(tmp_path / "new", dir__sub__kept="k", link="f")
    (new / "name").hardlink_to(new / "link")
    (new / "s").symlink_to("link")
    os.mkfifo(new / "p", 0o644)
    still(new)

    seen = [(item.name, item.type, item.linkname) for item in members(layer(old, new))]

    assert seen == [
        ("dir", tarfile.DIRTYPE, ""),
        ("dir/sub", tarfile.DIRTYPE, ""),
        ("dir/sub/.wh.gone", tarfile.REGTYPE, ""),
        ("link", tarfile.REGTYPE, ""),
        ("name", tarfile.LNKTYPE, "link"),
        ("p", tarfile.FIFOTYPE, ""),
        ("s", tarfile.SYMTYPE, "link"),
    ]


def test_new_name_of_an_unchanged_file_brings_the_file_along(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", b="a"), tree(tmp_path / "new", b="a")
    (new / "c").hardlink_to(new / "b")
    still(new)

    seen = [(item.name, item.type, item.linkname) for item in members(layer(old, new))]

    assert seen == [("c", tarfile.REGTYPE, ""), ("b", tarfile.LNKTYPE, "c")]


def test_layer_of_nothing_is_an_end(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old"), tree(tmp_path / "new")

    assert layer(old, new) == bytes(2 * BLOCK)


def test_whiteout_has_the_time_of_now(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", f="a"), tree(tmp_path / "new")

    (whiteout,) = members(layer(old, new))

    assert whiteout.name == ".wh.f"
    assert abs(whiteout.mtime - time.time()) < 60
    assert (whiteout.mode, whiteout.size) == (0, 0)


def test_header_is_gos() -> None:
    # what containerd 1.6.20 wrote for a directory `d`, mode 0755, owner 0, time 1600000000
    block = header(Member(b"d/", b"5", 0o755, mtime=EPOCH))

    assert block[:2] == b"d/"
    assert block[100:156] == b"0000755\x000000000\x000000000\x0000000000000\x0013727410000\x00007461\x00 "
    assert block[156:265] == b"5" + bytes(100) + b"ustar\x0000"
    assert block[329:345] == b"0000000\x000000000\x00"
    assert len(block) == BLOCK


@pytest.mark.parametrize(
    "member",
    [
        Member(b"a/" * 80 + b"f", b"0", 0o644, 1, 2, 0, EPOCH),
        Member("ü".encode(), b"0", 0o644, 1, 2, 0, EPOCH),
        Member(b"l", b"2", 0o777, link=b"x" * 150, mtime=EPOCH),
        Member(b"f", b"0", 0o644, 3_000_000, 4_000_000, 0, -5),
        Member(b"f", b"0", 0o644, xattrs={"security.capability": b"\x01\x00\xff"}),
        Member(b"p/" * 60 + b"f", b"0", plain=True),
        Member(b"n" * 120, b"0", plain=True),
        Member(b"c", b"3", 0o600, device=(1, 3)),
    ],
)
def test_what_a_plain_header_cannot_hold(member: Member) -> None:
    (seen,) = members(header(member) + bytes(2 * BLOCK))

    assert os.fsencode(seen.name) == member.name
    assert (seen.uid, seen.gid, seen.mtime) == (member.uid, member.gid, member.mtime)
    assert os.fsencode(seen.linkname) == member.link
    if member.kind == b"3":
        assert (seen.devmajor, seen.devminor) == member.device
    for name, value in member.xattrs.items():
        assert seen.pax_headers[f"SCHILY.xattr.{name}"].encode("utf-8", "surrogateescape") == value


def test_long_whiteout_is_split_not_extended() -> None:
    name = b"p" * 90 + b"/" + b"q" * 90

    block = header(Member(name, b"0", plain=True))

    assert len(block) == BLOCK
    assert block[:90] == b"q" * 90
    assert block[345:435] == b"p" * 90


def test_tree_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old"), tree(tmp_path / "new", d__f="content", e="")

    digests = {hashlib.sha256(layer(old, new)).hexdigest() for _ in range(2)}

    assert len(digests) == 1


def test_mounts_to_look_at_leave_a_snapshot_alone() -> None:
    overlay = Mount("overlay", "overlay", ("index=off", "workdir=/w", "upperdir=/u", "lowerdir=/a:/b"))
    bind = Mount("bind", "/s", ("rbind", "rw"))

    assert read_only([overlay, bind]) == [
        Mount("overlay", "overlay", ("index=off", "lowerdir=/u:/a:/b")),
        Mount("bind", "/s", ("rbind", "ro")),
    ]
