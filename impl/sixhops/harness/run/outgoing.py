"""The request that goes out for a step: built once, as bytes, from resolved values."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.errors import Mark
    from sixhops.harness.run.content import Content

__all__ = ["Outgoing", "build", "head_bytes"]

_USER_AGENT = "sixhops/0.1"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request in full. `headers` are what goes over the wire, in order; the body follows in
    `body_bytes`.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    content: Content | None = None
    upgrade: str | None = None
    tty: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition("?")[0]

    def body_bytes(self) -> Iterator[bytes]:
        """Give the body with the framing that the headers announce."""
        if self.content is None:
            return
        if not self.content.chunked:
            yield from self.content.parts()
            return
        for part in self.content.parts():
            yield f"{len(part):x}\r\n".encode() + part + b"\r\n"
        yield b"0\r\n\r\n"


def build(
    method: str,
    target: str,
    *,
    host: str,
    mark: Mark,
    headers: dict[str, Any],
    content: Content | None = None,
    upgrade: str | None = None,
    tty: bool = False,
) -> Outgoing:
    """Return the request with the default headers that the author did not name.

    Defaults: Host, User-Agent, Content-Type and Content-Length (or Transfer-Encoding) where there is a
    body, Content-Length 0 for POST and PUT without one, Connection and Upgrade for an upgrade. A header
    given as null is left out. A list of values repeats the header. Raises ScenarioError for a line break
    in a name or value: it would be another header.
    """
    defaults = {
        "Host": host,
        "User-Agent": _USER_AGENT,
        **_body_defaults(method, content),
        **_upgrade_headers(upgrade),
    }
    named = {name.lower() for name in headers}
    lines = [(name, value) for name, value in defaults.items() if name.lower() not in named]
    for name, value in headers.items():
        items = value if isinstance(value, list) else [value]
        lines.extend((name, _header_text(item)) for item in items if item is not None)
    for name, value in lines:
        if any(character in name + value for character in "\r\n\0"):
            raise ScenarioError(f"the header {name!r} holds a line break", mark)
    return Outgoing(method, target, tuple(lines), content, upgrade, tty)


def _header_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _body_defaults(method: str, content: Content | None) -> dict[str, str]:
    if content is None:
        return {"Content-Length": "0"} if method in {"POST", "PUT"} else {}
    result = {"Content-Type": content.media_type} if content.media_type else {}
    framing = {"Transfer-Encoding": "chunked"} if content.chunked else {"Content-Length": str(content.length)}
    return result | framing


def _upgrade_headers(upgrade: str | None) -> dict[str, str]:
    if upgrade == "tcp":
        return {"Connection": "Upgrade", "Upgrade": "tcp"}
    if upgrade == "websocket":
        return {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode("ascii"),
        }
    return {}


def head_bytes(request: Outgoing) -> bytes:
    """Return the request line and headers with the empty line behind them, in UTF-8 so that any text can
    be sent.
    """
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
