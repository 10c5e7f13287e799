"""The lists inside of HostConfig, as dockerd prints them: every member of an entry, or only those that say something.

Go reads a request into structures and prints these, so an entry comes back complete, without what is unknown. Source: moby
20.10, api/types/container/host_config.go, api/types/mount and api/types/blkiodev.
"""

from __future__ import annotations

from typing import Any

__all__ = ["health", "host_lists"]

_THROTTLE: dict[str, Any] = {"Path": "", "Rate": 0}
#: list -> its members with what stands for "not said"
_COMPLETE: dict[str, dict[str, Any]] = {
    "Devices": {"PathOnHost": "", "PathInContainer": "", "CgroupPermissions": ""},
    "Ulimits": {"Name": "", "Hard": 0, "Soft": 0},
    "BlkioWeightDevice": {"Path": "", "Weight": 0},
    "BlkioDeviceReadBps": _THROTTLE,
    "BlkioDeviceWriteBps": _THROTTLE,
    "BlkioDeviceReadIOps": _THROTTLE,
    "BlkioDeviceWriteIOps": _THROTTLE,
    "DeviceRequests": {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": None,
        "Options": None,
    },
}
_POINTERS = frozenset(_COMPLETE) - {"Devices", "DeviceRequests"}
_MOUNT: dict[str, Any] = {
    "Type": None,
    "Source": None,
    "Target": None,
    "ReadOnly": None,
    "Consistency": None,
    "BindOptions": {"Propagation": None, "NonRecursive": None},
    "VolumeOptions": {"NoCopy": None, "Labels": None, "DriverConfig": {"Name": None, "Options": None}},
    "TmpfsOptions": {"SizeBytes": None, "Mode": None},
}
_HEALTH: dict[str, Any] = dict.fromkeys(("Test", "Interval", "Timeout", "StartPeriod", "Retries"))


def host_lists(host: dict[str, Any]) -> None:
    """Bring the lists of a HostConfig into dockerd's form."""
    for key, members in _COMPLETE.items():
        if host[key] is not None:
            host[key] = [
                # lists of pointers may have holes
                entry if entry is None and key in _POINTERS else _complete(entry or {}, members)
                for entry in host[key]
            ]
    if host["Mounts"]:
        host["Mounts"] = [_sparse(entry or {}, _MOUNT) for entry in host["Mounts"]]
    if host["PortBindings"] is not None:
        members = {"HostIp": "", "HostPort": ""}
        host["PortBindings"] = {
            port: None if bindings is None else [_complete(entry or {}, members) for entry in bindings]
            for port, bindings in host["PortBindings"].items()
        }


def health(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a health check with the members that say something; None stays."""
    return None if entry is None else _sparse(entry, _HEALTH)


def _complete(entry: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    return {name: default if entry.get(name) is None else entry[name] for name, default in members.items()}


def _sparse(entry: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in members.items():
        value = entry.get(name)
        if inner is not None and value is not None:
            found[name] = _sparse(value, inner)  # a structure that was given is printed even when it is empty
        elif value:
            found[name] = value
    return found
