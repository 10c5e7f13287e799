"""`mounts` of the runtime document, and the propagation of binds, as dockerd 20.10 was seen to treat them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dockerd_asked import asked, points

from sixhops.dockerd.containers.model import MountPoint
from sixhops.dockerd.containers.specification.mounts import spec_mounts
from sixhops.dockerd.containers.specification.propagation import root_propagation
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "/etc/resolv.conf": "/c/resolv.conf",
    "/etc/hostname": "/c/hostname",
    "/etc/hosts": "/c/hosts",
}
MOUNTINFO = """\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
21 20 0:5 / /shared rw shared:1 - tmpfs tmpfs rw
22 21 0:6 / /shared/slave rw master:1 - tmpfs tmpfs rw
"""


def mounts_of(
    host: dict[str, Any], shm: str = "", init: tuple[str, str] | None = None, **config: Any
) -> list[dict[str, Any]]:
    merged, host_config, _warnings = asked(host, **config)
    return spec_mounts(host_config, points(merged, host_config), FILES, shm, init)


def options_of(found: list[dict[str, Any]], place: str) -> list[str]:
    return next(list(entry["options"]) for entry in found if entry["destination"] == place)


def test_parents_come_before_children_and_own_files_stand_among_the_users() -> None:
    found = mounts_of({"Binds": ["/a:/one", "/b:/x/y/z"], "Tmpfs": {"/two": ""}})

    places = [entry["destination"] for entry in found]
    assert places[places.index("/dev/shm") + 1 :] == [
        "/one",
        "/two",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
        "/x/y/z",
    ]


def test_init_is_bound_before_what_the_user_mounts() -> None:
    found = mounts_of({"Binds": ["/a:/one"]}, init=("/sbin/docker-init", "/usr/bin/tini"))

    assert found[7] == {
        "destination": "/sbin/docker-init",
        "type": "bind",
        "source": "/usr/bin/tini",
        "options": ["bind", "ro"],
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", ["noexec", "nosuid", "nodev", "rprivate"]),
        ("size=4m,exec", ["nosuid", "nodev", "rprivate", "size=4m", "exec"]),
        ("noexec", ["nosuid", "nodev", "rprivate", "noexec"]),
    ],
)
def test_options_of_a_tmpfs_win_over_the_defaults(asked: str, expected: list[str]) -> None:
    assert options_of(mounts_of({"Tmpfs": {"/t": asked}}), "/t") == expected


def test_tmpfs_by_its_mount_has_the_largest_suffix() -> None:
    entry = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 3 << 20, "Mode": 0o700}}

    assert options_of(mounts_of({"Mounts": [entry]}), "/t")[-2:] == ["mode=700", "size=3m"]


def test_read_only_root_reaches_the_own_files_and_the_defaults_but_not_dev() -> None:
    found = mounts_of({"ReadonlyRootfs": True})

    assert options_of(found, "/etc/hosts") == ["rbind", "ro", "rprivate"]
    assert "ro" in options_of(found, "/sys/fs/cgroup")
    assert all("ro" not in options_of(found, place) for place in ("/proc", "/dev", "/dev/pts", "/dev/shm"))


def test_volume_has_no_propagation_and_a_bind_has() -> None:
    found = mounts_of({"Binds": ["data:/data", "/a:/b:ro"]})

    assert options_of(found, "/data") == ["rbind"]
    assert options_of(found, "/b") == ["rbind", "ro", "rprivate"]


def test_bind_that_is_not_recursive(tmp_path: Path) -> None:
    entry = {
        "Type": "bind",
        "Source": str(tmp_path),
        "Target": "/b",
        "BindOptions": {"NonRecursive": True},
    }

    assert options_of(mounts_of({"Mounts": [entry]}), "/b") == ["bind", "rprivate"]


def test_dev_of_the_user_takes_the_place_of_all_below_it() -> None:
    found = mounts_of({"Binds": ["/dev:/dev"]})

    assert [entry["type"] for entry in found if entry["destination"].startswith("/dev")] == ["bind"]


@pytest.mark.parametrize(
    ("source", "propagation"),
    [("/shared/x", "rshared"), ("/shared/x", "slave"), ("/shared/slave", "rslave"), ("/other", "rprivate")],
)
def test_propagation_that_the_source_allows(source: str, propagation: str) -> None:
    point = MountPoint("bind", "/b", source, propagation=propagation, asked_propagation=True)

    found = root_propagation([point], "/engine", MOUNTINFO)

    assert found == {"rshared": "shared", "rprivate": ""}.get(propagation, "rslave")


def test_slave_that_the_engine_chose_itself_is_no_error() -> None:
    point = MountPoint("bind", "/b", "/", propagation="rslave")

    assert root_propagation([point], "/engine", MOUNTINFO) == ""


@pytest.mark.parametrize(
    ("source", "propagation", "message"),
    [
        ("/other", "shared", "path /other is mounted on / but it is not a shared mount"),
        ("/other", "rslave", "path /other is mounted on / but it is not a shared or slave mount"),
        (
            "/shared/slave",
            "rshared",
            "path /shared/slave is mounted on /shared/slave but it is not a shared mount",
        ),
    ],
)
def test_propagation_that_the_source_does_not_allow(source: str, propagation: str, message: str) -> None:
    point = MountPoint("bind", "/b", source, propagation=propagation, asked_propagation=True)

    with pytest.raises(EngineError) as error:
        root_propagation([point], "/engine", MOUNTINFO)

    assert (error.value.status, str(error.value)) == (500, message)


def test_mount_of_the_engines_directory_is_a_slave() -> None:
    (found,) = points({"Volumes": None}, asked({"Binds": ["/the:/x"]})[1])

    assert found.propagation == "rslave"
    with pytest.raises(EngineError, match='must use either propagation mode "rslave" or "rshared"'):
        points({"Volumes": None}, asked({"Binds": ["/the:/x:shared"]})[1])


def test_users_mount_over_a_file_of_the_network_takes_its_place() -> None:
    found = mounts_of({"Binds": ["/mine:/etc/hosts:ro"]})

    (entry,) = (entry for entry in found if entry["destination"] == "/etc/hosts")
    assert (entry["source"], entry["options"]) == ("/mine", ["rbind", "ro", "rprivate"])


def test_tmpfs_with_an_option_that_there_is_not() -> None:
    with pytest.raises(EngineError, match=r'invalid tmpfs option \["foo" "1"\]'):
        mounts_of({"Tmpfs": {"/t": "foo=1"}})
