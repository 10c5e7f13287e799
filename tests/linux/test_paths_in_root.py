import os
import stat
from pathlib import Path

import pytest

from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import make_directories, make_file, open_in_root, via


@pytest.fixture
def root(tmp_path):
    (tmp_path / "secret").write_text("host")
    inside = tmp_path / "rootfs"
    inside.mkdir()
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield inside, descriptor
    os.close(descriptor)


def test_link_to_parent_stays_inside(root):
    inside, descriptor = root
    (inside / "out").symlink_to("../../../secret")

    with pytest.raises(LinuxError, match=r"no such file or directory"):
        open_in_root(descriptor, "/out")


def test_absolute_link_is_read_from_the_root(root):
    inside, descriptor = root
    (inside / "target").mkdir()
    (inside / "link").symlink_to("/target")

    place = open_in_root(descriptor, "/link")

    assert os.path.samestat(os.fstat(place), (inside / "target").stat())
    os.close(place)


def test_make_directories_under_an_escaping_link_makes_them_inside(root, tmp_path):
    inside, descriptor = root
    (inside / "etc").mkdir()
    (inside / "a").symlink_to("../../etc")

    os.close(make_directories(descriptor, "/a/b/c"))

    assert (inside / "etc/b/c").is_dir()
    assert not (tmp_path / "etc").exists()


def test_make_directories_over_a_file_says_mkdir(root):
    inside, descriptor = root
    (inside / "f").write_text("")

    with pytest.raises(LinuxError, match=r"^mkdir /f: not a directory$"):
        make_directories(descriptor, "/f")


def test_make_directories_makes_what_a_dangling_link_points_to(root):
    inside, descriptor = root
    (inside / "var").mkdir()
    (inside / "var/run").symlink_to("../run")

    os.close(make_directories(descriptor, "/var/run/box"))

    assert (inside / "run/box").is_dir()


def test_make_directories_refuses_links_in_a_circle(root):
    inside, descriptor = root
    (inside / "a").symlink_to("b")
    (inside / "b").symlink_to("a")

    with pytest.raises(LinuxError, match=r"^mkdir /a/c: too many levels of symbolic links$"):
        make_directories(descriptor, "/a/c")


def test_make_file_with_parents(root):
    inside, descriptor = root

    place = make_file(descriptor, "/etc/hosts", 0o644)

    assert stat.S_ISREG(Path(via(place)).stat().st_mode)
    assert (inside / "etc/hosts").exists()
    os.close(place)


def test_magic_links_are_refused():
    process = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)

    with pytest.raises(LinuxError, match=r"too many levels of symbolic links"):
        open_in_root(process, "fd/0")

    os.close(process)
