"""`mounts` of the runtime document, and the propagation of binds, as dockerd 20.10 was seen to treat them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sixhops.dockerd.containers import config as configs
from sixhops.dockerd.containers.model import MountPoint
from sixhops.dockerd.containers.mounts import plan, spec_mounts
from sixhops.dockerd.containers.propagation import check_propagation
from sixhops.dockerd.errors import EngineError

FILES = {"/etc/resolv.conf": "/c/resolv.conf", "/etc/hosts": "/c/hosts"}
MOUNTINFO = """\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
21 20 0:5 / /shared rw shared:1 - tmpfs tmpfs rw
22 21 0:6 / /shared/slave rw master:1 - tmpfs tmpfs rw
"""


def mounts_of(
    host: dict[str, Any], shm: str = "", init: tuple[str, str] | None = None, **config: Any
) -> list[dict[str, Any]]:
    body = {"Image": "x", **config, "HostConfig": host}
    merged = configs.merge_config(body, {"Cmd": ["x"]}, "f" * 64, "host")
    host_config = configs.merge_host_config(
        body, runtime="runc", shm_size=64 << 20, log_driver="json-file", log_options={}, unified=False
    )
    return spec_mounts(host_config, plan(merged, host_config, Path("/volumes")), FILES, shm, init)


def options_of(found: list[dict[str, Any]], place: str) -> list[str]:
    return next(list(entry["options"]) for entry in found if entry["destination"] == place)


def test_parents_come_before_children_and_own_files_stand_among_the_users() -> None:
    found = mounts_of({"Binds": ["/a:/one", "/b:/x/y/z"], "Tmpfs": {"/two": ""}})

    places = [entry["destination"] for entry in found]
    assert places[places.index("/dev/shm") + 1 :] == [
        "/one",
        "/two",
        "/etc/resolv.conf",
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
    check_propagation([MountPoint("bind", "/b", source, propagation=propagation)], MOUNTINFO)


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
    with pytest.raises(EngineError) as error:
        check_propagation([MountPoint("bind", "/b", source, propagation=propagation)], MOUNTINFO)

    assert (error.value.status, str(error.value)) == (500, message)
