"""`ttrpc` steps against a small server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from fake_machine import FakeMachine, FakeShim

from sixhops.harness.run.result import ScenarioRun
from sixhops.wire.proto import shim_v2_pb2, shim_v3_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.wire.ttrpc.calls import Call

Run = Callable[[str], ScenarioRun]


@pytest.fixture
def shim(machine: FakeMachine, tmp_path: Path) -> Iterator[Callable[[Callable[[Call], bytes]], FakeShim]]:
    """Start the shim of container c in the namespace sixhops."""
    started: list[FakeShim] = []

    def start(answer: Callable[[Call], bytes]) -> FakeShim:
        machine.shims["sixhops", "c"] = (f"unix://{tmp_path}/shim.sock", 2)
        started.append(FakeShim(tmp_path / "shim.sock", answer))
        return started[0]

    yield start
    for server in started:
        server.close()


def only(result: ScenarioRun) -> dict[str, Any]:
    assert result.verdict.mismatches == ()
    return dict(result.exchanges[0].facets)


def test_a_call_and_its_answer(shim: Any, run: Run) -> None:
    server = shim(lambda _call: shim_v2_pb2.StateResponse(id="c", pid=5, status=2).SerializeToString())

    facets = only(run("steps:\n  - {ttrpc: State, shim: c, json: {id: c}, metadata: {a: b}}"))

    assert facets == {
        "status": "OK",
        "code": 0,
        "message": "",
        "response": {"id": "c", "pid": 5, "status": "RUNNING"},
    }
    (call,) = server.calls
    assert (call.service, call.method) == ("containerd.task.v2.Task", "State")
    assert call.metadata == {"a": "b", "containerd-namespace-ttrpc": "sixhops"}
    assert shim_v2_pb2.StateRequest.FromString(call.payload).id == "c"


def test_the_task_service_is_the_version_that_the_shim_offers(
    shim: Any, run: Run, machine: FakeMachine
) -> None:
    server = shim(lambda _call: shim_v3_pb2.StateResponse(id="c", pid=5, status=2).SerializeToString())
    machine.shims["sixhops", "c"] = (machine.shims["sixhops", "c"][0], 3)

    facets = only(run("steps:\n  - {ttrpc: State, shim: c, json: {id: c}}"))

    assert facets["response"] == {"id": "c", "pid": 5, "status": "RUNNING"}
    assert [(call.service, call.method) for call in server.calls] == [("containerd.task.v3.Task", "State")]


def test_a_refusal(shim: Any, run: Run) -> None:
    def refuse(_call: Call) -> bytes:
        raise RpcError(Code.NOT_FOUND, "process x: not found")

    shim(refuse)

    facets = only(run("steps:\n  - {ttrpc: Kill, shim: c, json: {id: c, signal: 9}}"))

    assert facets == {"status": "NOT_FOUND", "code": 5, "message": "process x: not found"}


def test_by_address_with_another_service_and_bytes(shim: Any, run: Run, tmp_path: Path) -> None:
    server = shim(lambda _call: b"")

    only(
        run(
            f"steps:\n  - {{ttrpc: a.b.C/D, address: 'unix://{tmp_path}/shim.sock', namespace: null, body: x}}"
        )
    )

    (call,) = server.calls
    assert (call.service, call.method, call.payload, call.metadata) == ("a.b.C", "D", b"x", {})


def test_a_shim_that_goes_away_is_unavailable(shim: Any, run: Run) -> None:
    def vanish(_call: Call) -> bytes:
        raise ConnectionAbortedError

    shim(vanish)

    assert only(run("steps:\n  - {ttrpc: Shutdown, shim: c, json: {id: c}}"))["status"] == "UNAVAILABLE"


def test_deadline_and_step_time(shim: Any, run: Run) -> None:
    done = threading.Event()

    def late(_call: Call) -> bytes:
        done.wait(5)
        return b""

    shim(late)

    own = only(run("steps:\n  - {ttrpc: Wait, shim: c, json: {id: c}, deadline: 100ms}"))
    done.set()
    assert own["status"] == "DEADLINE_EXCEEDED"


def test_past_the_steps_time_is_an_error(shim: Any, run: Run) -> None:
    done = threading.Event()

    def late(_call: Call) -> bytes:
        done.wait(5)
        return b""

    shim(late)

    result = run("steps:\n  - {ttrpc: Wait, shim: c, json: {id: c}, timeout: 100ms}")
    done.set()
    assert result.exchanges[0].error == "Wait did not end within the step's time"


def test_in_the_background_it_can_be_disconnected(shim: Any, run: Run) -> None:
    done = threading.Event()

    def late(_call: Call) -> bytes:
        done.wait(5)
        return b""

    shim(late)

    result = run("steps:\n  - {background: w, ttrpc: Wait, shim: c, json: {id: c}}\n  - disconnect: w")
    done.set()
    assert result.verdict.mismatches == ()


def test_a_container_without_a_shim_is_the_targets_fault(machine: FakeMachine, run: Run) -> None:
    result = run("steps:\n  - {ttrpc: State, shim: nobody}")

    assert result.exchanges[0].error == "container nobody has no shim in the namespace sixhops"
