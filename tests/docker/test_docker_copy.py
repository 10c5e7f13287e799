"""`cp` without an engine: the rules about paths, and archives made and unpacked."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from sixhops.docker.copying import archives, copypaths
from sixhops.docker.copying.copypaths import Place
from sixhops.docker.errors import DockerError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one:/etc", ("one", "/etc")),
        ("one:etc:x", ("one", "etc:x")),
        ("/one:x", ("", "/one:x")),
        ("./one:x", ("", "./one:x")),
        ("file", ("", "file")),
        ("-", ("", "-")),
    ],
)
def test_a_container_stands_before_the_first_colon(text, parts):
    assert copypaths.split_argument(text) == parts


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("a", "/w/a"),
        ("a/", "/w/a/"),
        ("a/.", "/w/a/."),
        (".", "/w/."),
        ("/", "/"),
        ("../b/", "/b/"),
        ("/a//b/../c", "/a/c"),
    ],
)
def test_endings_that_mean_something_are_kept(path, absolute):
    assert copypaths.absolute(path, "/w") == absolute


@pytest.mark.parametrize(
    ("path", "parts"),
    [("/a/b", ("/a", "b")), ("/a/b/", ("/a", "b")), ("/a/b/.", ("/a/b", ".")), ("/", ("/", "/"))],
)
def test_a_path_is_directory_and_last_part(path, parts):
    assert copypaths.split(path) == parts


_FILE, _DIRECTORY = Place("/s/f", exists=True), Place("/s/d", exists=True, is_directory=True)


@pytest.mark.parametrize(
    ("source", "target", "result"),
    [
        (_FILE, Place("/t", exists=True, is_directory=True), ("/t", None)),
        (_DIRECTORY, Place("/t", exists=True, is_directory=True), ("/t", None)),
        (_FILE, Place("/t/x", exists=True), ("/t", ("f", "x"))),
        (_FILE, Place("/t/new"), ("/t", ("f", "new"))),
        (_DIRECTORY, Place("/t/new/"), ("/t", ("d", "new"))),
        (Place("/s/f", exists=True, rebase="link"), Place("/t/new"), ("/t", ("link", "new"))),
    ],
)
def test_where_a_copy_goes_and_under_which_name(source, target, result):
    assert copypaths.destination(source, target) == result


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (_DIRECTORY, Place("/t/x", exists=True), "cannot copy directory"),
        (_FILE, Place("/t/new/"), "no such directory"),
    ],
)
def test_copies_that_make_no_sense(source, target, message):
    with pytest.raises(DockerError, match=message):
        copypaths.destination(source, target)


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("text")
    (top / "a").chmod(0o4750)
    (top / "sub" / "b").write_bytes(b"b" * 70000)
    (top / "link").symlink_to("a")
    os.link(top / "a", top / "hard")
    os.mkfifo(top / "fifo")
    return tmp_path


def test_an_archive_holds_everything_with_types_in_its_modes(tree):
    data = b"".join(archives.pack(str(tree), "tree", [("tree", "new")]))

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {item.name: (item.type, oct(item.mode), item.linkname) for item in archive}
    assert found == {
        "new": (tarfile.DIRTYPE, "0o40755", ""),
        "new/a": (tarfile.REGTYPE, "0o104750", ""),
        "new/fifo": (tarfile.FIFOTYPE, "0o10644", ""),
        "new/hard": (tarfile.LNKTYPE, "0o104750", "new/a"),
        "new/link": (tarfile.SYMTYPE, "0o120777", "a"),
        "new/sub": (tarfile.DIRTYPE, "0o40755", ""),
        "new/sub/b": (tarfile.REGTYPE, "0o100644", ""),
    }


@pytest.mark.parametrize("size", [1, 511, 1 << 20])
def test_what_was_packed_is_unpacked_however_its_bytes_are_cut(tree, size):
    data = b"".join(archives.pack(str(tree), "tree", []))
    (tree / "out").mkdir()

    archives.unpack(
        (data[at : at + size] for at in range(0, len(data), size)), str(tree / "out"), [("tree", "t")]
    )

    out = tree / "out" / "t"
    assert (out / "a").read_text() == "text"
    assert (out / "a").stat().st_mode & 0o7777 == 0o4750
    assert (out / "a").stat().st_ino == (out / "hard").stat().st_ino
    assert (out / "sub" / "b").read_bytes() == b"b" * 70000
    assert (out / "link").readlink().name == "a"
    assert int((out / "sub").stat().st_mtime) == int((tree / "tree" / "sub").stat().st_mtime)


def _archive(*entries: tuple[str, bytes, str]) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, target in entries:
            item = tarfile.TarInfo(name)
            item.type, item.linkname, item.mode = kind, target, 0o755
            archive.addfile(item)
    return [buffer.getvalue()]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../x", tarfile.REGTYPE, "")], "is outside of"),
        ([("a", tarfile.SYMTYPE, "../../x")], "invalid symlink"),
        ([("a", tarfile.SYMTYPE, "/"), ("a/x", tarfile.REGTYPE, "")], "is behind the link"),
        ([("a", tarfile.LNKTYPE, "../x")], "invalid hardlink"),
        ([("there", tarfile.REGTYPE, "")], "cannot overwrite directory"),
        ([("file", tarfile.DIRTYPE, "")], "cannot overwrite non-directory"),
    ],
)
def test_no_archive_leaves_its_directory_or_mixes_up_files(tmp_path, entries, message):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("kept")

    with pytest.raises(DockerError, match=message):
        archives.unpack(_archive(*entries), str(tmp_path), [])

    assert sorted(path.name for path in tmp_path.iterdir()) in (["file", "there"], ["a", "file", "there"])
    assert (tmp_path / "file").read_text() == "kept"


def test_an_archive_that_breaks_off_is_an_error(tree):
    data = b"".join(archives.pack(str(tree), "tree", []))
    (tree / "out").mkdir()

    with pytest.raises(DockerError):
        archives.unpack([data[:2000]], str(tree / "out"), [])


def test_a_file_that_cannot_be_read_ends_the_archive(tmp_path):
    with pytest.raises(DockerError, match=r"lstat .*nosuch: no such file"):
        list(archives.pack(str(tmp_path), "nosuch", []))
