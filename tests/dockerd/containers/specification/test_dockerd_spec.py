"""The runtime document and the inspect document against what dockerd 20.10 was seen to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dockerd_asked import ID, asked, points

from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.files import ContainerFiles
from sixhops.dockerd.containers.held import Held
from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.containers.logs.drivers import log_of
from sixhops.dockerd.containers.model import Container, ContainerState, from_document, to_document
from sixhops.dockerd.containers.settings import ContainerSettings
from sixhops.dockerd.containers.specification.spec import Surroundings, exec_process, make_spec
from sixhops.dockerd.containers.specification.user import Identity
from sixhops.dockerd.containers.times import parse_rfc3339
from sixhops.dockerd.containers.views.documents import inspect_document
from sixhops.dockerd.errors import EngineError

HELLO = {"Cmd": ["/hello"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
HERE = Path(__file__).parent


def container(host: dict[str, Any] | None = None, **config: Any) -> Container:
    merged, host_config, _warnings = asked(host, HELLO, **{"Image": "hello-world", **config})
    path, arguments = configs.command_of(merged)
    mounts = tuple(points(merged, host_config))
    return Container(
        ID, "ecstatic_hopper", 0, "sha256:0b", path, arguments, merged, host_config, {}, "layer", mounts
    )


def around(**changes: Any) -> Surroundings:
    base = f"DATA_ROOT/containers/{ID}"
    values: dict[str, Any] = {
        "root": "DATA_ROOT/overlay2/30ece08bb159b68fa2e1d2262ce8fe430f5fef49237f7b3f3c13465e734b0361/merged",
        "identity": Identity(),
        "files": {
            "/etc/resolv.conf": f"{base}/resolv.conf",
            "/etc/hostname": f"{base}/hostname",
            "/etc/hosts": f"{base}/hosts",
        },
        "netns": "/netns",
        "hostname": ID[:12],
        "cgroup_parent": "/docker",
    }
    return Surroundings(**(values | changes))


def spec(host: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return make_spec(container(host, **config), around())


def test_hello_world_is_dockerds_document_but_for_the_network() -> None:
    expected = json.loads((HERE / "observed_config.json").read_text())
    del expected["hooks"]
    expected["linux"]["namespaces"][1]["path"] = "/netns"

    assert spec() == expected
    assert list(spec()["linux"]) == list(expected["linux"])


def test_inspect_is_dockerds_document(tmp_path: Path) -> None:
    expected = json.loads((HERE / "observed_inspect.json").read_text())
    subject = container()
    subject.created = parse_rfc3339(expected["Created"])
    subject.image = expected["Image"]
    subject.state = ContainerState(
        Status.EXITED,
        started_at=parse_rfc3339(expected["State"]["StartedAt"]),
        finished_at=parse_rfc3339(expected["State"]["FinishedAt"]),
    )
    files = ContainerFiles(Path("DATA_ROOT/containers") / ID)
    held = Held(subject, files, log_of(files.directory, subject))

    found = inspect_document(held, expected["GraphDriver"]["Data"], expected["NetworkSettings"])

    assert json.dumps(found) == json.dumps(expected)


def test_document_survives_the_state() -> None:
    subject = container({"Binds": ["/a:/b:ro"]})

    assert from_document(json.loads(json.dumps(to_document(subject)))) == subject


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ({"Memory": 64 << 20}, ("linux", "resources", "memory", "limit"), 64 << 20),
        ({"Memory": 64 << 20}, ("linux", "resources", "memory", "swap"), 128 << 20),
        ({"NanoCpus": 1_500_000_000}, ("linux", "resources", "cpu", "quota"), 150_000),
        ({"CpuShares": 7}, ("linux", "resources", "cpu", "shares"), 7),
        ({"CpusetCpus": "0"}, ("linux", "resources", "cpu", "cpus"), "0"),
        ({"PidsLimit": 5}, ("linux", "resources", "pids", "limit"), 5),
        ({"ReadonlyRootfs": True}, ("root", "readonly"), True),
        ({"OomScoreAdj": 9}, ("process", "oomScoreAdj"), 9),
        ({"SecurityOpt": ["no-new-privileges"]}, ("process", "noNewPrivileges"), True),
        ({"CgroupParent": "/mine"}, ("linux", "cgroupsPath"), f"/mine/{ID}"),
        ({"Sysctls": {"net.x": "1"}}, ("linux", "sysctl", "net.x"), "1"),
        ({"CapDrop": ["ALL"], "CapAdd": ["chown"]}, ("process", "capabilities", "bounding"), ["CAP_CHOWN"]),
        (
            {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]},
            ("process", "rlimits"),
            [{"type": "RLIMIT_NOFILE", "hard": 2, "soft": 1}],
        ),
    ],
)
def test_host_config_reaches_the_document(
    host: dict[str, Any], path: tuple[str, ...], expected: object
) -> None:
    found: Any = spec(host)
    for key in path:
        found = found[key]

    assert found == expected


def test_privileged_has_all_devices_and_no_filter() -> None:
    found = spec({"Privileged": True})["linux"]

    assert "seccomp" not in found
    assert "maskedPaths" not in found
    assert found["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_seccomp_unconfined_has_no_filter() -> None:
    assert "seccomp" not in spec({"SecurityOpt": ["seccomp=unconfined"]})["linux"]


def test_seccomp_profile_of_the_user_is_used() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]}

    found = spec({"SecurityOpt": [f"seccomp={json.dumps(profile)}"]})["linux"]["seccomp"]

    assert found == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }


def test_capability_opens_its_system_calls() -> None:
    found = spec({"CapAdd": ["SYS_ADMIN"]})["linux"]["seccomp"]["syscalls"]

    assert any("mount" in rule["names"] for rule in found)
    assert not any("mount" in rule["names"] for rule in spec()["linux"]["seccomp"]["syscalls"])


@pytest.mark.parametrize(
    ("mode", "absent"),
    [({"UTSMode": "host"}, "uts"), ({"PidMode": "host"}, "pid"), ({"IpcMode": "host"}, "ipc")],
)
def test_host_modes_leave_the_namespace_out(mode: dict[str, str], absent: str) -> None:
    assert absent not in [entry["type"] for entry in spec(mode)["linux"]["namespaces"]]


def test_other_users_have_only_a_bounding_set() -> None:
    found = make_spec(container(), around(identity=Identity(5, 5, (5,))))

    assert list(found["process"]["capabilities"]) == ["bounding"]


def test_user_mount_replaces_the_engines_own() -> None:
    mounts = spec({"Binds": ["/h:/etc/hosts", "/s:/dev/shm:ro"]})["mounts"]

    places = [entry["destination"] for entry in mounts]
    assert len(places) == len(set(places))
    assert next(entry for entry in mounts if entry["destination"] == "/dev/shm")["options"] == [
        "rbind",
        "ro",
        "rprivate",
    ]


def test_exec_has_the_containers_environment_and_its_own() -> None:
    request = {"Cmd": ["sh"], "Env": ["X=1", "HOSTNAME=y"], "Tty": True, "WorkingDir": "/w"}

    found = exec_process(
        container(Env=["A=b"]), Identity(), request, owner=Identity(), settings=ContainerSettings(HERE, HERE)
    )

    assert found["terminal"] is True
    assert found["cwd"] == "/w"
    assert found["env"][1:] == ["HOSTNAME=y", "TERM=xterm", "A=b", "X=1"]


def test_unknown_security_option_is_refused() -> None:
    with pytest.raises(EngineError, match="invalid --security-opt 2") as caught:
        spec({"SecurityOpt": ["nosuch=1"]})

    assert caught.value.status == 500
