"""Create requests: merging with the image, defaults, and everything that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from dockerd_asked import ID, asked, points

from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.checks.kernel import Kernel
from sixhops.dockerd.containers.checks.limits import check, parse_set
from sixhops.dockerd.containers.checks.names import check_name, generate
from sixhops.dockerd.containers.checks.signals import parse_signal
from sixhops.dockerd.containers.checks.updating import merge as merge_update
from sixhops.dockerd.containers.specification.runtimes import Runtimes
from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.options import RuntimeProgram

IMAGE = {"Cmd": ["sh"], "Env": ["PATH=/bin", "A=image"], "Labels": {"l": "image"}, "User": "nobody"}


def merge(body: dict[str, Any], image: dict[str, Any] | None = None) -> dict[str, Any]:
    return asked({}, IMAGE if image is None else image, **body)[0]


def host_config(host: dict[str, Any]) -> dict[str, Any]:
    return asked(host)[1]


def refused(host: dict[str, Any], **config: Any) -> tuple[int, str]:
    with pytest.raises(EngineError) as caught:
        asked(host, **config)
    return caught.value.status, caught.value.message


def test_image_gives_what_the_request_lacks() -> None:
    config = merge({"Env": ["A=mine"], "Labels": {"m": "1"}})

    assert config["Cmd"] == ["sh"]
    assert config["Env"] == ["A=mine", "PATH=/bin"]
    assert config["Labels"] == {"l": "image", "m": "1"}
    assert config["User"] == "nobody"
    assert config["Hostname"] == ID[:12]


def test_entrypoint_of_the_request_drops_the_images_command() -> None:
    config = merge({"Entrypoint": ["echo"]})

    assert (config["Entrypoint"], config["Cmd"]) == (["echo"], None)


def test_command_of_the_request_keeps_the_images_entrypoint() -> None:
    config = merge({"Cmd": ["b"]}, {"Entrypoint": ["a"], "Cmd": ["c"]})

    assert configs.command_of(config) == ("a", ("b",))


def test_no_command_at_all() -> None:
    with pytest.raises(EngineError, match="No command specified"):
        merge({}, {})


def test_health_check_of_the_image_fills_what_the_request_leaves_open() -> None:
    image = {"Cmd": ["x"], "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 2}}

    assert merge({}, image)["Healthcheck"] == image["Healthcheck"]
    assert merge({"Healthcheck": {"Retries": 9, "Timeout": 0}}, image)["Healthcheck"] == {
        "Test": ["CMD", "true"],
        "Interval": 5,
        "Retries": 9,
    }
    assert "Healthcheck" not in merge({})


def test_limits_beside_host_config_count_when_it_has_none() -> None:
    found = configs.asked_host_config({"Memory": 5, "CpuShares": 6, "HostConfig": {"CpuShares": 7}})

    assert found is not None
    assert (found["Memory"], found["CpuShares"]) == (5, 7)
    assert configs.asked_host_config({"Image": "x"}) is None


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
        (
            {"MemorySwap": 9 << 20},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            {"NanoCpus": 1, "CpuQuota": 5000},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        (
            {"CpusetCpus": "9999999999999999999999"},
            "Invalid value 9999999999999999999999 for cpuset cpus: invalid format: 9999999999999999999999",
        ),
        ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"RestartPolicy": {"Name": "often"}}, "invalid restart policy 'often'"),
        (
            {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"CapAdd": ["NOSUCH"]}, 'invalid CapAdd: unknown capability: "CAP_NOSUCH"'),
        (
            {"LogConfig": {"Type": "nosuch"}},
            'error looking up logging plugin nosuch: plugin "nosuch" not found',
        ),
        ({"IpcMode": "container:nosuch"}, "No such container: nosuch"),
        ({"CgroupnsMode": "x"}, "invalid cgroup namespace mode: x"),
        ({"Tmpfs": {"x": ""}}, "invalid mount path: 'x' mount path must be absolute"),
        ({"ExtraHosts": ["x:y"]}, 'invalid IP address in add-host: "y"'),
        ({"PortBindings": {"80/tcp": [{"HostPort": "9-8"}]}}, 'invalid port specification: "9-8"'),
    ],
)
def test_host_config_that_makes_no_sense(host: dict[str, Any], message: str) -> None:
    assert refused(host) == (400, message)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (
            {"Isolation": "hyperv"},
            "Invalid isolation: \"hyperv\" - linux only supports 'default'",
        ),
        (
            {"IOMaximumIOps": 1},
            "Invalid QoS settings: linux does not support configuration of maximum IOPs",
        ),
    ],
)
def test_what_no_linux_can_do_is_the_engines_failure(host: dict[str, Any], message: str) -> None:
    assert refused(host) == (500, message)


def test_health_check_with_spans_too_short() -> None:
    assert refused({}, Healthcheck={"Interval": 1}) == (
        400,
        "Interval in Healthcheck cannot be less than 1ms",
    )
    assert refused({}, Healthcheck={"Retries": -1, "StartPeriod": 1})[1].startswith("Retries")


def test_what_the_kernel_can_not_do_is_taken_out_with_a_warning() -> None:
    host = configs.asked_host_config(
        {"HostConfig": {"Memory": 64 << 20, "PidsLimit": 5, "CpusetCpus": "0", "CpuPercent": 3}}
    )
    assert host is not None

    warnings = check(host, Kernel(memory=False, pids=False, cpuset=False))

    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["CpusetCpus"]) == (0, -1, None, "")
    assert len(warnings) == 4


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("0", {0}), ("0-2,7", {0, 1, 2, 7}), ("03,1-1", {3, 1})]
)
def test_sets_of_processors(text: str, numbers: set[int]) -> None:
    assert parse_set(text) == numbers


@pytest.mark.parametrize("text", ["a", "1-", "-1", "2-1", " 0", "0,,1", "9000"])
def test_sets_of_processors_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid format: |value of out range, maximum is 8192"):
        parse_set(text, 8192)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"PidMode": "host"}, ["label=disable"]),
        ({"IpcMode": "host"}, ["label=disable"]),
        ({"Privileged": True, "SecurityOpt": ["no-new-privileges"]}, ["no-new-privileges", "label=disable"]),
        ({"PidMode": "host", "SecurityOpt": ["label=disable"]}, ["label=disable"]),
        ({}, None),
    ],
)
def test_labels_are_off_where_the_host_is_seen(asked: dict[str, Any], kept: list[str] | None) -> None:
    assert host_config(asked)["SecurityOpt"] == kept


@pytest.mark.parametrize(("asked", "kept"), [(-1, None), (0, None), (7, 7)])
def test_any_number_of_processes_is_no_limit(asked: int, kept: int | None) -> None:
    assert host_config({"PidsLimit": asked})["PidsLimit"] == kept


def test_an_update_hands_on_what_was_asked_and_zeros() -> None:
    host = host_config({"Memory": 64 << 20, "CpuShares": 7})
    changed, limits, warnings = merge_update({"PidsLimit": -1, "NanoCpus": 500_000_000}, host, Runtimes())
    assert (changed["Memory"], changed["NanoCpus"], changed["PidsLimit"]) == (64 << 20, 500_000_000, 0)
    assert limits == {
        "memory": {"limit": 0, "reservation": 0, "kernel": 0},
        "cpu": {"shares": 0, "quota": 50_000, "period": 100_000},
        "blockIO": {"weight": 0},
        "pids": {"limit": -1},
    }
    assert [warning for warning in warnings if "IPv4" not in warning] == []


def test_what_the_cli_sends_is_accepted() -> None:
    host = {"MemorySwappiness": -1, "PidsLimit": 0, "PortBindings": {}, "Isolation": "", "Devices": []}

    assert asked({"NetworkMode": "none", **host})[2] == []


@pytest.mark.parametrize(
    ("text", "number"), [("KILL", 9), ("sigterm", 15), ("1", 1), ("RTMIN+1", 35), ("RTMAX", 64)]
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["NOSUCH", "0", "SIG_DFL", ""])
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(EngineError, match=f"Invalid signal: {text}"):
        parse_signal(text)


@pytest.mark.parametrize("name", ["b@d", "a", "-x", ""])
def test_forbidden_names(name: str) -> None:
    with pytest.raises(EngineError, match="are allowed"):
        check_name(name)


def test_generated_name_avoids_what_is_taken() -> None:
    first = generate(set(), "fallback", choose=lambda words: words[0])

    assert generate({first}, "fallback", choose=lambda words: words[0]) == f"{first}0"
    assert generate({first, f"{first}0"}, "fallback", choose=lambda words: words[0]) == "fallback"


def test_runtimes_are_configured_in_one_place() -> None:
    runtimes = Runtimes(shim="io.containerd.sixhops.v1", programs={"runc": RuntimeProgram("/bin/other")})

    assert runtimes.get("") == runtimes.get("runc")
    assert (runtimes.get("").shim, runtimes.get("").binary) == ("io.containerd.sixhops.v1", "/bin/other")
    with pytest.raises(EngineError, match="Unknown runtime specified nosuch"):
        runtimes.get("nosuch")


def volumes_of(host: dict[str, Any], volumes: dict[str, Any] | None = None) -> list[Any]:
    return points({"Volumes": volumes}, host_config(host))


def test_kinds_of_binds() -> None:
    bind, named, anonymous = volumes_of({"Binds": ["/a:/1:ro,rshared", "name:/2:nocopy", "/3"]})

    assert (bind.type, bind.source, bind.writable, bind.propagation) == ("bind", "/a", False, "rshared")
    assert (named.type, named.name, named.copy_up, named.mode) == ("volume", "name", False, "nocopy")
    assert anonymous.anonymous


def test_bind_wins_over_the_images_volume() -> None:
    assert [point.type for point in volumes_of({"Binds": ["/a:/data"]}, {"/data": {}})] == ["bind"]


@pytest.mark.parametrize("bind", ["a:b", "/a:b", "/a:/", "/a:/b:nosuch", "/a:/b:ro:x", ":", "/a:/b:ro,rw"])
def test_binds_that_make_no_sense(bind: str) -> None:
    with pytest.raises(EngineError) as caught:
        volumes_of({"Binds": [bind]})

    assert caught.value.status == 500


def test_two_mounts_at_one_place() -> None:
    with pytest.raises(EngineError, match="Duplicate mount point: /x"):
        volumes_of({"Binds": ["/a:/x", "/b:/x/"]})
