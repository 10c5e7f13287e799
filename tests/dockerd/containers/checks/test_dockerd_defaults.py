"""What the daemon's flags say for containers that don't: limits, an init, modes of namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dockerd_asked import nobody

from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.specification.resources import rlimits
from sixhops.dockerd.options import FlagError, parse, ulimits

if TYPE_CHECKING:
    from pathlib import Path


def finished(host: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    asked = configs.asked_host_config({"HostConfig": host})
    assert asked is not None
    values: dict[str, Any] = {
        "shm_size": 1,
        "log_driver": "json-file",
        "log_options": {},
        "unified": False,
        "find": nobody,
    }
    configs.finish_host_config(asked, **(values | defaults))
    return asked


def test_limits_of_the_daemon_fill_what_a_container_does_not_say() -> None:
    defaults = {"nofile": ulimits.parse("nofile=5:9"), "core": ulimits.parse("core=-1")}
    host = finished({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]})

    assert rlimits(host, defaults) == [
        {"type": "RLIMIT_NOFILE", "hard": 2, "soft": 1},
        {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 2**64 - 1},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nofile", "invalid ulimit argument: nofile"),
        ("foo=1", "invalid ulimit type: foo"),
        ("nofile=5:3", "ulimit soft limit must be less than or equal to hard limit: 5 > 3"),
        (
            "nofile=1:2:3",
            "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
        ),
        ("nofile=a", 'strconv.ParseInt: parsing "a": invalid syntax'),
    ],
)
def test_limits_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(["--default-ulimit", text])

    assert str(caught.value) == (
        f'Status: invalid argument "{text}" for "--default-ulimit" flag: {message}\n'
        "See 'dockerd --help'., Code: 125"
    )


def test_flags_and_file_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(
        '{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 9, "Soft": 5}}, "init": true, '
        '"no-new-privileges": true, "default-ipc-mode": "shareable", "default-cgroupns-mode": "private"}'
    )
    words = ["--default-ulimit", "nofile=5:9", "--init", "--no-new-privileges"]
    words += ["--default-ipc-mode", "shareable", "--default-cgroupns-mode", "private"]

    by_file, by_flags = parse(["--config-file", str(file)]), parse(words)

    for name in ("default_ulimits", "init", "no_new_privileges", "default_ipc_mode", "default_cgroupns_mode"):
        assert getattr(by_file, name) == getattr(by_flags, name) != getattr(parse([]), name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--default-ipc-mode", "foo"],
            'default IPC mode setting (foo) is invalid; use "shareable" or "private"',
        ),
        (
            ["--default-cgroupns-mode", "foo"],
            'default cgroup namespace mode (foo) is invalid; use "host" or "private"',
        ),
    ],
)
def test_modes_that_there_are_not(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(words)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("host", "defaults", "mode"),
    [
        ({}, {}, "host"),
        ({}, {"unified": True}, "private"),
        ({}, {"cgroup_namespace": "private"}, "private"),
        ({"Privileged": True}, {"cgroup_namespace": "private"}, "host"),
        ({"Privileged": True}, {"unified": True}, "private"),
        ({"CgroupnsMode": "host"}, {"unified": True}, "host"),
    ],
)
def test_cgroup_namespace_of_a_container(host: dict[str, Any], defaults: dict[str, Any], mode: str) -> None:
    assert finished(host, **defaults)["CgroupnsMode"] == mode
