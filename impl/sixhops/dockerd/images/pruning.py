"""Which images a prune takes: the filters `dangling`, `label`, `label!` and `until`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sixhops.dockerd.containers.views.pruning import oldest
from sixhops.dockerd.errors import invalid
from sixhops.dockerd.images import documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.images.store import ImageStore

__all__ = ["selection"]

_FILTERS: Final = frozenset({"dangling", "label", "label!", "until"})


def selection(store: ImageStore, filters: Mapping[str, Sequence[str]], now: int) -> list[list[str]]:
    """Return what to delete, for each image its names or else its id; `now` is in nanoseconds since 1970.

    Raises EngineError 400 and 500 for filters that make no sense.
    """
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    everything = _takes_named(filters.get("dangling", ()))
    until = oldest({"until": filters.get("until", ())}, now)
    wanted: list[list[str]] = []
    for image in store.all():
        names, is_parent = store.names(image.id), bool(store.children(image.id))
        if is_parent and (not everything or not names):
            continue
        if until is not None and documents.created(image) > until:
            continue
        if not documents.has_labels(image, filters.get("label", ())):
            continue
        if filters.get("label!") and documents.has_labels(image, filters["label!"]):
            continue
        if not names:
            wanted.append([image.id.removeprefix("sha256:")])
        elif everything or not any(name.tag for name in names):
            wanted.append([name.canonical for name in names])
    return wanted


def _takes_named(values: Sequence[str]) -> bool:
    """Return whether images with tags go too."""
    if not values or "true" in values or "1" in values:
        return bool({"false", "0"} & set(values))
    if {"false", "0"} & set(values):
        return True
    raise invalid(f"Invalid filter 'dangling=[{' '.join(values)}]'")
