"""Background steps: what waits for what, and how they end. Order is made with events, never with time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from socket_engine import WAIT, FakeTarget, Seen, SocketEngine, one

from sixhops.harness.errors import ScenarioError
from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.run.scenario import run_scenario
from sixhops.harness.scenario.model import Hop

Run = Callable[[str], ScenarioRun]

HEAD = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


def frame(data: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def errors(result: ScenarioRun) -> list[str]:
    return [f"{failure.step_name}: {failure.problem}" for failure in result.verdict.mismatches]


ATTACH = "{background: attached, request: POST /containers/x/attach, upgrade: tcp, expect: {status: 101}}"


def test_the_next_step_waits_for_the_head_that_is_expected(run: Run, engine: SocketEngine) -> None:
    attached = threading.Event()

    def attach(seen: Seen) -> None:
        attached.set()
        seen.connection.sendall(HEAD)
        assert started.wait(WAIT)
        seen.connection.sendall(frame(b"hello\n"))

    started = threading.Event()

    def start(seen: Seen) -> None:
        assert attached.is_set()
        started.set()
        seen.reply(None)

    engine.on("POST /containers/x/attach", attach)
    engine.on("POST /containers/x/start", start)

    result = run(
        f"steps:\n  - {ATTACH}\n  - request: POST /containers/x/start\n"
        '  - {join: attached, expect: {stdout: "hello\\n", stderr: "", eof: true}}'
    )

    assert errors(result) == []
    first = result.exchanges[0]
    assert (first.complete, first.facets["status"]) == (False, 101)


def test_without_expectations_it_goes_on_once_the_request_is_sent(run: Run, engine: SocketEngine) -> None:
    go_on = threading.Event()

    def wait(seen: Seen) -> None:
        assert go_on.wait(WAIT)
        seen.reply({"StatusCode": 0})

    engine.on("POST /containers/x/wait", wait)
    engine.on("POST /containers/x/start", lambda seen: [go_on.set(), seen.reply(None)][1])

    result = run(
        "steps:\n  - {background: ended, request: POST /containers/x/wait}\n"
        "  - request: POST /containers/x/start\n"
        "  - {join: ended, expect: {json: {StatusCode: 0}}}"
    )

    assert errors(result) == []


def test_await_goes_on_as_soon_as_the_partial_answer_is_enough(run: Run, engine: SocketEngine) -> None:
    go_on = threading.Event()

    def events(seen: Seen) -> None:
        seen.connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for part in (b'{"n":1}\n', b'{"n":', b"2}\n"):
            seen.connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        assert go_on.wait(WAIT)
        seen.connection.sendall(b'8\r\n{"n":3}\n\r\n0\r\n\r\n')

    engine.on("GET /events", events)
    engine.on("POST /go", lambda seen: [go_on.set(), seen.reply(None)][1])

    result = run(
        "steps:\n  - {background: events, request: GET /events}\n"
        "  - {await: events, expect: {stream: [{n: 1}, {n: 2}]}}\n"
        "  - request: POST /go\n"
        "  - {join: events, expect: {stream: [{n: 1}, {n: 2}, {n: 3}]}}"
    )

    assert errors(result) == []


def test_await_stops_at_once_when_the_stream_has_ended(run: Run, engine: SocketEngine) -> None:
    engine.raw("POST /containers/x/attach", HEAD + frame(b"ready?\n"))

    result = run(
        f"steps:\n  - {ATTACH}\n  - {{await: attached, timeout: 60s, expect: {{stdout: !contains ready! }}}}\n"
        "  - join: attached"
    )

    assert result.duration < WAIT
    assert len(errors(result)) == 1


def test_await_says_how_long_it_waited(run: Run, engine: SocketEngine) -> None:
    engine.on(
        "POST /containers/x/attach", lambda seen: [seen.connection.sendall(HEAD), seen.read_to_end()][0]
    )

    result = run(
        f"steps:\n  - {ATTACH}\n  - {{name: listen, await: attached, timeout: 0.02s, expect: {{stdout: more}}}}\n"
        "  - join: attached"
    )

    assert errors(result)[0] == "listen: waited 0.02 s for what is expected of attached"


def test_stdin_is_sent_closed_and_answered(run: Run, engine: SocketEngine) -> None:
    def cat(seen: Seen) -> None:
        seen.connection.sendall(HEAD)
        while data := seen.connection.recv(100):
            seen.connection.sendall(frame(data))

    engine.on("POST /containers/x/attach", cat)

    result = run(
        f"steps:\n  - {ATTACH}\n"
        '  - {send: {to: attached, text: "one\\n"}}\n'
        '  - {await: attached, expect: {stdout: "one\\n"}}\n'
        "  - {send: {to: attached, hex: 00ff}}\n"
        "  - {close_stdin: attached}\n"
        '  - {join: attached, expect: {stdout: !prefix "one\\n", eof: true}}'
    )

    assert errors(result) == []
    assert result.exchanges[-1].facets["stdout"] == b"one\n\x00\xff"


def test_a_client_that_disconnects_is_seen_to_go(run: Run, engine: SocketEngine) -> None:
    gone = threading.Event()

    def attach(seen: Seen) -> None:
        seen.connection.sendall(HEAD + frame(b"x"))
        assert seen.read_to_end() == b""
        gone.set()

    engine.on("POST /containers/x/attach", attach)
    engine.on("GET /gone", lambda seen: seen.reply({"gone": gone.wait(WAIT)}))

    result = run(
        f"steps:\n  - {ATTACH}\n  - {{await: attached, expect: {{stdout: x}}}}\n"
        "  - disconnect: attached\n  - {request: GET /gone, expect: {json: {gone: true}}}"
    )

    assert errors(result) == []
    assert result.exchanges[2].facets["eof"] is False


def test_what_still_runs_at_the_end_is_cut_and_is_a_failure(target: FakeTarget, engine: SocketEngine) -> None:
    engine.on(
        "POST /containers/x/attach", lambda seen: [seen.connection.sendall(HEAD), seen.read_to_end()][0]
    )

    scenario = one(f"steps:\n  - {ATTACH}\n  - disconnect: attached")
    # The loader refuses a scenario without the last step; the runner must not depend on that.
    result = run_scenario(replace(scenario, steps=scenario.steps[:1]), target, {})

    assert not result.passed
    assert "unfinished: the background step attached still ran" in errors(result)[0]


def test_join_is_bounded(run: Run, engine: SocketEngine) -> None:
    engine.on(
        "POST /containers/x/attach", lambda seen: [seen.connection.sendall(HEAD), seen.read_to_end()][0]
    )

    result = run(f"steps:\n  - {ATTACH}\n  - {{name: end, join: attached, timeout: 0.02s}}")

    assert errors(result) == ["end: the background step attached has not ended within 0.02 s"]


def test_a_background_step_that_fails_is_seen_by_its_join(run: Run, engine: SocketEngine) -> None:
    engine.raw("GET /x", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

    result = run(
        "steps:\n  - {background: x, request: GET /x, expect: {status: 200}}\n  - {name: end, join: x}"
    )

    assert any("closed the connection inside the body" in error for error in errors(result))


def test_writing_to_what_has_ended_is_an_error_of_the_step(run: Run, engine: SocketEngine) -> None:
    engine.raw("POST /containers/x/attach", HEAD)

    result = run(
        f"steps:\n  - {ATTACH}\n  - {{await: attached, expect: {{eof: true}}}}\n"
        "  - {name: late, send: {to: attached, text: x}}\n  - join: attached"
    )

    assert errors(result) == ["late: POST /containers/x/attach: the stream has ended"]


def test_two_background_steps_of_one_name_at_a_time_are_a_mistake(run: Run, engine: SocketEngine) -> None:
    with pytest.raises(ScenarioError, match=r"attached"):
        run(f"steps:\n  - {ATTACH}\n  - {ATTACH}")


def test_eventually_repeats_until_it_holds(run: Run, engine: SocketEngine) -> None:
    answers = iter(["created", "running", "exited", "never"])
    engine.on("GET /containers/x/json", lambda seen: seen.reply({"Status": next(answers)}))

    result = run(
        "steps:\n  - {request: GET /containers/x/json, eventually: 5s, expect: {json: {Status: exited}}}"
    )

    assert errors(result) == []
    assert [exchange.attempts for exchange in result.exchanges] == [3]
    assert next(answers) == "never"


def test_eventually_ends_at_its_bound_with_the_last_attempt(run: Run, engine: SocketEngine) -> None:
    engine.json("GET /x", {"Status": "running"})

    result = run("steps:\n  - {request: GET /x, eventually: 0.2s, expect: {json: {Status: exited}}}")

    assert result.exchanges[0].attempts > 1
    assert any("within 0.2 s" in note for note in result.verdict.mismatches[0].notes)


def test_eventually_stops_at_once_when_it_is_futile(run: Run, engine: SocketEngine) -> None:
    answers = iter(["running", "dead"])
    engine.on("GET /x", lambda seen: seen.reply({"Status": next(answers)}))

    result = run(
        "steps:\n  - request: GET /x\n    expect: {json: {Status: exited}}\n"
        "    eventually: {timeout: 60s, fail_if: {json: {Status: dead}}}"
    )

    assert result.duration < WAIT
    assert (result.exchanges[0].attempts, result.verdict.status) == (2, "failed")


def test_messages_of_a_background_step_are_seen_by_its_join(
    run: Run, engine: SocketEngine, target: FakeTarget
) -> None:
    def pull(seen: Seen) -> None:
        target.recorder.begin(Hop.REGISTRY).finish("GET /v2/ -> 200", {"method": "GET"})
        seen.reply({})

    engine.on("POST /images/create.*", pull)

    result = run(
        "steps:\n  - {background: pull, request: POST /images/create?fromImage=x}\n"
        "  - request: GET /other\n"
        "  - {join: pull, expect: {registry: [GET /v2/ -> 200]}}"
    )

    assert errors(result) == []
