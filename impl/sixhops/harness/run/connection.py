"""One HTTP connection to the target, byte for byte as a step asks for it.

A client library would refuse what a conformance suite must be able to send (no Host header, a strange
method, a body that breaks off) and would hide what it must see (the bytes that came with the head of a
hijacked connection, the end of one direction only). So the socket is our own, and `MessageReader`, the
same that the taps use, tells what comes back.

The socket never blocks: every wait is a `poll` with the step's deadline. Thus one thread may read while
another writes, and `cut` ends both at once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sixhops.harness.errors import TargetError
from sixhops.harness.run.tls import TlsStream
from sixhops.harness.tap.http.message import Head, Kind, MessageError, MessageReader, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sixhops.harness.target import Address

__all__ = ["Connection", "StepTimeout"]

_READ = 64 * 1024
T = TypeVar("T")


class StepTimeout(TargetError):  # noqa: N818 - the name says what happened; its base says whose fault it is
    """The step's time is over; the message says what was being waited for."""


class Connection:
    """A connected socket with an HTTP reader. `deadline` is on the monotonic clock and bounds every wait."""

    def __init__(self, address: Address, deadline: float) -> None:
        """Connect. Raises TargetError naming the address and the reason, StepTimeout when it takes too
        long.
        """
        self.deadline = deadline
        self.was_cut = False
        self._address = address
        self._reader = MessageReader(answers=True)
        # OpenSSL objects are not for two threads at once; plain sockets don't mind the lock.
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._socket, self._tls = _connect(address, max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            raise StepTimeout(f"{address.text}: no connection within the step's time") from None
        except OSError as error:
            raise TargetError(f"{address.text} can't be reached: {_reason(error)}") from error
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Write all of `data`. Raises TargetError when the peer has gone, StepTimeout when it does not read."""
        view = memoryview(data)
        while view:
            view = view[self._try_to_send(partial((self._tls or self._socket).send, view)) :]
        if self._tls is not None:
            self._try_to_send(self._tls.flush)

    def _try_to_send(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, after as many waits as the socket asks for."""
        while True:
            try:
                with self._lock:
                    return action()
            except BlockingIOError:
                self._wait(select.POLLOUT, "the engine to read what we send")
            except OSError as error:
                raise TargetError(f"{self._address.text} stopped reading: {_reason(error)}") from error

    def receive(self, what: str = "the answer to go on") -> bytes:
        """Return what has come, or b"" at the end. `what` is for messages. Raises TargetError, StepTimeout."""
        while True:
            try:
                with self._lock:
                    return (self._tls or self._socket).recv(_READ)
            except BlockingIOError:
                self._wait(select.POLLIN, what)
            except OSError as error:
                if self.was_cut:
                    return b""
                raise TargetError(f"{self._address.text} broke the connection: {_reason(error)}") from error

    def read_head(self, method: str) -> Head:
        """Return the final head of the answer to a `method` request; interim answers are passed over.

        Raises TargetError when the connection ends before it or the bytes are not HTTP.
        """
        self._reader.answers_to(method)
        while True:
            piece = self._next()
            if piece is not None and piece.head is not None and not piece.head.informational:
                return piece.head
            if piece is None:
                data = self.receive("the head of the answer")
                if not data:
                    begun = bytes(self._reader.take_rest()[:80])
                    tail = f" after {begun!r}" if begun else ""
                    raise TargetError(f"{self._address.text} closed the connection without an answer{tail}")
                self._reader.feed(data)

    def read_body(self) -> Iterator[bytes]:
        """Give the body as it comes, without chunk framing, to its end; hijacked connections to the end of
        the stream.

        Raises TargetError when the connection ends inside a body that says where it ends.
        """
        while True:
            piece = self._next()
            if piece is None:
                data = self.receive()
                if data:
                    self._reader.feed(data)
                    continue
                self._reader.close()
                piece = self._next()
                if piece is None:
                    if self.was_cut:
                        return
                    raise TargetError(f"{self._address.text} closed the connection inside the body")
            if piece.kind is Kind.END:
                return
            if piece.kind is Kind.DATA:
                yield piece.raw

    def take_rest(self) -> bytes:
        """Return the bytes that have come behind the head and were not read yet."""
        return self._reader.take_rest()

    def half_close(self) -> None:
        """Say that we send no more; what the engine sends can still be read.

        With TLS this is close_notify, after which OpenSSL still reads (TLS 1.3).
        """
        if self._tls is not None:
            self._try_to_send(self._tls.half_close)
            return
        # ENOTCONN: the engine has closed both directions before; there is nobody left to tell.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End both directions at once, as a client that goes away does; a thread that reads sees the end."""
        self.was_cut = True
        # Only a hint, and only for TCP: on the following close the peer gets a reset instead of a polite end.
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; no other thread may be inside it any more. May be called twice."""
        if not self._closed:
            self._closed = True
            self._socket.close()

    def _next(self) -> Piece | None:
        try:
            return self._reader.next_piece()
        except MessageError as error:
            raise TargetError(f"{self._address.text} does not answer in HTTP: {error}") from error

    def _wait(self, event: int, what: str) -> None:
        left = self.deadline - time.monotonic()
        poller = select.poll()
        poller.register(self._socket, event)
        if left <= 0 or not poller.poll(left * 1000):
            raise StepTimeout(f"waited for {what} until the step's time was over")


def _connect(address: Address, timeout: float) -> tuple[socket.socket, TlsStream | None]:
    if address.unix is not None:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        plain = socket.create_connection((address.host, address.port), timeout)
    try:
        plain.settimeout(timeout)
        if address.unix is not None:
            plain.connect(str(address.unix))
            return plain, None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain, TlsStream(plain, address.tls, address.host) if address.tls is not None else None
    except OSError:
        plain.close()
        raise


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
