"""The embedded DNS server of a container on networks with names: 127.0.0.11, inside the container's own network.

It answers for names of containers, their aliases, short ids and links, and for their addresses; everything else goes on
to the servers that the container would have had otherwise. Queries to those leave from the container's network, but to
servers on the host's loopback from the host's. Order of lookup and what is said when nothing is found are libnetwork's.

Rules in the container's own packet filter lead port 53 to the sockets, as in Docker, so a container may use 53 itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.dockerd.networks import dnsmessage
from sixhops.dockerd.networks.dnsmessage import TYPE_A, TYPE_AAAA, TYPE_PTR
from sixhops.dockerd.networks.firewall import restore_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.dockerd.networks.model import Endpoint, Sandbox

__all__ = [
    "ADDRESS", "Forwarding", "Names", "Resolver", "add_names", "is_loopback", "listen", "remove_names", "resolve", "reverse",
]  # fmt: skip

_log = logging.getLogger(__name__)
ADDRESS = "127.0.0.11"
_LENGTH = struct.Struct("!H")
#: How long one outer server is waited for, in seconds, and how many are asked; libnetwork's.
_PATIENCE = 4.0
_MOST_SERVERS = 3
_LONGEST = 1 << 16
_BAD = frozenset({dnsmessage.SERVFAIL, 5})

#: network id -> lower-case name -> endpoints that have it
Names = dict[str, dict[str, list["Endpoint"]]]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where other names are looked up: `servers` in order; `connect` makes a socket of a kind for one of them.

    `has_ndots`: the user has set the option ndots, so single words are not sent out.
    """

    servers: Sequence[str]
    connect: Callable[[str, int], socket.socket]
    has_ndots: bool = False


def listen() -> tuple[socket.socket, socket.socket]:
    """Make both sockets and lead port 53 to them; call it inside the container's network. Raises EngineError, OSError."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        for made in (datagrams, streams):
            made.setblocking(False)
            made.bind((ADDRESS, 0))
        udp, tcp = datagrams.getsockname()[1], streams.getsockname()[1]
        streams.listen(128)
        restore_rules(
            [
                "*nat",
                ":DOCKER_OUTPUT - [0:0]",
                ":DOCKER_POSTROUTING - [0:0]",
                f"-A OUTPUT -d {ADDRESS}/32 -j DOCKER_OUTPUT",
                f"-A POSTROUTING -d {ADDRESS}/32 -j DOCKER_POSTROUTING",
                f"-A DOCKER_OUTPUT -d {ADDRESS}/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination {ADDRESS}:{tcp}",
                f"-A DOCKER_OUTPUT -d {ADDRESS}/32 -p udp -m udp --dport 53 -j DNAT --to-destination {ADDRESS}:{udp}",
                f"-A DOCKER_POSTROUTING -s {ADDRESS}/32 -p tcp -m tcp --sport {tcp} -j SNAT --to-source :53",
                f"-A DOCKER_POSTROUTING -s {ADDRESS}/32 -p udp -m udp --sport {udp} -j SNAT --to-source :53",
                "COMMIT",
            ]
        )
    except BaseException:
        datagrams.close()
        streams.close()
        raise
    return datagrams, streams


def resolve(
    name: str, kind: int, sandbox: Sandbox, names: Mapping[str, Mapping[str, Sequence[Endpoint]]]
) -> list[str] | None:
    """Return the addresses of a name: none when it has only the other kind, None when nobody has it.

    `a.b.c` is looked for as itself on all networks, then as `a.b` on network `c`, then as `a` on `b.c`.
    """
    parts = name.lower().split(".")
    for cut in range(len(parts), 0, -1):
        host, network = ".".join(parts[:cut]), ".".join(parts[cut:])
        others = [entry for entry in sandbox.endpoints if network in ("", entry.network.lower())]
        has_other = False
        for through_links in (True, False):
            for own in others:
                wanted = own.links.get(host)
                if (wanted is None) is through_links:
                    continue
                there = names.get(own.network_id, {}).get((wanted or host).lower(), ())
                found = [value for value in (_address(entry, kind) for entry in there) if value]
                if found:
                    return secrets.SystemRandom().sample(found, len(found))
                has_other = has_other or bool(there)
        if has_other:
            return []
    return None


def reverse(address: str, sandbox: Sandbox, names: Mapping[str, Mapping[str, Sequence[Endpoint]]]) -> str:
    """Return `name.network` of the container with an address on one of the sandbox's networks, "" for nobody."""
    for own in sandbox.endpoints:
        for entries in names.get(own.network_id, {}).values():
            for entry in entries:
                if address in (entry.address, entry.address6):
                    return f"{entry.known_names[0]}.{entry.network}"
    return ""


