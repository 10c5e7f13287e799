"""`linux.resources` and rlimits of a container from its HostConfig."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import invalid, system
from sixhops.linux.rlimits import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "device_nodes",
    "discard_unsupported",
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
_BLKIO_WEIGHT = Path("/sys/fs/cgroup/blkio/blkio.weight")
_PERIOD = 100_000
_BILLION = 10**9
_ACCESS = "rwm"


def discard_unsupported(host: dict[str, Any], *, unified: bool) -> list[str]:
    """Take out of a new container's HostConfig what this kernel can't do, where dockerd does so; return its warnings."""
    if host["BlkioWeight"] and not unified and not _BLKIO_WEIGHT.exists():
        host["BlkioWeight"] = 0
        return [
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
        ]
    return []


def resources(host: dict[str, Any], devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return `linux.resources`; `devices` are the nodes that `device_nodes` found."""
    found: dict[str, Any] = {"devices": _device_rules(host, devices)}
    found["memory"] = _memory_limits(host)
    found["memory"]["disableOOMKiller"] = bool(host["OomKillDisable"])
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
        ("KernelMemory", "kernel"),
        ("KernelMemoryTCP", "kernelTCP"),
    ):
        # -1 is no limit, and not written
        if host[key] > 0:
            memory[name] = host[key]
    if host["MemorySwappiness"] is not None:
        memory["swappiness"] = host["MemorySwappiness"]
    return memory


def device_nodes(host: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `linux.devices` for `Devices`: nodes of the host, looked at now. Raises EngineError for what is none."""
    if host["Privileged"]:
        return [_node(path, path) for path in _all_devices("/dev")]
    found = []
    for device in host["Devices"] or []:
        source = device.get("PathOnHost") or ""
        target = device.get("PathInContainer") or source
        access = device.get("CgroupPermissions") or _ACCESS
        if not set(access) <= set(_ACCESS):
            raise invalid(f"invalid device mode: {access}")
        if os.path.isdir(source):  # noqa: PTH112 - a string of the user's
            prefix = source.rstrip("/")
            found += [
                _node(path, target.rstrip("/") + path.removeprefix(prefix), access)
                for path in _all_devices(source)
            ]
        else:
            found.append(_node(source, target, access))
    return found


def rlimits(host: dict[str, Any], defaults: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return `process.rlimits` for `Ulimits`. Raises EngineError 400 for an unknown name or soft above hard."""
    found = []
    for limit in {entry["Name"]: entry for entry in [*defaults, *(host["Ulimits"] or [])]}.values():
        name = f"RLIMIT_{str(limit['Name']).upper()}"
        if name not in NUMBERS:
            raise invalid(f"invalid ulimit type: {limit['Name']}")
        soft, hard = int(limit.get("Soft") or 0), int(limit.get("Hard") or 0)
        if hard != -1 and (soft > hard or soft == -1):
            raise invalid(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        found.append({"type": name, "hard": hard % (1 << 64), "soft": soft % (1 << 64)})
    return found


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
            raise invalid(f"invalid device cgroup rule format: '{text}'")
        # the runtime takes -1 for any number
        numbers = {
            name: -1 if value == "*" else int(value)
            for name, value in (("major", found[2]), ("minor", found[3]))
        }
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
    return {"shares": host["CpuShares"]} | {name: value for name, value in limits.items() if value}


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
    """Describe a device node; `access` is taken out again before the document is written."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a string of the user's
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise system(
            f'error gathering device information while adding custom device "{path}": {reason}'
        ) from error
    if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise system(
            f'error gathering device information while adding custom device "{path}": not a device node'
        )
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


def _all_devices(root: str) -> list[str]:
    """Return the device nodes below a directory, leaving out what every container has of its own."""
    found = []
    for directory, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if f"{directory}/{name}" not in {"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue"}
        ]
        for name in files:
            path = f"{directory}/{name}"
            mode = os.lstat(path).st_mode
            if path != "/dev/console" and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
                found.append(path)
    return sorted(found)
