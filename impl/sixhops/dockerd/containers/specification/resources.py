"""`linux.resources` and rlimits of a container from its HostConfig."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "check_requests",
    "device_nodes",
    "processors",
    "resources",
    "rlimits",
]

#: type, major, minor, allowed: what every container may use, in dockerd's order; the last one is fuse.
_DEFAULT_DEVICES = (
    (1, 5, True),
    (1, 3, True),
    (1, 9, True),
    (1, 8, True),
    (5, 0, True),
    (5, 1, True),
    (10, 229, False),
)
_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_PERIOD = 100_000
_HIGHEST = 2**63 - 1
_BILLION = 10**9
_ACCESS = "rwm"


def resources(host: dict[str, Any], devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return `linux.resources`; `devices` are the nodes that `device_nodes` found. Raises EngineError 500."""
    found: dict[str, Any] = {"devices": _device_rules(host, devices)}
    found["memory"] = _memory_limits(host)
    found["memory"]["disableOOMKiller"] = bool(host["OomKillDisable"])
    if host["CpuShares"] < 0:
        raise system("shares: invalid argument")
    found["cpu"] = processors(host)
    if (host["PidsLimit"] or 0) > 0:
        found["pids"] = {"limit": host["PidsLimit"]}
    found["blockIO"] = _block_io(host)
    return found


def _memory_limits(host: dict[str, Any]) -> dict[str, Any]:
    """Return `linux.resources.memory`."""
    memory: dict[str, Any] = {}
    for key, name in (
        ("Memory", "limit"),
        ("MemoryReservation", "reservation"),
        ("MemorySwap", "swap"),
    ):
        # -1 is no limit, and not written
        if host[key] > 0:
            memory[name] = host[key]
    for key, name in (("KernelMemory", "kernel"), ("KernelMemoryTCP", "kernelTCP")):
        if host[key]:
            memory[name] = host[key]
    if host["MemorySwappiness"] is not None:
        memory["swappiness"] = host["MemorySwappiness"]
    return memory


