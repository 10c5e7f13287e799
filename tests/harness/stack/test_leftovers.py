"""What is left behind: comparing snapshots, and taking them of a real engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.host import parse_rules
from sixhops.harness.stack.leftovers import Residue, difference, settled_difference

if TYPE_CHECKING:
    from sixhops.harness.stack.private import PrivateStack

EMPTY = Residue()


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("containers", {"id": "/x (id, running)"}, "container: /x (id, running)"),
        ("images", {"sha256:1": "busybox:latest"}, "image: busybox:latest"),
        ("volumes", {"v": "v"}, "volume: v"),
        ("networks", {"n": "net (n)"}, "network: net (n)"),
        ("processes", {(7, 100): "7 sleep (sleep 9)"}, "process: 7 sleep (sleep 9)"),
        ("mounts", {"7 1 0:5 /": "/x"}, "mount: /x"),
        ("links", ("veth1",), "network interface: veth1"),
        ("cgroups", ("cpu:/x",), "control group: cpu:/x"),
        ("rules", ("-A FORWARD",), "packet filter rule: -A FORWARD"),
        ("sockets", ("abc",), "socket: abc"),
    ],
)
def test_each_kind_is_told_when_it_is_new_and_only_then(field: str, value: Any, line: str) -> None:
    after = replace(EMPTY, **{field: value})

    assert difference(EMPTY, after) == [line]
    assert difference(after, after) == []
    assert difference(after, EMPTY) == []


def test_a_second_mount_on_the_same_place_is_new() -> None:
    before, after = Residue(mounts={"7": "/x"}), Residue(mounts={"7": "/x", "8": "/x"})

    assert difference(before, after) == ["mount: /x"]


def test_a_mount_that_took_the_place_of_another_is_not() -> None:
    assert difference(Residue(mounts={"7": "/x"}), Residue(mounts={"8": "/x"})) == []


def test_a_mount_whose_directory_was_renamed_is_not() -> None:
    assert difference(Residue(mounts={"7": "/made/proc"}), Residue(mounts={"7": "/there/proc"})) == []


def test_a_reused_pid_is_another_process() -> None:
    before, after = Residue(processes={(7, 1): "7 old ()"}), Residue(processes={(7, 2): "7 new ()"})

    assert difference(before, after) == ["process: 7 new ()"]


def test_a_new_name_of_an_old_image_is_left_behind() -> None:
    before, after = Residue(images={"sha256:1": "a:1"}), Residue(images={"sha256:1": "a:1, b:2"})

    assert difference(before, after) == ["image name: b:2 (sha256:1)"]


def test_a_renamed_container_is_no_leftover() -> None:
    assert difference(Residue(containers={"i": "/a"}), Residue(containers={"i": "/b"})) == []


@NEEDS_UPSTREAM
@pytest.mark.parametrize("network", ["none", "bridge", "host"])
def test_a_container_shows_while_it_is_there_and_not_after(
    upstream: PrivateStack, busybox: str, network: str
) -> None:
    before = Residue.take(upstream)
    with engine_client(upstream.engine, 30) as client:
        body = {
            "Image": busybox,
            "Cmd": ["/bin/busybox", "sleep", "1000"],
            "HostConfig": {"NetworkMode": network},
        }
        name = client.post("/containers/create", json=body).json()["Id"]
        client.post(f"/containers/{name}/start")
        during = difference(before, Residue.take(upstream))
        client.delete(f"/containers/{name}?force=1")

    kinds = {line.partition(":")[0] for line in during}
    assert {"container", "process", "mount", "control group", "socket"} <= kinds
    assert ("network interface" in kinds) is (network == "bridge")
    assert settled_difference(before, upstream) == []


@NEEDS_UPSTREAM
def test_what_stays_is_told_after_the_bound(upstream: PrivateStack) -> None:
    before = Residue.take(upstream)
    with engine_client(upstream.engine, 30) as client:
        client.post("/volumes/create", json={"Name": "forgotten"})
        client.post("/networks/create", json={"Name": "lost", "Internal": True})
        left = settled_difference(before, upstream, 0.05)
        client.delete("/volumes/forgotten")
        client.delete("/networks/lost")

    assert "volume: forgotten" in left
    assert any(line.startswith("network: lost") for line in left)
    assert any(line.startswith("network interface: br-") for line in left)
    assert any(line.startswith("packet filter rule: ") for line in left)
    assert settled_difference(before, upstream) == []


@NEEDS_UPSTREAM
def test_an_engine_that_has_gone_is_a_target_error() -> None:
    from sixhops.harness.stack import open_target

    stack = open_target("upstream")
    stack.close()

    with pytest.raises(TargetError):
        Residue.take(stack)


def test_an_empty_table_of_the_packet_filter_is_nothing() -> None:
    empty = "# Generated\n*raw\n:PREROUTING ACCEPT [3:180]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n# Completed\n"
    kept = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n"
    chain = "*nat\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n"

    assert parse_rules(empty + kept + chain) == [
        *("*filter", ":INPUT ACCEPT", "-A INPUT -j DROP", "COMMIT"),
        *("*nat", ":OUTPUT ACCEPT", ":DOCKER -", "COMMIT"),
    ]
