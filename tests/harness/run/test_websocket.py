"""Attach over a websocket, against an engine that writes the frames itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key

from sixhops.harness.run.result import ScenarioRun

if TYPE_CHECKING:
    from socket_engine import Seen, SocketEngine

Run = Callable[[str], ScenarioRun]

WS = "request: GET /containers/x/attach/ws?stream=1, upgrade: websocket"


def accept(seen: Seen, key: str | None = None) -> None:
    sent = {name.lower(): value for name, value in seen.headers}
    assert sent["sec-websocket-version"] == "13"
    key = key or accept_key(sent["sec-websocket-key"])
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += f"Sec-WebSocket-Accept: {key}\r\n\r\n"
    seen.connection.sendall(head.encode())


def message(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def receive(seen: Seen) -> tuple[int, bytes]:
    first, length = seen.read(2)
    assert length & 0x80, "a client's frames are masked"
    mask = seen.read(4)
    data = seen.read(length & 0x7F)
    return first & 0xF, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


CLOSE = message(Close(1000, "").serialize(), Opcode.CLOSE)


def test_messages_become_output_and_stdin_becomes_messages(run: Run, engine: SocketEngine) -> None:
    def attach(seen: Seen) -> None:
        accept(seen)
        assert receive(seen) == (Opcode.BINARY, b"word\n")
        seen.connection.sendall(message(b"got ") + message(b"word", Opcode.TEXT, fin=False))
        seen.connection.sendall(message(b"\n", Opcode.CONT) + message(b"", Opcode.PING))
        assert receive(seen) == (Opcode.PONG, b"")
        seen.connection.sendall(CLOSE)
        assert receive(seen)[0] == Opcode.CLOSE

    engine.on("GET /containers/x/attach/ws.*", attach)

    result = run(f'steps:\n  - {{{WS}, stdin: "word\\n", half_close: false}}')

    facets = result.exchanges[0].facets
    assert result.exchanges[0].error is None
    assert facets["messages"] == ["got ", "word\n"]
    assert (facets["output"], facets["close_code"], facets["eof"]) == ("got word\n", 1000, True)


def test_a_server_that_does_not_wait_for_our_close_is_no_error(run: Run, engine: SocketEngine) -> None:
    def attach(seen: Seen) -> None:
        accept(seen)
        seen.connection.sendall(message(b"x") + CLOSE)

    engine.on("GET /containers/x/attach/ws.*", attach)

    result = run(f"steps:\n  - {{{WS}}}")

    assert (result.exchanges[0].error, result.exchanges[0].facets["output"]) == (None, "x")


def test_an_end_without_a_close_frame_has_no_code(run: Run, engine: SocketEngine) -> None:
    engine.on(
        "GET /containers/x/attach/ws.*",
        lambda seen: [accept(seen), seen.connection.sendall(message(b"x"))][0],
    )

    facets = run(f"steps:\n  - {{{WS}}}").exchanges[0].facets

    assert facets["output"] == "x"
    assert "close_code" not in facets


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda seen: accept(seen, "wrong"), "Sec-WebSocket-Accept is 'wrong'"),
        (lambda seen: [accept(seen), seen.connection.sendall(b"\xff\xff\xff")][0], "not a websocket stream"),
    ],
)
def test_what_is_no_websocket_is_an_error(
    run: Run, engine: SocketEngine, answer: Callable[[Seen], None], error: str
) -> None:
    engine.on("GET /containers/x/attach/ws.*", answer)

    assert error in str(run(f"steps:\n  - {{{WS}}}").exchanges[0].error)


def test_a_refused_upgrade_is_an_ordinary_answer(run: Run, engine: SocketEngine) -> None:
    engine.json("GET /containers/x/attach/ws.*", {"message": "No such container: x"}, "404 Not Found")

    facets = run(f"steps:\n  - {{{WS}}}").exchanges[0].facets

    assert (facets["status"], facets["json"]) == (404, {"message": "No such container: x"})


def test_a_background_websocket_is_written_to_and_closed(run: Run, engine: SocketEngine) -> None:
    def attach(seen: Seen) -> None:
        accept(seen)
        seen.connection.sendall(message(b"you said " + receive(seen)[1]))
        assert receive(seen)[0] == Opcode.CLOSE
        seen.connection.sendall(CLOSE)

    engine.on("GET /containers/x/attach/ws.*", attach)

    result = run(
        f"steps:\n  - {{background: ws, {WS}, expect: {{status: 101}}}}\n"
        "  - {send: {to: ws, text: hi}}\n"
        "  - {await: ws, expect: {output: you said hi}}\n"
        "  - close_stdin: ws\n"
        "  - {join: ws, expect: {eof: true}}"
    )

    assert [f.problem for f in result.verdict.mismatches] == []
    assert result.exchanges[-1].facets["close_code"] == 1000