def device_nodes(host: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `linux.devices` for `Devices`: nodes of the host, looked at now. Raises EngineError 500 for what is none."""
    if host["Privileged"]:
        found = [_node(path, path) for path in _all_devices("/dev")]
        for device in host["Devices"] or []:
            if device["PathOnHost"] != device["PathInContainer"]:
                found += _nodes(device["PathOnHost"], device["PathInContainer"], _ACCESS)
        return found
    return [
        node
        for device in host["Devices"] or []
        for node in _nodes(device["PathOnHost"], device["PathInContainer"], device["CgroupPermissions"])
    ]


def _nodes(source: str, target: str, access: str) -> list[dict[str, Any]]:
    """Return the node at `source`, or all that are below it; where it is a link, what the link leads to."""
    resolved = os.path.realpath(source) if os.path.islink(source) else source  # noqa: PTH114 - a string of the user's
    if os.path.isdir(resolved):  # noqa: PTH112 - as above
        found = [
            _node(path, target + path.removeprefix(resolved), access)
            for path in _all_devices(resolved, everything=True)
        ]
        if found:
            return found
    try:
        return [_node(resolved, target, access)]
    except OSError as error:
        raise system(
            f"error gathering device information while adding custom device {quote(source)}: {error.strerror}"
        ) from error


def rlimits(host: dict[str, Any], defaults: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `process.rlimits` for `Ulimits`, and for `defaults` (by name) what these don't say.

    The runtime looks whether they make sense, as with dockerd.
    """
    asked = host["Ulimits"] or []
    names = {limit["Name"] for limit in asked}
    return [
        {
            "type": f"RLIMIT_{limit['Name'].upper()}",
            "hard": limit["Hard"] % (1 << 64),
            "soft": limit["Soft"] % (1 << 64),
        }
        for limit in (*asked, *(limit for name, limit in defaults.items() if name not in names))
    ]


def check_requests(requests: Sequence[dict[str, Any]]) -> None:
    """Refuse DeviceRequests: they are for drivers such as NVIDIA's, of which there is none. Raises EngineError 500."""
    for request in requests:
        sets = " ".join(f"[{' '.join(names or [])}]" for names in request["Capabilities"] or [])
        raise system(
            f"could not select device driver {quote(request['Driver'] or '')} with capabilities: [{sets}]"
        )


def _device_rules(host: dict[str, Any], devices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if host["Privileged"]:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [
        {"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor, allow in _DEFAULT_DEVICES
    ]
    for device in devices:
        rules.append(
            {key: value for key, value in device.items() if key in {"type", "major", "minor"}}
            | {"allow": True, "access": device["access"]}
        )
    for text in host["DeviceCgroupRules"] or []:
        found = _RULE.fullmatch(text)
        if found is None:
            raise system(f"invalid device cgroup rule format: '{text}'")
        # the runtime takes -1 for any number
        numbers = {
            name: -1 if value == "*" else int(value)
            for name, value in (("major", found[2]), ("minor", found[3]))
        }
        for name, number in numbers.items():
            if number > _HIGHEST:
                raise system(f"invalid {name} value in device cgroup rule format: '{text}'")
        rules.append({"allow": True, "type": found[1], **numbers, "access": found[4]})
    return rules


def processors(host: dict[str, Any]) -> dict[str, Any]:
    """Return `linux.resources.cpu`."""
    quota, period = host["CpuQuota"], host["CpuPeriod"]
    if host["NanoCpus"]:
        period, quota = _PERIOD, host["NanoCpus"] * _PERIOD // _BILLION
    limits = {
        "quota": quota,
        "period": period,
        "realtimeRuntime": host["CpuRealtimeRuntime"],
        "realtimePeriod": host["CpuRealtimePeriod"],
        "cpus": host["CpusetCpus"],
        "mems": host["CpusetMems"],
    }
    return {"shares": host["CpuShares"] % 2**64} | {name: value for name, value in limits.items() if value}


def _block_io(host: dict[str, Any]) -> dict[str, Any]:
    """Return `linux.resources.blockIO`. Raises EngineError for a device that is none."""
    found: dict[str, Any] = {"weight": host["BlkioWeight"]}
    for key, name, field in (
        ("BlkioWeightDevice", "weightDevice", "weight"),
        ("BlkioDeviceReadBps", "throttleReadBpsDevice", "rate"),
        ("BlkioDeviceWriteBps", "throttleWriteBpsDevice", "rate"),
        ("BlkioDeviceReadIOps", "throttleReadIOPSDevice", "rate"),
        ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice", "rate"),
    ):
        for entry in host[key] or []:
            try:
                number = os.stat(entry["Path"]).st_rdev  # noqa: PTH116 - a string of the user's
            except OSError as error:
                raise system(f"stat {entry['Path']}: {(error.strerror or '').lower()}") from error
            value = entry["Weight" if field == "weight" else "Rate"]
            found.setdefault(name, []).append(
                {"major": os.major(number), "minor": os.minor(number), field: value}
            )
    return found


def _node(path: str, target: str, access: str = _ACCESS) -> dict[str, Any]:
    """Describe a device node; `access` is taken out again before the document is written. Raises OSError."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise OSError(error.errno, (error.strerror or "").lower()) from error
    if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise OSError(errno.ENODEV, "not a device node")
    return {
        "path": target,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "access": access,
    }


def _all_devices(root: str, *, everything: bool = False) -> list[str]:
    """Return the device nodes below a directory; but for `everything`, without what every container has of its own."""
    found = []
    for directory, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if everything or f"{directory}/{name}" not in {"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue"}
        ]
        for name in files:
            path = f"{directory}/{name}"
            mode = os.lstat(path).st_mode
            if (everything or path != "/dev/console") and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
                found.append(path)
    return sorted(found)
