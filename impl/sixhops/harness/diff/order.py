"""Which messages of a hop have an order that means something, and which only look.

A look (a call that changes nothing) is repeated as often as its caller likes, and what it sees of a running task is a matter
of time; so looks are compared by what they are and what they see, not by how many there are and when.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sixhops.harness.diff.model import NormalMessage

__all__ = ["PASSING", "in_order", "is_free", "is_look", "strand_of"]

_BLOB: Final = re.compile(r"/blobs/(?!uploads/)")
_ID_KEYS: Final = ("container_id", "container", "ID", "id", "Id")
_INNER: Final = frozenset({"containerd", "shim", "runtime"})
_LOOKS: Final = frozenset(
    {
        # containerd's services
        *(
            "Get",
            "List",
            "ListPids",
            "Info",
            "Status",
            "Metrics",
            "Stat",
            "Usage",
            "Mounts",
            "Version",
            "Read",
        ),
        *("ListStatuses", "ListResources", "ListStream", "Check", "Server", "Plugins"),
        # the shim's
        *("State", "Pids", "Stats", "Connect"),
        # the runtime's
        *("state", "ps", "events", "features", "list", "spec"),
    }
)
PASSING: Final = frozenset({"status", "exited_at", "exit_status", "pid", "deadline"})
"""What a look sees of a task or process that may just be ending, and whether its caller was in a hurry."""


def is_look(message: NormalMessage) -> bool:
    """Say whether a message of an inner hop changes nothing."""
    call = message.summary.partition(" -> ")[0]
    return message.hop in _INNER and call.rpartition("/")[2] in _LOOKS


def strand_of(hop: str, summary: str, fields: dict[str, Any]) -> str:
    """Return which thread of events a message belongs to; only within one can an order be expected.

    Registry: a blob is fetched by a thread of its own; everything else is one strand. Inner hops: what is about one
    container is one strand, and events are one beside it, since they are sent on a stream of their own.
    """
    if hop == "registry":
        return summary if _BLOB.search(summary) else ""
    if hop in _INNER:
        request, event = fields.get("request"), fields.get("event")
        about = _container(fields) or _container(request) or _container(event) or ""
        if isinstance(request, dict) and request.get("exec_id"):
            # Each further process of a container has a life of its own.
            about += f" {request['exec_id']}"
        if summary.startswith("event "):
            return f"event {about}"
        # The envelope of a forwarded event says what it is about.
        envelope = request.get("envelope") if isinstance(request, dict) else None
        return f"event {about} {envelope.get('topic')}" if isinstance(envelope, dict) else about
    return ""


def _container(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    for key in _ID_KEYS:
        found = value.get(key)
        if isinstance(found, str) and found:
            return found
        if isinstance(found, dict):
            return _container(found)
    return None


def in_order(first: NormalMessage, second: NormalMessage) -> bool:
    """Say whether `first` had ended before `second` began."""
    return first.ended <= second.started


def is_free(first: NormalMessage, second: NormalMessage) -> bool:
    """Say whether two messages of a hop may come in either order."""
    if first.hop == "registry":
        # What is no blob comes before or after all of them.
        return bool(first.strand and second.strand) and first.strand != second.strand
    return first.strand != second.strand
