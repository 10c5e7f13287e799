"""Labels (and other maps of texts) as updates change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.containerd.errors import invalid_argument
from sixhops.containerd.metadata.validate import quote

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

__all__ = ["change_map", "drop_empty", "update_labels"]


def drop_empty(labels: MutableMapping[str, str]) -> None:
    """Remove entries without a value: that is how a label is taken away."""
    for key in [key for key, value in labels.items() if not value]:
        del labels[key]


def change_map(kept: Any, given: Any, path: str, name: str) -> bool:
    """Apply one path of a field mask to the map field `name`: the whole of it, or one key; False for another field."""
    if path == name:
        kept.clear()
        kept.update(given)
    elif path.startswith(f"{name}."):
        key = path.removeprefix(f"{name}.")
        kept[key] = given.get(key, "")
    else:
        return False
    return True


def update_labels(kept: Any, given: Any, mask: Sequence[str], what: str) -> None:
    """Apply a field mask to labels, which are all that may change; `what` names the thing in the error."""
    for path in list(mask) or ["labels"]:
        if not change_map(kept, given, path, "labels"):
            raise invalid_argument(f"cannot update {quote(path)} field on {what}")
