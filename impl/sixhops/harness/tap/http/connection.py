"""One client connection of an `HttpTap`: two loops that pass bytes on and watch them.

The queue `_waiting` holds the requests whose answers are not complete, oldest first; answers come in that
order. A request that may turn its connection into a byte stream (an upgrade, attach, exec start) holds
back what follows it until the answer's head tells whether HTTP goes on; then the bytes are passed on unread.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from sixhops.harness.tap.http.faults import declare, describe, flip, made_up_answer, retargeted
from sixhops.harness.tap.http.message import Body, Head, Kind, MessageError, MessageReader, Piece
from sixhops.harness.tap.http.record import HttpRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sixhops.harness.scenario.model import FaultRule, Hop
    from sixhops.harness.tap.http.faults import FaultPlan
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["Connection"]

Connect: TypeAlias = "Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]"

_READ = 256 * 1024
#: Endpoints that Docker answers with a byte stream although nobody asked for an upgrade.
_STREAMING = re.compile(r"(/v\d+\.\d+)?/(containers/[^/]+/attach|exec/[^/]+/start|session|grpc)")
_RAW_STREAM = "application/vnd.docker."


class _BrokenError(Exception):
    """This connection can't go on; the message says why."""


class _Pending:
    """A request on its way: what is recorded of it, and what the two loops tell each other about it."""

    def __init__(self, record: HttpRecord) -> None:
        self.record = record
        self.rule: FaultRule | None = None
        self.headed = asyncio.Event()
        self.answered = asyncio.Event()
        self.hijacked = False
        self.body_seen = 0

    @property
    def may_hijack(self) -> bool:
        head = self.record.request
        if head is None:
            return False
        upgrade = any(name.lower() == "upgrade" for name, _ in head.headers)
        return upgrade or bool(_STREAMING.fullmatch(head.target.partition("?")[0]))


