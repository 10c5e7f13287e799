"""Values of single options of run and create as the engine's documents hold them: mounts, limits, devices, addresses.

Every reader takes the option's text and raises ValueError with docker's message, which the caller completes with
the option's name.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any

from sixhops.docker.values import boolean, quote, separated, size_in_bytes

__all__ = [
    "device",
    "device_cgroup_rule",
    "dns_search",
    "environment_variable",
    "extra_host",
    "gpus",
    "has_source",
    "ip_address",
    "key_value",
    "label",
    "link",
    "mount",
    "stream_name",
    "swap_size",
    "sysctl",
    "throttle_bytes",
    "throttle_operations",
    "ulimit",
    "weight_device",
]

_DOMAIN = re.compile(r"(:?(:?[a-zA-Z0-9]|(:?[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9]))\.?)+\s*")
_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
#: the limits of setrlimit(2), by the names that docker gives them
_LIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def stream_name(text: str) -> str:
    """Read --attach."""
    if text.lower() in ("stdin", "stdout", "stderr"):
        return text.lower()
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def extra_host(text: str) -> str:
    """Read --add-host, NAME:ADDRESS; host-gateway stands for the host's own address."""
    name, colon, address = text.partition(":")
    if not colon or not name:
        raise ValueError(f"bad format for add-host: {quote(text)}")
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"invalid IP address in add-host: {quote(address)}") from error
    return text


def ip_address(text: str) -> str:
    """Read an address."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError as error:
        raise ValueError(f"{text} is not an ip address") from error


def dns_search(text: str) -> str:
    """Read --dns-search; "." alone removes the search list."""
    text = text.strip()
    if text == ".":
        return text
    if text.strip(".") and _DOMAIN.fullmatch(text) and len(text) < 255:
        return text
    raise ValueError(f"{text} is not a valid domain")


def environment_variable(text: str) -> str:
    """Read --env: NAME=VALUE, or NAME alone, which takes the value from our own environment when it is there."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    return text if equals or name not in os.environ else f"{name}={os.environ[name]}"


def sysctl(text: str) -> tuple[str, str]:
    """Read --sysctl, NAME=VALUE; only parameters that a namespace has of its own."""
    name, _, value = text.partition("=")
    known = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
             "kernel.shmmni", "kernel.shm_rmid_forced"}  # fmt: skip
    if name not in known and not name.startswith(("net.", "fs.mqueue.")):
        raise ValueError(f"sysctl '{text}' is not whitelisted")
    return name, value


def key_value(text: str) -> tuple[str, str]:
    """Read NAME=VALUE, or NAME alone with an empty value."""
    name, _, value = text.partition("=")
    return name, value


def label(text: str) -> str:
    """Read --label of a volume or a network, NAME[=VALUE]."""
    name = text.partition("=")[0].lstrip(" \t\n\v\f\r")
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if any(sign.isspace() for sign in name):
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def has_source(text: str) -> bool:
    """Tell whether --volume names what to mount: `a:/b` does not, because it is a path on drive a (cli/compose/loader)."""
    first, colon, _ = text.partition(":")
    if colon and len(first) == 1 and first.isalpha():
        first, colon, _ = text[2:].partition(":")
    return len(text) > 2 and bool(first and colon)


def link(text: str) -> str:
    """Read --link, NAME[:ALIAS]."""
    parts = text.split(":")
    if not text:
        raise ValueError("empty string specified for links")
    if len(parts) > 2:
        raise ValueError(f"bad format for links: {text}")
    return text


def swap_size(text: str) -> int:
    """Read --memory-swap in bytes; -1 is no limit."""
    return -1 if text == "-1" else size_in_bytes(text)


def device_cgroup_rule(text: str) -> str:
    """Read --device-cgroup-rule."""
    if _RULE.fullmatch(text):
        return text
    raise ValueError(f"invalid device cgroup format '{text}'")


def weight_device(text: str) -> dict[str, Any]:
    """Read --blkio-weight-device, PATH:WEIGHT."""
    path, weight = _device_and_value(text)
    if not weight.isdigit() or not 10 <= int(weight) <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def throttle_bytes(text: str) -> dict[str, Any]:
    """Read PATH:BYTES, a limit for one second."""
    path, rate = _device_and_value(text)
    try:
        return {"Path": path, "Rate": size_in_bytes(rate)}
    except ValueError as error:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from error


def throttle_operations(text: str) -> dict[str, Any]:
    """Read PATH:COUNT, a limit for one second."""
    path, rate = _device_and_value(text)
    if not rate.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(rate)}


