"""Who speaks to whom: the lanes of the picture, and between which of them a message or a step belongs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.scenario.model import Hop

if TYPE_CHECKING:
    from sixhops.harness.exchange import Exchange, HopMessage

__all__ = ["LANES", "PATH", "lanes_of_message", "lanes_of_step", "own_hop"]

LANES: Final = ("docker", "dockerd", "registry", "containerd", "shim", "runc", "container")
"""The programs, in the order of the hops, and what comes out at the end."""

_DOCKER, _DOCKERD, _REGISTRY, _CONTAINERD, _SHIM, _RUNC, _CONTAINER = range(len(LANES))

PATH: Final[dict[str, tuple[int, int]]] = {
    Hop.ENGINE: (_DOCKER, _DOCKERD),
    Hop.REGISTRY: (_DOCKERD, _REGISTRY),
    Hop.CONTAINERD: (_DOCKERD, _CONTAINERD),
    Hop.SHIM: (_CONTAINERD, _SHIM),
    Hop.RUNTIME: (_SHIM, _RUNC),
    Hop.PROCESS: (_RUNC, _CONTAINER),
}
"""For each hop the lanes at its ends: who asks, and who answers."""

#: Namespaces in which dockerd works; other callers of containerd are the steps themselves.
_DOCKERDS: Final = frozenset({"", "moby", "plugins.moby"})
_OWN_HOPS: Final = {
    "request": Hop.ENGINE,
    "registry": Hop.REGISTRY,
    "grpc": Hop.CONTAINERD,
    "ttrpc": Hop.SHIM,
    "runc": Hop.RUNTIME,
    "bundle": Hop.RUNTIME,
    "processes": Hop.PROCESS,
    "file": Hop.PROCESS,
}


def own_hop(exchange: Exchange) -> str:
    """Return the hop on which a step itself speaks or looks."""
    sent = exchange.sent
    if exchange.kind in {"join", "await", "disconnect", "send", "close_stdin"}:
        # Those look at a background step, of which they have the request.
        if "service" in sent:
            return Hop.SHIM
        if "path" in sent and "messages" in sent:
            return Hop.CONTAINERD
        if "argv" in sent:
            return Hop.RUNTIME
    return _OWN_HOPS.get(exchange.kind, Hop.ENGINE)


def lanes_of_step(exchange: Exchange) -> tuple[int, int]:
    """Return the lanes between which a step's own call runs: whoever stands in for the client, and the hop's far end."""
    return _DOCKER, PATH[own_hop(exchange)][1]


def lanes_of_message(message: HopMessage) -> tuple[int, int]:
    """Return the lanes between which a message runs, the one that it starts from first."""
    here, there = PATH.get(message.hop, (_DOCKER, _DOCKERD))
    fields: dict[str, Any] = message.fields
    if message.hop == Hop.CONTAINERD and str(fields.get("namespace") or "") not in _DOCKERDS:
        here = _DOCKER
    backwards = message.summary.startswith(("event ", "Events/"))
    if backwards and message.hop in {Hop.CONTAINERD, Hop.SHIM} and "Subscribe" not in message.summary:
        return there, here
    return here, there
