"""What containerd holds, namespace by namespace; what of it is new after a scenario, and its removal.

Only scenarios that speak to containerd directly are looked at in this way: what dockerd makes there goes with dockerd's
own objects.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from sixhops.harness.errors import TargetError
from sixhops.harness.run.grpc_step import channel_to
from sixhops.wire.catalog import find_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sixhops.wire.proto.services import Method

__all__ = ["ContainerdClient", "Objects", "new_objects", "remove_objects"]

_TIMEOUT = 10.0
#: Seconds for killed tasks to end, and for what is cleared away by itself.
_SETTLE = 5.0
#: Seconds for containerd's collector to take what dockerd let go. It collects in a fiftieth of its time at most, so after
#: collections that a busy disk has made slow the next one is many seconds off (pause_threshold of its configuration).
_COLLECTED = 60.0
#: Seconds between two looks, the first and the longest.
_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
#: dockerd's namespaces: what is new there is for dockerd to remove.
_DOCKER = frozenset({"moby", "plugins.moby"})
_KILL = 9


@dataclass(frozen=True, slots=True)
class Objects:
    """Names by namespace and kind: container, task, image, lease, snapshot (`SNAPSHOTTER/KEY`), content, upload."""

    names: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()


class ContainerdClient:
    """Calls to the containerd behind a socket, by short service name and method; answers are messages.

    Raises TargetError when containerd does not answer, grpc.RpcError when it refuses.
    """

    def __init__(self, socket: Path) -> None:
        self._channel = channel_to(socket)

    def __enter__(self) -> ContainerdClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self._channel.close()

    def ask(self, service: str, method: str, namespace: str = "", **fields: Any) -> Any:
        """Return the answer to one request; for methods that stream answers a list of them."""
        found = find_method(f"/containerd.services.{service.lower()}.v1.{service}/{method}")
        assert found is not None
        headers = (("containerd-namespace", namespace),) if namespace else ()
        try:
            return _call(self._channel, found, found.request(**fields), headers)
        except grpc.RpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise TargetError(f"can't ask containerd what it holds: {error.details()}") from error
            raise

    def objects(self) -> Objects:
        """Return what there is now."""
        names: dict[tuple[str, str], frozenset[str]] = {}
        namespaces = [item.name for item in self.ask("Namespaces", "List").namespaces]
        plugins = self.ask("Introspection", "Plugins").plugins
        snapshotters = [
            item.id
            for item in plugins
            if item.type == "io.containerd.snapshotter.v1" and not item.HasField("init_err")
        ]
        for namespace in namespaces:
            try:
                for kind, found in self._of_namespace(namespace, snapshotters):
                    names[namespace, kind] = frozenset(found)
            except grpc.RpcError as error:
                # One that is called as none may be, which some containerds make: nothing can be put into it either.
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
        return Objects(names, frozenset(namespaces))

    def _of_namespace(self, namespace: str, snapshotters: list[str]) -> Iterator[tuple[str, list[str]]]:
        yield "container", [item.id for item in self.ask("Containers", "List", namespace).containers]
        yield "task", [item.container_id or item.id for item in self.ask("Tasks", "List", namespace).tasks]
        yield "image", [item.name for item in self.ask("Images", "List", namespace).images]
        yield "lease", [item.id for item in self.ask("Leases", "List", namespace).leases]
        snapshots = []
        for snapshotter in snapshotters:
            answers = self.ask("Snapshots", "List", namespace, snapshotter=snapshotter)
            snapshots += [f"{snapshotter}/{info.name}" for answer in answers for info in answer.info]
        yield "snapshot", snapshots
        yield (
            "content",
            [info.digest for answer in self.ask("Content", "List", namespace) for info in answer.info],
        )
        yield "upload", [item.ref for item in self.ask("Content", "ListStatuses", namespace).statuses]


def new_objects(before: Objects, now: Objects) -> list[tuple[str, str, str]]:
    """Return (namespace, kind, name) of all that `before` had not; a new namespace has itself as its name."""
    found = [
        (namespace, kind, name)
        for (namespace, kind), names in now.names.items()
        for name in sorted(names - before.names.get((namespace, kind), frozenset()))
    ]
    # dockerd's own namespaces come with its first container and stay
    new = now.namespaces - before.namespaces - _DOCKER
    return found + [(name, "namespace", name) for name in sorted(new)]


def remove_objects(before: Objects, client: ContainerdClient) -> list[str]:
    """Remove what a scenario has left, and return a line for each thing that it left, as `kind: what`.

    What dockerd has in its own namespaces is waited for, not removed. A namespace comes with the first thing in it, so
    it is only worth a line when it stays.
    """
    began = time.monotonic()
    left = new_objects(before, client.objects())
    lines = [_line(*item) for item in left if item[0] not in _DOCKER and item[1] != "namespace"]
    pause = _PAUSE
    while left and time.monotonic() - began < _patience(left):
        for namespace, kind, name in sorted(left, key=lambda item: list(_REMOVERS).index(item[1])):
            if namespace not in _DOCKER:
                _try(_REMOVERS[kind], client, namespace, name)
        left = new_objects(before, client.objects())
        if left:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    stays = [_line(*item) for item in left]
    return [
        *(f"{line} (it refuses to go)" if line in stays else line for line in lines),
        *(line for line in stays if line not in lines),
    ]


def _patience(left: list[tuple[str, str, str]]) -> float:
    return _COLLECTED if all(namespace in _DOCKER for namespace, _kind, _name in left) else _SETTLE


def _line(namespace: str, kind: str, name: str) -> str:
    return f"containerd {kind}: {name}" + (f" (namespace {namespace})" if kind != "namespace" else "")


def _try(
    remover: Callable[[ContainerdClient, str, str], None], client: ContainerdClient, namespace: str, name: str
) -> None:
    try:
        remover(client, namespace, name)
    except grpc.RpcError as error:
        # In use by something that goes in this round, or gone with something else: the next round tells.
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise TargetError(f"containerd can't remove {name}: {error.details()}") from error


def _task(client: ContainerdClient, namespace: str, name: str) -> None:
    # A frozen process does not die.
    for method, fields in (("Resume", {}), ("Kill", {"signal": _KILL, "all": True})):
        with contextlib.suppress(grpc.RpcError):
            client.ask("Tasks", method, namespace, container_id=name, **fields)
    client.ask("Tasks", "Wait", namespace, container_id=name)
    client.ask("Tasks", "Delete", namespace, container_id=name)


def _container(client: ContainerdClient, namespace: str, name: str) -> None:
    try:
        client.ask("Tasks", "Get", namespace, container_id=name)
    except grpc.RpcError:
        client.ask("Containers", "Delete", namespace, id=name)
    # Else it stays for now: without its record nobody can delete the task.


def _snapshot(client: ContainerdClient, namespace: str, name: str) -> None:
    snapshotter, _, key = name.partition("/")
    client.ask("Snapshots", "Remove", namespace, snapshotter=snapshotter, key=key)


#: How a thing of each kind is removed, in the order in which that works.
_REMOVERS: dict[str, Callable[[ContainerdClient, str, str], None]] = {
    "task": _task,
    "container": _container,
    "image": lambda client, namespace, name: client.ask("Images", "Delete", namespace, name=name, sync=True),
    "lease": lambda client, namespace, name: client.ask("Leases", "Delete", namespace, id=name, sync=True),
    "upload": lambda client, namespace, name: client.ask("Content", "Abort", namespace, ref=name),
    "snapshot": _snapshot,
    "content": lambda client, namespace, name: client.ask("Content", "Delete", namespace, digest=name),
    "namespace": lambda client, _namespace, name: client.ask("Namespaces", "Delete", name=name),
}


def _call(channel: grpc.Channel, method: Method, request: Any, headers: tuple[tuple[str, str], ...]) -> Any:
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    ask: Any = kind(
        method.path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=method.response.FromString,
    )
    answer = ask(request, timeout=_TIMEOUT, metadata=headers)
    return list(answer) if method.server_streaming else answer