class Resolver:
    """Serves one sandbox on the event loop. `names` are all networks', read at each query."""

    def __init__(self, sandbox: Sandbox, names: Names, forwarding: Forwarding) -> None:
        self._sandbox = sandbox
        self._names = names
        self._forwarding = forwarding
        self._tasks: set[asyncio.Task[None]] = set()
        self._datagrams: asyncio.DatagramTransport | None = None
        self._streams: asyncio.Server | None = None

    async def start(self, datagrams: socket.socket, streams: socket.socket) -> None:
        """Serve the sockets of `listen`."""
        loop = asyncio.get_running_loop()
        self._datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._received), sock=datagrams
        )
        self._streams = await asyncio.start_server(self._serve_stream, sock=streams)

    async def close(self) -> None:
        """Stop serving."""
        if self._datagrams is not None:
            self._datagrams.close()
        if self._streams is not None:
            self._streams.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, data: bytes, kind: int) -> bytes | None:
        """Return the answer to a query that came by SOCK_DGRAM or SOCK_STREAM; None when nobody knows one."""
        try:
            query = dnsmessage.parse(data)
        except ValueError as error:
            _log.debug("query from container %s: %s", self._sandbox.container[:12], error)
            return None
        found: list[str] | None = None
        if query.type in (TYPE_A, TYPE_AAAA):
            found = resolve(query.name, query.type, self._sandbox, self._names)
            if found is None and self._forwarding.has_ndots and "." not in query.name:
                found = []
        elif query.type == TYPE_PTR:
            name = reverse(dnsmessage.reverse_address(query.name), self._sandbox, self._names)
            found = [name] if name else None
        if found is None:
            return await self._forward(data, kind)
        response = dnsmessage.answer(query, found)
        return dnsmessage.truncated(query, response) if kind == socket.SOCK_DGRAM else response

    async def _forward(self, data: bytes, kind: int) -> bytes | None:
        response = None
        for server in self._forwarding.servers[:_MOST_SERVERS]:
            try:
                async with asyncio.timeout(_PATIENCE):
                    response = await self._ask(server, data, kind)
            except (OSError, TimeoutError, EOFError) as error:
                _log.debug("name server %s for container %s: %s", server, self._sandbox.container[:12], error)
                continue
            if response[3] & 0xF not in _BAD:
                break
        return response

    async def _ask(self, server: str, data: bytes, kind: int) -> bytes:
        loop = asyncio.get_running_loop()
        with await loop.run_in_executor(None, self._forwarding.connect, server, kind) as outer:
            await loop.sock_connect(outer, (server, 53))
            if kind == socket.SOCK_DGRAM:
                await loop.sock_sendall(outer, data)
                while True:
                    response = await loop.sock_recv(outer, _LONGEST)
                    if len(response) > 3 and response[:2] == data[:2]:
                        return response
            await loop.sock_sendall(outer, _LENGTH.pack(len(data)) + data)
            size = _LENGTH.unpack(await _exactly(loop, outer, 2))[0]
            response = await _exactly(loop, outer, size)
            if size < 4:
                raise EOFError("no message")
            return response

    def _received(self, data: bytes, client: tuple[str, int]) -> None:
        async def reply() -> None:
            response = await self.answer(data, socket.SOCK_DGRAM)
            if response is not None and self._datagrams is not None and not self._datagrams.is_closing():
                self._datagrams.sendto(response, client)

        self._spawn(asyncio.ensure_future(reply()))

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._spawn(task)
        try:
            while True:
                size = _LENGTH.unpack(await reader.readexactly(2))[0]
                response = await self.answer(await reader.readexactly(size), socket.SOCK_STREAM)
                if response is None:
                    break
                writer.write(_LENGTH.pack(len(response)) + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error(
                "the name server of container %s failed", self._sandbox.container, exc_info=task.exception()
            )


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr)


async def _exactly(loop: asyncio.AbstractEventLoop, source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(source, count - len(data))
        if not piece:
            raise EOFError("the connection ended")
        data += piece
    return data


def _address(entry: Endpoint, kind: int) -> str:
    return entry.address if kind == TYPE_A else entry.address6


def is_loopback(server: str) -> bool:
    """Return whether a server is on the host's loopback, where only the host's own network leads."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(server).is_loopback
    return False


def add_names(names: Names, endpoint: Endpoint) -> None:
    """Make an endpoint's names known on its network."""
    known = names.setdefault(endpoint.network_id, {})
    for name in dict.fromkeys(entry.lower() for entry in endpoint.known_names):
        known.setdefault(name, []).append(endpoint)


def remove_names(names: Names, endpoint: Endpoint) -> None:
    """Forget an endpoint's names."""
    known = names.get(endpoint.network_id, {})
    for name in list(known):
        known[name] = [entry for entry in known[name] if entry.id != endpoint.id]
        if not known[name]:
            del known[name]