class Connection:
    """Serves one accepted connection until both sides have ended, or one broke off."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connect: Connect,
        hop: Hop,
        recorder: Recorder,
        plan: FaultPlan,
    ) -> None:
        self._client = reader
        self._client_writer = writer
        self._connect = connect
        self._hop = hop
        self._recorder = recorder
        self._plan = plan
        self._upstream: asyncio.StreamReader | None = None
        self._upstream_writer: asyncio.StreamWriter | None = None
        self._requests = MessageReader(answers=False)
        self._answers = MessageReader(answers=True)
        self._waiting: deque[_Pending] = deque()
        self._arriving: _Pending | None = None
        self._connected = asyncio.Event()
        self._upstream_ended = False

    async def run(self) -> None:
        """Pass bytes on until the connection ends. Never raises for what the peers do; everything is
        recorded.
        """
        error = "the tap was closed"
        loops = [asyncio.ensure_future(self._from_client()), asyncio.ensure_future(self._from_upstream())]
        try:
            await asyncio.gather(*loops)
            error = "the connection ended"
        except (_BrokenError, MessageError) as reason:
            error = str(reason)
        except OSError as reason:
            error = f"{type(reason).__name__}: {reason}"
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            self._finish_all(error)
            self._client_writer.close()
            if self._upstream_writer is not None:
                self._upstream_writer.close()

    def abort(self) -> None:
        """Close both sockets without sending what is still waiting to be sent."""
        for writer in (self._client_writer, self._upstream_writer):
            if writer is not None:
                writer.transport.abort()

    def _finish_all(self, error: str) -> None:
        unfinished = list(self._waiting)
        if self._arriving is not None and self._arriving not in unfinished:
            unfinished.append(self._arriving)
            if self._arriving.record.request is None:
                self._arriving.record.torn = self._requests.take_rest()
        for pending in unfinished:
            pending.record.finish(error)
        self._waiting.clear()

    # Client to upstream.

    async def _from_client(self) -> None:
        while data := await self._read(self._client, "the client"):
            self._begin()
            self._requests.feed(data)
            await self._pass_requests()
        if self._arriving is not None:
            raise _BrokenError("the client closed its side inside a request")
        await self._end_upstream()

    def _begin(self) -> None:
        if self._arriving is None:
            self._arriving = _Pending(HttpRecord(self._recorder.begin(self._hop)))
        if self._upstream_ended:
            raise _BrokenError("the upstream had closed the connection before")

    async def _pass_requests(self) -> None:
        """Watch and pass on what the reader holds, gathering pieces into one write as long as nothing must
        wait.
        """
        outgoing = bytearray()
        while (piece := self._next_request_piece()) is not None:
            pending = self._arriving
            if pending is None:
                raise _BrokenError("bytes without a request")
            if piece.kind is Kind.HEAD and piece.head is not None:
                self._take_request_head(pending, piece.head)
            elif piece.kind is Kind.DATA:
                pending.record.request_body.add(piece.raw)
            if pending.rule is None or pending.rule.status is None:
                outgoing += _asked(pending.rule, piece)
            elif piece.head is not None and "100-continue" in piece.head.joined().get("expect", ""):
                # The server that we play must ask for the body, or a client would wait before it sends it.
                await self._write(self._client_writer, b"HTTP/1.1 100 Continue\r\n\r\n", "the client")
            if piece.kind is Kind.END:
                await self._to_upstream(outgoing)
                await self._end_request(pending)
        await self._to_upstream(outgoing)

    def _next_request_piece(self) -> Piece | None:
        piece = self._requests.next_piece()
        pending = self._arriving
        only_blank = piece is None and self._requests.between and pending is not None
        if only_blank and pending is not None and pending.record.request is None:
            # Not the first byte of a message after all.
            pending.record.finish("blank lines between requests")
            self._arriving = None
        return piece

    def _take_request_head(self, pending: _Pending, head: Head) -> None:
        pending.record.request = head
        pending.rule = self._plan.pick(head.method, head.target)
        if pending.rule is not None:
            pending.record.fault = describe(pending.rule)
        self._waiting.append(pending)

    async def _end_request(self, pending: _Pending) -> None:
        pending.record.request_done = True
        self._arriving = None
        if pending.rule is not None and pending.rule.status is not None:
            await self._answer_ourselves(pending, pending.rule)
        elif pending.record.answer_done:
            pending.record.finish()
        elif pending.may_hijack:
            await pending.headed.wait()
            if pending.hijacked:
                await self._stream_to_upstream(pending)
                return
        if not self._requests.between:
            self._begin()

    async def _stream_to_upstream(self, pending: _Pending) -> None:
        data = self._requests.take_rest()
        while True:
            if data:
                pending.record.upstream_stream.add(data)
                await self._to_upstream(bytearray(data))
            data = await self._read(self._client, "the client")
            if not data:
                return

    async def _answer_ourselves(self, pending: _Pending, rule: FaultRule) -> None:
        earlier = [other for other in self._waiting if other is not pending]
        for other in earlier:
            await other.answered.wait()
        head, head_bytes, body = made_up_answer(rule, pending.record.method)
        pending.record.answer = head
        pending.record.answer_body.add(body)
        self._complete(pending)
        await self._write(self._client_writer, head_bytes + body, "the client")

    async def _to_upstream(self, data: bytearray) -> None:
        if not data:
            return
        if self._upstream_writer is None:
            try:
                self._upstream, self._upstream_writer = await self._connect()
            except OSError as error:
                raise _BrokenError(f"the upstream can't be reached: {error}") from error
            self._connected.set()
        await self._write(self._upstream_writer, bytes(data), "the upstream")
        data.clear()

    async def _end_upstream(self) -> None:
        if self._upstream_writer is None:
            # Nothing was ever sent on, so there is no other side whose end could be waited for.
            self._connected.set()
        elif self._upstream_writer.can_write_eof():
            self._upstream_writer.write_eof()

    # Upstream to client.

    async def _from_upstream(self) -> None:
        await self._connected.wait()
        if self._upstream is None:
            return
        while data := await self._read(self._upstream, "the upstream"):
            self._answers.feed(data)
            await self._pass_answers()
        self._answers.close()
        await self._pass_answers()
        if self._waiting:
            where = "inside an answer" if self._waiting[0].record.answer else "before it answered"
            raise _BrokenError(f"the upstream closed the connection {where}")
        self._upstream_ended = True
        if self._client_writer.can_write_eof():
            self._client_writer.write_eof()

    async def _pass_answers(self) -> None:
        outgoing = bytearray()
        while (piece := self._next_answer_piece()) is not None:
            pending = self._waiting[0] if self._waiting else self._unasked()
            raw, cut = piece.raw, False
            if piece.kind is Kind.HEAD and piece.head is not None:
                raw = await self._take_answer_head(pending, piece.head, piece.raw, outgoing)
            elif piece.kind is Kind.DATA:
                raw, cut = _alter(pending, piece.raw)
                pending.record.answer_body.add(raw)
                pending.body_seen += len(piece.raw)
            elif piece.kind is Kind.FRAMING and pending.rule is not None and pending.rule.length is not None:
                raw = b""
            outgoing += raw
            if cut:
                await self._write(self._client_writer, bytes(outgoing), "the client")
                raise _BrokenError(f"fault: {pending.record.fault}")
            if piece.kind is Kind.END:
                self._complete(pending)
                if (
                    pending.rule is not None
                    and pending.rule.length is not None
                    and pending.record.method != "HEAD"
                ):
                    # What was declared does not fit what was sent, so no second answer could be found on
                    # this connection.
                    await self._write(self._client_writer, bytes(outgoing), "the client")
                    raise _BrokenError(f"fault: {pending.record.fault}")
        await self._write(self._client_writer, bytes(outgoing), "the client")

    def _next_answer_piece(self) -> Piece | None:
        if self._waiting:
            self._answers.answers_to(self._waiting[0].record.method)
        return self._answers.next_piece()

    def _unasked(self) -> _Pending:
        # Servers say 408 or 400 to a connection that did not (yet) ask; it must not look like the next
        # request's answer.
        pending = _Pending(HttpRecord(self._recorder.begin(self._hop)))
        self._waiting.append(pending)
        return pending

    async def _take_answer_head(
        self, pending: _Pending, head: Head, raw: bytes, outgoing: bytearray
    ) -> bytes:
        if head.informational:
            return raw
        rule = pending.rule
        if rule is not None and rule.delay is not None:
            await self._write(self._client_writer, bytes(outgoing), "the client")
            outgoing.clear()
            await asyncio.sleep(rule.delay)
        if rule is not None and (declared := declare(head, rule)) is not None:
            head, raw = declared
        pending.record.answer = head
        pending.hijacked = _hijacks(head)
        pending.headed.set()
        return raw

    def _complete(self, pending: _Pending) -> None:
        """The answer has ended: forget the request, and record it unless its own bytes are still arriving."""
        pending.record.answer_done = True
        pending.headed.set()
        pending.answered.set()
        if pending in self._waiting:
            self._waiting.remove(pending)
        if pending.record.request_done:
            pending.record.finish()
        elif pending is not self._arriving:
            pending.record.finish("an answer that no request asked for")

    # Both.

    async def _read(self, reader: asyncio.StreamReader, who: str) -> bytes:
        try:
            return await reader.read(_READ)
        except OSError as error:
            raise _BrokenError(f"{who} broke off: {error}") from error

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, who: str) -> None:
        if not data:
            return
        try:
            writer.write(data)
            await writer.drain()
        except OSError as error:
            raise _BrokenError(f"{who} broke off: {error}") from error


def _asked(rule: FaultRule | None, piece: Piece) -> bytes:
    """Return what of a request is passed on: its own bytes, but for the target that a rule replaces."""
    if rule is None or rule.instead is None or piece.kind is not Kind.HEAD:
        return piece.raw
    return retargeted(piece.raw, str(rule.instead))


def _hijacks(head: Head) -> bool:
    if head.status == 101:
        return True
    return head.body is Body.UNTIL_CLOSE and head.joined().get("content-type", "").startswith(_RAW_STREAM)


def _alter(pending: _Pending, data: bytes) -> tuple[bytes, bool]:
    """Return the data to pass on instead, and whether the connection is cut after it."""
    rule, seen = pending.rule, pending.body_seen
    if rule is None:
        return data, False
    if rule.corrupt is not None and seen <= rule.corrupt < seen + len(data):
        return flip(data, rule.corrupt - seen), False
    if rule.cut is not None and seen + len(data) >= rule.cut:
        return data[: rule.cut - seen], True
    return data, False
