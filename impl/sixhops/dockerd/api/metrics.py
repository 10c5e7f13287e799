"""The metrics' own listener (--metrics-addr): GET /metrics for Prometheus, and nothing else.

Source: `startMetricsServer` of moby 20.10 (cmd/dockerd/metrics.go); answers as promhttp's handler gives them (observed).
"""

from __future__ import annotations

import re
import socket
import zlib
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web

from sixhops.dockerd import metrics
from sixhops.dockerd.api import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.metrics import Sample

__all__ = ["MetricsError", "MetricsServer"]

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LAST_PORT: Final = 65535
_SCRAPED: Final = "promhttp_metric_handler_requests"


class MetricsError(Exception):
    """Nobody can listen there; the message is dockerd's."""


class MetricsServer:
    """Serves the metrics of this process, and what `more` tells at each scrape."""

    def __init__(self, more: Callable[[], Sequence[Sample]]) -> None:
        self._more = more
        self._runner: web.AppRunner | None = None
        self._in_flight = 0
        self._scrapes = 0

    async def start(self, address: str) -> str:
        """Listen at HOST:PORT; return where. Raises MetricsError."""
        listener = _listen(address)
        application = web.Application()
        application.on_response_prepare.append(cast("Any", answers.arrange))
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        return ":".join(map(str, listener.getsockname()[:2]))

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/metrics":
            missing = answers.plain("404 page not found\n", 404, {"X-Content-Type-Options": "nosniff"})
            return answers.bare(missing)
        self._in_flight += 1
        try:
            text = metrics.text([*self._more(), *metrics.process_samples(), *self._scrape_samples()])
        finally:
            self._in_flight -= 1
        self._scrapes += 1
        data, headers = text.encode(), {"Content-Type": _TYPE}
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
            data = packer.compress(data) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=data, headers=headers)
        if request.version >= (1, 1):
            response.enable_chunked_encoding()
        return answers.bare(response)

    def _scrape_samples(self) -> list[Sample]:
        served = [
            (f'{{code="{code}"}}', self._scrapes if code == "200" else 0) for code in ("200", "500", "503")
        ]
        return [
            metrics.Sample(
                f"{_SCRAPED}_in_flight",
                "gauge",
                "Current number of scrapes being served.",
                [("", self._in_flight)],
            ),
            metrics.Sample(
                f"{_SCRAPED}_total", "counter", "Total number of scrapes by HTTP status code.", served
            ),
        ]


def _takes_gzip(header: str) -> bool:
    return any(part.partition(";")[0].strip() == "gzip" for part in header.split(","))


def _listen(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon:
        raise MetricsError(f"address {address}: missing port in address")
    if ":" in host and not host.startswith("["):
        raise MetricsError(f"address {address}: too many colons in address")
    if not re.fullmatch("[+-]?[0-9]+", port):
        raise MetricsError(f'strconv.Atoi: parsing "{port}": invalid syntax')
    name = host.strip("[]")
    if not name:
        raise MetricsError("failed to lookup  address in host specification")
    if not 0 <= int(port) <= _LAST_PORT:
        raise MetricsError(f"listen tcp: address {port}: invalid port")
    try:
        family, _, _, _, where = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise MetricsError(f"failed to lookup {name} address in host specification") from None
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as error:
        listener.close()
        shown = f"[{where[0]!s}]:{port}" if family is socket.AF_INET6 else f"{where[0]!s}:{port}"
        reason = (error.strerror or "").lower()
        raise MetricsError(f"listen tcp {shown}: bind: {reason}") from error
    return listener
