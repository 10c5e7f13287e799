"""TLS under a connection of the API, because asyncio's own closes a connection that the client half-closes.

Docker's client half-closes every connection that it takes over and has no input for (close_notify, RFC 8446 section 6.1),
and goes on reading. Here that is what it is without TLS: the end of what arrives, and of nothing else.

Bytes go through `ssl.SSLObject` and two memory buffers; what is above sees a transport like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TlsProtocol"]

_PIECE = 1 << 16
#: First byte of a handshake's record; what else comes is a client without TLS.
_HANDSHAKE = 0x16
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_HANDSHAKE_PATIENCE = 60.0


class TlsProtocol(asyncio.Protocol):
    """The server's side of TLS; `above` gets a `_Transport` once the handshake is done, and plain bytes from then on."""

    def __init__(self, above: asyncio.Protocol, context: ssl.SSLContext) -> None:
        self._above = above
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._below: asyncio.Transport | None = None
        self._is_new = True
        self._is_open = False
        self._has_ended = False
        self._patience: asyncio.TimerHandle | None = None
        self.is_paused = False

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's hello."""
        self._below = cast("asyncio.Transport", transport)
        self._patience = asyncio.get_running_loop().call_later(_HANDSHAKE_PATIENCE, self._below.abort)

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on."""
        if self._below is None or self._below.is_closing():
            return
        if self._is_new and data[0] != _HANDSHAKE:
            if data[:1].isalpha():
                self._below.write(_NO_TLS)
            self._below.close()
            return
        self._is_new = False
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        """A client that is gone without a word has ended what it sends, too."""
        self._incoming.write_eof()
        self._advance()
        return self._is_open and self._has_ended and self._below is not None and not self._below.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell what is above."""
        if self._patience is not None:
            self._patience.cancel()
        if self._is_open:
            self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand on: the client does not read."""
        if self._is_open:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Hand on: the client reads again."""
        if self._is_open:
            self._above.resume_writing()

    # -- what the transport above calls

    @property
    def below(self) -> asyncio.Transport:
        """The transport of the encrypted bytes."""
        assert self._below is not None
        return self._below

    @property
    def tls(self) -> ssl.SSLObject:
        """The session."""
        return self._tls

    def set_above(self, above: asyncio.Protocol) -> None:
        """Let another protocol have what arrives."""
        self._above = above

    @property
    def above(self) -> asyncio.Protocol:
        """Who has what arrives."""
        return self._above

    def pause(self) -> None:
        """Hand nothing on, and read nothing more."""
        self.is_paused = True
        if not self.below.is_closing():
            self.below.pause_reading()

    def resume(self) -> None:
        """Hand on what has waited, and read again."""
        self.is_paused = False
        if not self.below.is_closing():
            self.below.resume_reading()
        asyncio.get_running_loop().call_soon(self._advance)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        left = memoryview(data).cast("B")
        while left and not self.below.is_closing():
            left = left[self._tls.write(left[:_PIECE]) :]
        self._flush()

    def end(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(ssl.SSLError):
            # the client's own end is not waited for
            self._tls.unwrap()
        self._flush()

    # --

    def _advance(self) -> None:
        if not self._is_open and not self._shake_hands():
            return
        while not self.is_paused and not self._has_ended and not self.below.is_closing():
            try:
                data = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                if "EOF" not in str(error):
                    self._flush()
                    self.below.abort()
                    return
                data = b""
            if data:
                self._above.data_received(data)
                continue
            self._has_ended = True
            if not self._above.eof_received():
                self.end()
                self.below.close()
        self._flush()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            # what has gone wrong stands in an alert for the client
            self._flush()
            self.below.close()
            return False
        self._is_open = True
        if self._patience is not None:
            self._patience.cancel()
        self._flush()
        self._above.connection_made(_Transport(self))
        return True

    def _flush(self) -> None:
        if self._outgoing.pending and not self.below.is_closing():
            self.below.write(self._outgoing.read())


class _Transport(asyncio.Transport):
    """What a protocol above TLS writes to."""

    def __init__(self, tls: TlsProtocol) -> None:
        super().__init__({"ssl_object": tls.tls, "sslcontext": tls.tls.context})
        self._tls = tls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the session, else of the connection."""
        found = super().get_extra_info(name)
        return self._tls.below.get_extra_info(name, default) if found is None else found

    def is_closing(self) -> bool:
        """Whether it is closed or being closed."""
        return self._tls.below.is_closing()

    def close(self) -> None:
        """Send what waits, say that it was all, and close."""
        if not self.is_closing():
            self._tls.end()
            self._tls.below.close()

    def abort(self) -> None:
        """Close at once."""
        self._tls.below.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what arrives."""
        self._tls.set_above(cast("asyncio.Protocol", protocol))

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who has what arrives."""
        return self._tls.above

    def is_reading(self) -> bool:
        """Whether what arrives is handed on."""
        return not self._tls.is_paused and not self.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing on."""
        self._tls.pause()

    def resume_reading(self) -> None:
        """Hand on again."""
        self._tls.resume()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        if not self.is_closing():
            self._tls.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send all, as one piece."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """TLS can end one direction."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will be sent."""
        self._tls.end()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when `pause_writing` and `resume_writing` are called."""
        self._tls.below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._tls.below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return when `resume_writing` and `pause_writing` are called."""
        return self._tls.below.get_write_buffer_limits()
