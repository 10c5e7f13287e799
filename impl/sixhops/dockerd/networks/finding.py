"""Which network a text means, which ones a filter lets through, and what a new container is kept with; no I/O."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, invalid, not_found, system

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sixhops.dockerd.networks.model import Network

__all__ = ["INSPECT", "REMOVE", "USE", "by_name", "endpoints_config", "find", "select", "takes"]

#: How the message for a text that is several networks' is worded, by who asks ({text}, {count}, {what}).
INSPECT = "{count} matches found based on {what}: network {text} is ambiguous"
REMOVE = "network {text} is ambiguous ({count} matches found based on {what})"
USE = "network {text} is ambiguous ({count} matches found on {what})"
_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def by_name(networks: Iterable[Network], name: str) -> Network | None:
    """Return the oldest network of that name."""
    return next((network for network in networks if network.name == name), None)


def find(networks: Collection[Network], text: str, ambiguous: str) -> Network:
    """Return a network by id, name, or beginning of an id. Raises EngineError 404, and 400 for several."""
    for network in networks:
        if network.id == text:
            return network
    for what, found in (
        ("name", [network for network in networks if network.name == text]),
        ("ID prefix", [network for network in networks if network.id.startswith(text)]),
    ):
        if len(found) > 1:
            raise invalid(ambiguous.format(text=text, count=len(found), what=what))
        if found:
            return found[0]
    raise not_found(f"network {text} not found")


def select(
    networks: Iterable[Network], filters: Mapping[str, Sequence[str]], used: Collection[str]
) -> list[Network]:
    """Return the networks that pass; `used` are the ids of those with endpoints. Raises EngineError 400 and 500."""
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    for value in filters.get("type", ()):
        if value not in {"builtin", "custom"}:
            raise system(f"invalid filter: 'type'='{value}'")
    return [network for network in networks if _passes(network, filters, used)]


def takes(network: Network, filters: Mapping[str, Sequence[str]], until: int | None) -> bool:
    """Return whether a prune's filters mean a network."""
    if until is not None and network.created > until:
        return False
    return all(_has_label(network, value) for value in filters.get("label", ())) and not any(
        _has_label(network, value) for value in filters.get("label!", ())
    )


def endpoints_config(
    networks: Collection[Network], mode: str, asked: Mapping[str, Any], *, is_disabled: bool
) -> dict[str, Any]:
    """Return what a new container is kept with, by name of network: what it asks for, under the network's own name."""
    config = dict(asked.get("EndpointsConfig") or {})
    if is_disabled or mode.startswith("container:"):
        return {}
    name = "bridge" if mode in {"", "default"} else mode
    if name not in {"bridge", "host", "none"}:
        # one that is not there, or that is not unique, is refused at the start only
        with contextlib.suppress(EngineError):
            name = find(networks, name, USE).name
    settings = {key: dict(entry) for key, entry in config.items()} or {name: {}}
    if "default" in settings:
        settings[name] = settings.pop("default")
    for key in list(settings):
        same = next((network for network in networks if network.id == key), None)
        if same is not None:
            settings[same.name] = settings.pop(key)
    return settings


def _passes(network: Network, filters: Mapping[str, Sequence[str]], used: Collection[str]) -> bool:
    kind = "custom" if network.is_user_defined else "builtin"
    checks: dict[str, Callable[[str], bool]] = {
        "name": lambda value: value in network.name or bool(_matches(value, network.name)),
        "id": lambda value: value in network.id or bool(_matches(value, network.id)),
        "driver": lambda value: value == network.driver,
        "scope": lambda value: value == "local",
        "type": lambda value: value == kind,
    }
    for key, check in checks.items():
        values = filters.get(key)
        if values and not any(check(value) for value in values):
            return False
    if not all(_has_label(network, value) for value in filters.get("label", ())):
        return False
    dangling = _dangling(filters)
    return dangling is None or dangling == (network.is_user_defined and network.id not in used)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def _dangling(filters: Mapping[str, Sequence[str]]) -> bool | None:
    values = filters.get("dangling") or ()
    if len(values) > 1:
        raise invalid('got more than one value for filter key "dangling"')
    if not values:
        return None
    word = str(values[0])
    if word not in _BOOLEANS:
        raise invalid('invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")')
    return _BOOLEANS[word]


def _has_label(network: Network, text: str) -> bool:
    name, has_value, value = text.partition("=")
    return name in network.labels and (not has_value or network.labels[name] == value)
