"""What the commands that CRIU serves make of their options."""

from pathlib import Path

import pytest

from sixhops.linux.namespaces import CLONE_NEWNET
from sixhops.runc.cli.checkpointing import page_server
from sixhops.runc.criu.options import Wishes, common, empty_namespaces, open_directories, prepare_images
from sixhops.runc.errors import RuntimeFault
from sixhops.wire.proto import criu_pb2


def test_the_images_directory_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare_images(f"{tmp_path}/a/b", "") == (f"{tmp_path}/a/b", "")
    assert (tmp_path / "a/b").is_dir()
    monkeypatch.chdir(tmp_path)
    assert prepare_images("", "") == (f"{tmp_path}/checkpoint", "")
    assert prepare_images(f"{tmp_path}/a/b", "../b") == (f"{tmp_path}/a/b", "../b")


@pytest.mark.parametrize(
    ("images", "parent", "problem"),
    [
        ("image", "/absolute", "--parent-path must be relative"),
        ("image", "../none", "invalid --parent-path: stat {}/none: no such file or directory"),
        ("image", "../file", "invalid --parent-path:  {}/file: not a directory"),
        ("file", "", "mkdir {}/file: not a directory"),
        ("file/image", "", "mkdir {}/file: not a directory"),
    ],
)
def test_directories_that_are_none(tmp_path: Path, images: str, parent: str, problem: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RuntimeFault) as caught:
        prepare_images(f"{tmp_path}/{images}", parent)

    assert str(caught.value) == problem.format(tmp_path)


def test_only_the_network_can_be_left_empty() -> None:
    assert empty_namespaces([]) == empty_namespaces(["network"]) == CLONE_NEWNET
    with pytest.raises(RuntimeFault, match='namespace "pid" is not supported'):
        empty_namespaces(["network", "pid"])


@pytest.mark.parametrize(
    ("text", "found"),
    [("", None), ("host:1234", ("host", 1234)), ("[::1]:80", ("::1", 80))],
)
def test_a_page_server(text: str, found: tuple[str, int] | None) -> None:
    assert page_server(text) == found


@pytest.mark.parametrize("text", ["host", "host:", ":1234", "::1:80"])
def test_a_page_server_that_is_none(text: str) -> None:
    with pytest.raises(RuntimeFault, match="Use --page-server ADDRESS:PORT to specify page server"):
        page_server(text)


def test_a_port_is_a_number() -> None:
    with pytest.raises(RuntimeFault, match="Invalid port number"):
        page_server("host:http")


@pytest.mark.parametrize(
    ("annotations", "file"),
    [
        ({}, "/etc/criu/runc.conf"),
        ({"org.criu.config": "/etc/mine"}, "/etc/mine"),
        ({"org.criu.config": ""}, ""),
    ],
)
def test_an_annotation_names_the_configuration_file(
    tmp_path: Path, annotations: dict[str, str], file: str
) -> None:
    wishes = Wishes("criu", str(tmp_path), f"{tmp_path}/work", cgroups="strict", tcp_established=True)
    directories = open_directories(wishes)
    try:
        options = common(wishes, directories, "dump.log", annotations)
    finally:
        directories.close()

    assert options.config_file == file
    assert options.manage_cgroups_mode == criu_pb2.STRICT
    assert options.work_dir_fd == directories.work
    assert (options.tcp_established, options.file_locks) == (True, False)
    assert (tmp_path / "work").is_dir()


def test_directories_that_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFault, match=f"open {tmp_path}/none: no such file or directory"):
        open_directories(Wishes("criu", f"{tmp_path}/none"))
    with pytest.raises(RuntimeFault, match=f"mkdir {tmp_path}/none/work: no such file or directory"):
        open_directories(Wishes("criu", str(tmp_path), f"{tmp_path}/none/work"))
