"""A connection to the engine as bytes both ways, the same for a unix socket, TCP and TLS.

TLS goes through memory buffers and not through an SSLSocket, because a hijacked connection must be closed in one
direction only (close_notify), which SSLSocket can't do.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from sixhops.docker.config import Settings

__all__ = ["Stream", "TlsStream", "connect_tcp", "connect_unix", "tls_context"]

_READ = 64 * 1024


class Stream:
    """A plain connection. Reads and writes block."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._unsent = bytearray()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    @property
    def buffered(self) -> bool:
        """Tell whether `receive` has something without waiting on the descriptor."""
        return False

    def receive(self) -> bytes:
        """Return what is there, waiting for the first byte; b"" at the end."""
        return self._socket.recv(_READ)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.sendall(data)

    def offer(self, data: bytes) -> None:
        """Queue `data`; `push` sends it without blocking, so that output is read while input waits."""
        self._unsent += data

    def push(self) -> bool:
        """Send what the connection takes at once; tell whether nothing is left. Raises OSError."""
        if self._unsent:
            try:
                del self._unsent[: self._socket.send(self._unsent, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                return False
        return not self._unsent

    def close_write(self) -> None:
        """Say that we send nothing more; receiving goes on."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def abort(self) -> None:
        """End both directions at once, also for another thread that sends or receives."""
        with contextlib.suppress(OSError):  # the other side may have ended it
            self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        """Close both directions."""
        self._socket.close()


class TlsStream(Stream):
    """A connection inside TLS. Raises ssl.SSLError when the handshake or the server's certificate fails.

    One thread may send while another receives.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, name: str) -> None:
        import ssl  # noqa: PLC0415 - only with TLS
        import threading  # noqa: PLC0415 - only with TLS

        super().__init__(connection)
        self._want_read = ssl.SSLWantReadError
        self._zero_return = ssl.SSLZeroReturnError
        self._lock = threading.RLock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        while True:
            try:
                self._tls.do_handshake()
                break
            except self._want_read:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()
                raise
        self._flush()

    @property
    def buffered(self) -> bool:
        """Tell whether a record that arrived already has not been read."""
        return bool(self._tls.pending() or self._incoming.pending)

    def receive(self) -> bytes:
        """Return decrypted bytes; b"" at the end."""
        while True:
            try:
                with self._lock:
                    return self._tls.read(_READ)
            except self._want_read:
                self._flush()
                if self._incoming.eof:
                    return b""
                self._fill()
            except self._zero_return:
                return b""

    def send(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        view = memoryview(data)
        while view:
            with self._lock:
                view = view[self._tls.write(view) :]
                self._flush()

    def offer(self, data: bytes) -> None:
        """Encrypt and queue `data`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        super().offer(self._outgoing.read())

    def close_write(self) -> None:
        """Send close_notify; the other direction stays open."""
        with contextlib.suppress(
            self._want_read
        ):  # the other side's close_notify comes when it has no more to say
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            data = self._outgoing.read()
            if data:
                self._socket.sendall(data)

    def _fill(self) -> None:
        data = self._socket.recv(_READ)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def connect_unix(path: str) -> Stream:
    """Connect to a unix socket. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return Stream(connection)


def connect_tcp(host: str, port: int, context: ssl.SSLContext | None) -> Stream:
    """Connect over TCP, with TLS when there is a context. Raises OSError (ssl.SSLError is one)."""
    connection = socket.create_connection((host, port), timeout=30)
    try:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return TlsStream(connection, context, host) if context else Stream(connection)
    except OSError:
        connection.close()
        raise


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for, None without TLS. Raises OSError for files that can't be read."""
    if settings.tls is None:
        return None
    import ssl  # noqa: PLC0415 - only with TLS

    authority, certificate, key = settings.tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(authority)
    else:
        context.load_default_certs()
    if certificate and key:
        context.load_cert_chain(certificate, key)
    return context


#: ENOTCONN, EPIPE, ECONNRESET: the other side has gone, so there is nobody to tell
_GONE = {107, 32, 104}