def ulimit(text: str) -> dict[str, Any]:
    """Read --ulimit, NAME=SOFT[:HARD]."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _LIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers = []
    for part in parts:
        if not re.fullmatch(r"[+-]?\d+", part):
            raise ValueError(f"strconv.ParseInt: parsing {quote(part)}: invalid syntax")
        numbers.append(int(part))
    soft, hard = numbers[0], numbers[-1]
    if hard >= 0 and soft > hard:
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def device(text: str) -> dict[str, str]:
    """Read --device, HOST[:CONTAINER[:MODE]]."""
    host, *more = text.split(":")
    inside, mode = host, "rwm"
    if len(more) > 2 or not host:
        raise ValueError(f"bad format for path: {text}")
    if len(more) == 2:
        inside, mode = more
    elif more and _device_mode(more[0]):
        mode = more[0]
    elif more:
        inside = more[0]
    if not _device_mode(mode) or not inside.startswith("/"):
        bad = mode if not _device_mode(mode) else inside
        raise ValueError(f"bad mode specified: {bad}" if bad == mode else f"{bad} is not an absolute path")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode}


def gpus(text: str) -> dict[str, Any]:
    """Read --gpus: all, a number, or key=value pairs, as an element of HostConfig.DeviceRequests."""
    given: dict[str, str] = {}
    for item in separated(text):
        key, equals, value = item.partition("=")
        if key in given:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        if not equals:
            given[key] = ""
            key, value = "count", key
        elif key not in ("driver", "count", "device", "capabilities", "options"):
            raise ValueError(f"unexpected key '{key}' in '{item}'")
        given[key] = value
    count = 0
    if "count" in given:
        if given["count"] != "all" and not re.fullmatch(r"[+-]?\d+", given["count"]):
            reason = f"strconv.Atoi: parsing {quote(given['count'])}: invalid syntax"
            raise ValueError(f"count must be an integer: {reason}")
        count = -1 if given["count"] == "all" else int(given["count"])
    elif "device" not in given:
        count = 1
    capabilities = given["capabilities"].split(",") if "capabilities" in given else []
    return {
        "Driver": given.get("driver", ""),
        "Count": count,
        "DeviceIDs": given["device"].split(",") if "device" in given else None,
        "Capabilities": [[*capabilities, "gpu"]],
        "Options": dict(key_value(item) for item in separated(given.get("options", ""))),
    }


def mount(text: str) -> dict[str, Any]:
    """Read --mount, a comma-separated list of key=value, as an element of HostConfig.Mounts."""
    import csv  # noqa: PLC0415 - rarely given

    found: dict[str, Any] = {"Type": "volume"}
    groups: dict[str, dict[str, Any]] = {}
    for item in next(csv.reader([text.strip()]), []):
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if not equals:
            switches = {"readonly": True, "ro": True, "volume-nocopy": True, "bind-nonrecursive": True}
            if key not in switches:
                raise ValueError(f"invalid field '{item}' must be a key=value pair")
            value = "true"
        _mount_field(key, value, found, groups)
    if not found["Type"]:
        raise ValueError("type is required")
    if not found.get("Target"):
        raise ValueError("target is required")
    for kind, name in (("volume", "VolumeOptions"), ("bind", "BindOptions"), ("tmpfs", "TmpfsOptions")):
        if name in groups and found["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{found['Type']}'")
    return {**found, **groups}


def _mount_field(key: str, value: str, found: dict[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    def switch() -> bool:
        try:
            return boolean(value)
        except ValueError as error:
            raise ValueError(f"invalid value for {key}: {value}") from error

    if key == "type":
        found["Type"] = value.lower()
    elif key in ("source", "src"):
        found["Source"] = value
    elif key in ("target", "dst", "destination"):
        found["Target"] = value
    elif key in ("readonly", "ro"):
        if switch():
            found["ReadOnly"] = True
    elif key == "consistency":
        found["Consistency"] = value.lower()
    elif key == "bind-propagation":
        groups.setdefault("BindOptions", {})["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        groups.setdefault("BindOptions", {})["NonRecursive"] = switch()
    elif key == "volume-nocopy":
        groups.setdefault("VolumeOptions", {})["NoCopy"] = switch()
    elif key == "volume-label":
        name, _, setting = value.partition("=")
        groups.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = setting
    elif key == "volume-driver":
        groups.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        name, _, setting = value.partition("=")
        driver = groups.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
        driver.setdefault("Options", {})[name] = setting
    elif key == "tmpfs-size":
        try:
            groups.setdefault("TmpfsOptions", {})["SizeBytes"] = size_in_bytes(value)
        except ValueError as error:
            raise ValueError(f"invalid value for {key}: {value}") from error
    elif key == "tmpfs-mode":
        if not re.fullmatch(r"[0-7]+", value):
            raise ValueError(f"invalid value for {key}: {value}")
        groups.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
    else:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _device_and_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or ":" in value:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def _device_mode(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")
