"""daemon.json: what stands in it, with dockerd's words for what can't.

In dockerd's order: no JSON, keys that are none, keys that a flag sets as well, values of another type. Facts: messages of
dockerd 20.10.24; daemon/config/config.go of moby 20.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.dockerd.api import gojson
from sixhops.dockerd.api.gojson import Kind, Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["ConfigError", "read"]

_STRING = Kind("string", "string")
_STRINGS = Kind("[]string", "list", _STRING)
_ANYTHING = Kind("map[string]interface {}", "map")
_RUNTIME = Struct("Runtime", {"path": _STRING, "runtimeArgs": _STRINGS}, "types")
_KINDS: dict[str, Kind | Struct] = {
    "text": _STRING,
    "bool": Kind("bool", "bool"),
    "int": Kind("int", "int"),
    "list": _STRINGS,
    "map": Kind("map[string]string", "map", _STRING),
    "ip": _STRING,
    "size": _STRING,
    "features": Kind("map[string]bool", "map", Kind("bool", "bool")),
    "object": Struct("BuilderConfig", {}, "config"),
    "pool": Kind(
        "[]*types.NetworkToSplit",
        "list",
        Struct("NetworkToSplit", {"base": _STRING, "size": Kind("int", "int")}, "types"),
    ),
    "runtime": Kind("map[string]types.Runtime", "map", _RUNTIME),
    "ulimit": Kind(
        "map[string]*units.Ulimit",
        "map",
        Struct(
            "Ulimit",
            {"Name": _STRING, "Hard": Kind("int64", "int"), "Soft": Kind("int64", "int")},
            "units",
        ),
    ),
}
#: Keys whose flag adds to what the file says.
_MERGED = frozenset({"runtime"})
#: Keys whose value is an object; a value that is one under any other key is looked through for keys.
_OBJECTS = frozenset({"map", "runtime", "ulimit", "features", "object"})


class ConfigError(Exception):
    """The file can't be followed; the message is dockerd's, without the file's name."""


def read(
    data: bytes, kinds: Mapping[str, str], flagged: Mapping[str, object], in_vain: Collection[str] = ()
) -> dict[str, Any]:
    """Return the file's members. Raises ConfigError.

    `kinds` are the keys that there are, with their kinds; `flagged` the values of those that the command line sets;
    `in_vain` more keys that do no harm.
    """
    try:
        value = gojson.decode(data)
        gojson.check(value, _ANYTHING)
    except gojson.GoJsonError as error:
        raise ConfigError(str(error)) from error
    members: dict[str, Any] = value or {}
    found = _flattened(members, kinds)
    unknown = sorted(set(found) - set(kinds) - set(in_vain))
    if unknown:
        raise ConfigError(
            f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    conflicts = [
        f"{key}: (from flag: {_printed(flagged[key])}, from file: {_printed(found[key])})"
        for key in sorted(found)
        if key in flagged and kinds[key] not in _MERGED
    ]
    if conflicts:
        raise ConfigError(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )
    try:
        gojson.check(members, Struct("Config", {key: _KINDS[kind] for key, kind in kinds.items()}))
    except gojson.GoJsonError as error:
        raise ConfigError(str(error)) from error
    return members


def _flattened(members: dict[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, member in members.items():
        if isinstance(member, dict) and kinds.get(key) not in _OBJECTS:
            found |= member
        else:
            found[key] = member
    return found


def _printed(value: object) -> str:
    """Return a value as Go's %v prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(map(_printed, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_printed(member)}' for name, member in sorted(value.items()))}]"
    return str(value)
