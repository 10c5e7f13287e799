"""Which messages of a hop have an order that means something."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sixhops.harness.diff.model import NormalMessage

__all__ = ["in_order", "is_free", "strand_of"]

_BLOB: Final = re.compile(r"/blobs/(?!uploads/)")
_ID_KEYS: Final = ("container_id", "ID", "id", "Id", "container")


def strand_of(hop: str, summary: str, fields: dict[str, Any]) -> str:
    """Return which thread of events a message belongs to; only within one can an order be expected.

    Registry: a blob is fetched by a thread of its own; everything else is one strand. Containerd: calls about one container
    are one strand, and events are one beside it, since they are sent on a stream of their own. Shim and runtime: what is
    about one container.
    """
    if hop == "registry":
        return summary if _BLOB.search(summary) else ""
    if hop in {"containerd", "shim", "runtime"}:
        about = _container(fields) or _container(fields.get("request")) or ""
        return f"event {about}" if summary.startswith("event ") else about
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
