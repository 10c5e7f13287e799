"""Which containers a prune takes: the filters `label`, `label!` and `until`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd import gotime
from sixhops.dockerd.errors import invalid, system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.containers.model import Container

__all__ = ["oldest", "takes"]


def oldest(filters: Mapping[str, Sequence[str]], now: int) -> int | None:
    """Return the time of `until` in nanoseconds, None when there is none; `now` likewise.

    Raises EngineError 500 for what is neither a time nor a duration, and 400 for an unknown filter or more than one.
    """
    for key in filters:
        if key not in {"label", "label!", "until"}:
            raise invalid(f"Invalid filter '{key}'")
    texts = filters.get("until", ())
    if not texts:
        return None
    if len(texts) > 1:
        raise system("more than one until filter specified")
    try:
        return gotime.parse_moment(texts[0], now)
    except gotime.TimeError as error:
        raise system(str(error)) from error


def takes(container: Container, filters: Mapping[str, Sequence[str]], until: int | None) -> bool:
    """Whether a container goes: it does not run, is old enough, and its labels are (not) as wanted."""
    labels = container.config["Labels"] or {}
    return (
        not container.state.is_running
        and (until is None or container.created <= until)
        and all(_has(labels, text) for text in filters.get("label", ()))
        and not any(_has(labels, text) for text in filters.get("label!", ()))
    )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, has_value, value = wanted.partition("=")
    return key in labels and (not has_value or labels[key] == value)
