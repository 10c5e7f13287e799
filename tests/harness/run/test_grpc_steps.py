"""`grpc` steps against a small server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.run.result import ScenarioRun
from sixhops.wire.proto import (
    containers_pb2,
    content_pb2,
    namespaces_pb2,
    rpc_pb2,
    tasks_pb2,
    types_pb2,
)

if TYPE_CHECKING:
    from fake_machine import FakeContainerd, FakeMachine
    from socket_engine import FakeTarget

Run = Callable[[str], ScenarioRun]


def only(result: ScenarioRun, at: int = 0) -> dict[str, Any]:
    assert result.exchanges[at].error is None
    assert result.verdict.mismatches == ()
    return dict(result.exchanges[at].facets)


def test_a_unary_call_sends_its_message_and_shows_the_answer(containerd: FakeContainerd, run: Run) -> None:
    def get(request: Any, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata((("color", "blue"),))
        context.set_trailing_metadata((("last", "words"), ("blob-bin", b"\x00\xff")))
        return containers_pb2.GetContainerResponse(container={"id": request.id, "image": "x"})

    containerd.on("Containers", "Get", get)

    facets = only(
        run("steps:\n  - {grpc: Containers/Get, json: {id: a}, metadata: {Extra: 5}, expect: {status: OK}}")
    )

    assert facets == {
        "status": "OK",
        "code": 0,
        "message": "",
        "metadata": {"color": "blue"},
        "trailers": {"last": "words", "blob-bin": b"\x00\xff"},
        "response": {"container": {"id": "a", "image": "x"}},
    }
    (_, metadata, _) = containerd.asked("Containers/Get")[0]
    assert metadata["containerd-namespace"] == "sixhops"
    assert metadata["extra"] == "5"


@pytest.mark.parametrize(("namespace", "sent"), [("moby", "moby"), ("null", None), ('""', "")])
def test_the_namespace(containerd: FakeContainerd, run: Run, namespace: str, sent: str | None) -> None:
    run(f"steps:\n  - {{grpc: Tasks/List, namespace: {namespace}}}")

    assert containerd.asked("Tasks/List")[0][1].get("containerd-namespace") == sent


def test_a_refusal_has_its_code_message_and_details(containerd: FakeContainerd, run: Run) -> None:
    status = rpc_pb2.Status(code=9, message="busy")
    status.details.add(type_url="x/y", value=b"z")

    def kill(_request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "busy")

    containerd.on("Tasks", "Kill", kill)

    facets = only(run("steps:\n  - {grpc: Tasks/Kill, json: {container_id: a}}"))

    assert (facets["status"], facets["code"], facets["message"]) == ("FAILED_PRECONDITION", 9, "busy")
    assert facets["details"] == [{"@type": "x/y", "value": b"z"}]
    assert "response" not in facets


def test_streams_of_both_kinds(containerd: FakeContainerd, run: Run) -> None:
    def write(requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            yield content_pb2.WriteContentResponse(offset=len(request.data))

    containerd.on("Content", "Write", write)

    facets = only(
        run(
            "steps:\n  - {grpc: Content/Write, messages: [{data: abc}, {data: {hex: 00ff}}, {data: {text: ab, repeat: 3}}]}"
        )
    )

    assert [item.get("offset") for item in facets["responses"]] == [3, 2, 6]


def test_a_subscription_in_the_background(containerd: FakeContainerd, run: Run) -> None:
    more, told = threading.Event(), threading.Event()

    def subscribe(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        # Before anything is answered: once the call is over, no callback is taken any more.
        assert context.add_callback(told.set)
        yield types_pb2.Envelope(topic="/one")
        assert more.wait(20)
        yield types_pb2.Envelope(topic="/two")
        assert told.wait(20)

    def get(_request: Any, _context: grpc.ServicerContext) -> Any:
        more.set()
        return tasks_pb2.GetResponse()

    containerd.on("Events", "Subscribe", subscribe)
    containerd.on("Tasks", "Get", get)

    result = run(
        "steps:\n"
        "  - {background: events, grpc: Events/Subscribe}\n"
        "  - {await: events, expect: {responses: [{topic: /one}]}}\n"
        "  - {grpc: Tasks/Get}\n"
        "  - {await: events, expect: {responses: [{topic: /one}, {topic: /two}]}, save: {last: '$responses[-1].topic'}}\n"
        "  - {disconnect: events}\n"
    )

    assert result.verdict.mismatches == ()
    assert result.verdict.steps[3].saved == {"last": "/two"}
    assert told.wait(20)


def test_requests_stay_open_until_they_are_closed(containerd: FakeContainerd, run: Run) -> None:
    def write(requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        count = sum(1 for _ in requests)
        yield content_pb2.WriteContentResponse(total=count)

    containerd.on("Content", "Write", write)

    result = run(
        "steps:\n"
        "  - {background: w, grpc: Content/Write, messages: [{}, {}], half_close: false}\n"
        "  - {close_stdin: w}\n"
        "  - {join: w, expect: {status: OK, responses: [{total: 2}]}}\n"
    )

    assert result.verdict.mismatches == ()


def test_an_unknown_method_is_sent_as_it_is(containerd: FakeContainerd, run: Run) -> None:
    facets = only(run("steps:\n  - {grpc: /no.such.Service/Method, body: {hex: 0801}}"))

    assert facets["status"] == "UNIMPLEMENTED"
    assert facets["message"] == "unknown method /no.such.Service/Method"
    assert containerd.asked("Method")[0][2] == [b"\x08\x01"]


def test_bytes_instead_of_a_message(containerd: FakeContainerd, run: Run) -> None:
    containerd.on("Namespaces", "List", lambda _request, _context: namespaces_pb2.ListNamespacesResponse())

    run("steps:\n  - {grpc: Version/Version, body: {hex: ffff}}")

    assert containerd.asked("Version/Version")[0][2] == [b"\xff\xff"]


def test_a_deadline_is_the_calls_own(containerd: FakeContainerd, run: Run) -> None:
    ended = threading.Event()

    def wait(_request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(ended.set)
        assert ended.wait(5)
        return tasks_pb2.WaitResponse()

    containerd.on("Tasks", "Wait", wait)

    facets = only(run("steps:\n  - {grpc: Tasks/Wait, deadline: 200ms}"))

    assert facets["status"] == "DEADLINE_EXCEEDED"


def test_a_call_past_the_steps_time_is_an_error(containerd: FakeContainerd, run: Run) -> None:
    ended = threading.Event()

    def wait(_request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(ended.set)
        assert ended.wait(5)
        return tasks_pb2.WaitResponse()

    containerd.on("Tasks", "Wait", wait)

    result = run("steps:\n  - {grpc: Tasks/Wait, timeout: 200ms}")

    assert result.exchanges[0].error == (
        "containerd.services.tasks.v1.Tasks/Wait did not end within the step's time"
    )


def test_nobody_listens(containerd: FakeContainerd, machine: FakeMachine, run: Run) -> None:
    def stop(_request: Any, _context: grpc.ServicerContext) -> Any:
        machine.containerd = machine.containerd.with_name("nobody.sock")
        return tasks_pb2.GetResponse()

    containerd.on("Tasks", "Get", stop)

    result = run("steps:\n  - grpc: Tasks/Get\n  - {grpc: Tasks/Get, expect: {status: UNAVAILABLE}}")

    assert result.verdict.mismatches == ()
    assert result.leftovers[0].startswith("clean-up failed: can't ask containerd what it holds")


def test_a_saved_value_of_the_wrong_type_names_the_step(containerd: FakeContainerd, run: Run) -> None:
    with pytest.raises(ScenarioError, match="container_id is text, not the integer 5") as caught:
        run("vars: {n: 5}\nsteps:\n  - {grpc: Tasks/Get, json: {container_id: '${n}'}}")

    assert caught.value.mark is not None
    assert caught.value.mark.line == 5


def test_without_a_machine_the_scenario_is_skipped(target: FakeTarget, run: Run) -> None:
    result = run("steps:\n  - grpc: Tasks/List\n  - ttrpc: State\n    shim: x\n  - bundle: b\n  - runc: list")

    assert result.skipped == (
        "needs the machine of a stack, for bundle and grpc and runc and ttrpc steps, "
        "and sixhops did not start this engine"
    )
