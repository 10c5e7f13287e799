"""Upstream's stack with taps on all hops: what they see of one container, also after a restart of containerd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import HopMessage

pytestmark = NEEDS_UPSTREAM


@pytest.fixture(scope="module")
def upstream() -> Iterator[PrivateStack]:
    """Takes the place of the fixture for all modules: the stack has inner taps."""
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions(inner_taps=True))
    yield stack
    assert stack.close() == []


def began(messages: list[HopMessage], hop: Hop, name: str) -> HopMessage:
    return next(each for each in messages if each.hop == hop and each.summary.partition(" -> ")[0] == name)


def test_every_hop_can_be_observed(upstream: PrivateStack) -> None:
    assert {hop: reason for hop, reason in upstream.facts.hops.items() if reason is not None} == {}


def test_a_container_is_seen_on_the_inner_hops(upstream: PrivateStack, busybox: str) -> None:
    mark = upstream.recorder.mark()
    with engine_client(upstream.engine, 30) as client:
        body = {
            "Image": busybox,
            "Cmd": ["/bin/busybox", "sleep", "1000"],
            "HostConfig": {"NetworkMode": "none"},
        }
        name = client.post("/containers/create", json=body).json()["Id"]
        assert client.post(f"/containers/{name}/start").status_code == 204
        pid = client.get(f"/containers/{name}/json").json()["State"]["Pid"]
        assert client.delete(f"/containers/{name}?force=1").status_code == 204
    messages = upstream.recorder.since(mark, 10.0)

    assert not [each.summary for each in messages if "the tap failed" in str(each.fields.get("error"))]
    order = [
        began(messages, Hop.CONTAINERD, "Containers/Create"),
        began(messages, Hop.CONTAINERD, "Tasks/Create"),
        began(messages, Hop.SHIM, "shim start"),
        began(messages, Hop.SHIM, "Create"),
        began(messages, Hop.RUNTIME, "create"),
        began(messages, Hop.CONTAINERD, "Tasks/Start"),
        began(messages, Hop.SHIM, "Start"),
        began(messages, Hop.RUNTIME, "start"),
        began(messages, Hop.CONTAINERD, "Tasks/Kill"),
        began(messages, Hop.SHIM, "Kill"),
        began(messages, Hop.RUNTIME, "kill"),
    ]
    assert [each.sequence for each in order] == sorted(each.sequence for each in order)
    assert all(each.fields["complete"] for each in order)
    created = began(messages, Hop.RUNTIME, "create").fields
    assert created["pid"] == pid
    assert created["config"]["process"]["args"] == ["/bin/busybox", "sleep", "1000"]  # type: ignore[index,call-overload]


def test_a_restarted_containerd_finds_the_tapped_shim(upstream: PrivateStack, busybox: str) -> None:
    with engine_client(upstream.engine, 30) as client:
        body = {
            "Image": busybox,
            "Cmd": ["/bin/busybox", "sleep", "1000"],
            "HostConfig": {"NetworkMode": "none"},
        }
        name = client.post("/containers/create", json=body).json()["Id"]
        assert client.post(f"/containers/{name}/start").status_code == 204
        mark = upstream.recorder.mark()
        upstream.faults.restart("containerd", 20.0)
        assert client.delete(f"/containers/{name}?force=1").status_code == 204
    messages = upstream.recorder.since(mark, 10.0)

    assert began(messages, Hop.SHIM, "Connect").fields["container"] == name
    assert began(messages, Hop.SHIM, "Kill").fields["status"] == "OK"
    # Nothing of the taps stays behind beside the sockets of shims.
    assert upstream.host is not None
    assert [entry for entry in upstream.host.sockets() if entry.startswith(".tap")] == []
