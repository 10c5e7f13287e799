"""TLS over a socket that never blocks, with an end of one direction only.

`ssl.SSLSocket.unwrap` wants the peer's close_notify at once and fails on data that is still on its way,
which is exactly what a half-closed attach connection has. Here the bytes pass through memory, so OpenSSL
sees what comes only when we read: our close_notify goes out, and reading goes on.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

__all__ = ["TlsStream"]

_PART = 64 * 1024


class TlsStream:
    """A TLS client on a connected socket; the methods are a socket's, and raise BlockingIOError like a
    socket's.

    Not for two threads at once: the caller locks.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str | None) -> None:
        """Shake hands; `plain` still blocks, with its own time-out. Raises OSError (ssl.SSLError is one)."""
        self._socket = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._waiting = b""
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                plain.sendall(self._outgoing.read())
                self._take(plain.recv(_PART))
                continue
            except ssl.SSLError:
                # The peer is told why, if it still listens.
                with contextlib.suppress(OSError):
                    plain.sendall(self._outgoing.read())
                raise
            plain.sendall(self._outgoing.read())
            return

    def send(self, data: memoryview) -> int:
        """Encrypt and send some of `data`; return how much was taken. `flush` tells when all of it is on
        its way.
        """
        self.flush()
        return self._ssl.write(data[:_PART])

    def flush(self) -> None:
        """Send what is encrypted. Raises BlockingIOError when the socket does not take it yet."""
        self._waiting += self._outgoing.read()
        while self._waiting:
            self._waiting = self._waiting[self._socket.send(self._waiting) :]

    def recv(self, _count: int) -> bytes:
        """Return everything that can be decrypted now, b"" after the peer's close_notify.

        All of it, so that nothing but a torn record is left for OpenSSL to find while it closes our
        direction.
        """
        while True:
            data, ended = self._decrypted()
            if data or ended:
                return data
            self._take(self._socket.recv(_PART))

    def half_close(self) -> None:
        """Send close_notify; what the peer sends can still be read."""
        # WantRead: the peer's close_notify is not here, and we don't wait for it.
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.unwrap()
        self.flush()

    def _take(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypted(self) -> tuple[bytes, bool]:
        data = b""
        while True:
            try:
                part = self._ssl.read(_PART)
            except ssl.SSLWantReadError:
                return data, False
            except ssl.SSLZeroReturnError:
                return data, True
            except ssl.SSLError:
                if data:
                    # It comes again with the next read, when the good bytes before it have been used.
                    return data, False
                raise
            if not part:
                return data, True
            data += part
