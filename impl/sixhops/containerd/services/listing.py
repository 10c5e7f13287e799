"""What the services of records share: lists with filters, and the lease of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sixhops.containerd.errors import not_found
from sixhops.containerd.metadata.filters import parse_all
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from google.protobuf.message import Message

    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call

__all__ = ["batches", "label", "lease_resource", "matching", "twice"]

BATCH = 100
Item = TypeVar("Item", bound="Message")


def matching(
    items: Iterable[Item], filters: Sequence[str], look: Callable[[Item, tuple[str, ...]], str | None]
) -> list[Item]:
    """Return the items that a filter matches; `look` returns an item's field or None. RpcError on a bad filter."""
    wanted = parse_all(filters)

    def fits(item: Item) -> bool:
        return wanted.matches(lambda path: look(item, path))

    return [item for item in items if fits(item)]


def twice(error: RpcError) -> RpcError:
    """Return the error of a bad filter as the stores report it that name its kind a second time."""
    return RpcError(error.code, f"{error.message}: invalid argument")


def batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the items a hundred at a time, as the streaming lists send them."""
    return (list(items[start : start + BATCH]) for start in range(0, len(items), BATCH))


def label(labels: Any, path: tuple[str, ...]) -> str | None:
    """Return what a filter's path (`labels`, key, ...) finds in a map field. A key's dots need no quotes."""
    value = labels.get(".".join(path[1:])) if len(path) > 1 else None
    return str(value) if value is not None else None


def lease_resource(database: Database, call: Call, kind: str, identifier: str) -> bool:
    """Let the call's lease, if it has one, hold a resource; return whether it has. NOT_FOUND for an unknown lease."""
    if not call.lease:
        return False
    if database.get("lease", call.namespace, call.lease) is None:
        raise not_found("lease does not exist")
    database.lease(call.namespace, call.lease, kind, identifier)
    return True
