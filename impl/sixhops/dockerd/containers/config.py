"""From the body of a create request to the two documents of a container: Config and HostConfig, complete and checked.

The documents are the API's own, with every member that an inspect of dockerd 20.10 prints, in its order. A member that
this engine can't do yet is refused by `refuse_unsupported`; nothing that was asked for is dropped silently.
"""

from __future__ import annotations

import os
from typing import Any

from sixhops.dockerd.containers import capabilities
from sixhops.dockerd.containers.signals import parse_signal
from sixhops.dockerd.errors import EngineError, invalid

__all__ = [
    "CONFIG_MEMBERS",
    "check_memory",
    "check_processors",
    "check_restart_policy",
    "command_of",
    "merge_config",
    "merge_host_config",
    "validate",
]

_CONFIG: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "ExposedPorts": {},
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Healthcheck": {},
    "ArgsEscaped": False,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "NetworkDisabled": False,
    "MacAddress": "",
    "OnBuild": None,
    "Labels": {},
    "StopSignal": "",
    "StopTimeout": None,
    "Shell": None,
}
CONFIG_MEMBERS = frozenset(_CONFIG)
#: Members that are not printed when they are empty.
_OPTIONAL = frozenset(
    {
        "ExposedPorts",
        "Healthcheck",
        "ArgsEscaped",
        "NetworkDisabled",
        "MacAddress",
        "StopSignal",
        "StopTimeout",
        "Shell",
    }
)
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_HOST_CONFIG: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "", "Config": {}},
    "NetworkMode": "default",
    "PortBindings": None,
    "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "",
    "Dns": None,
    "DnsOptions": None,
    "DnsSearch": None,
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "StorageOpt": None,
    "Tmpfs": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 0,
    "Sysctls": None,
    "Runtime": "",
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": None,
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "KernelMemory": 0,
    "KernelMemoryTCP": 0,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "Mounts": None,
    "MaskedPaths": None,
    "ReadonlyPaths": None,
    "Init": None,
    "Annotations": None,
}
_OPTIONAL_IN_HOST = frozenset({"StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init", "Annotations"})
#: What this engine can't do yet; the answer says so instead of ignoring it.
_UNSUPPORTED = (
    "Links",
    "VolumesFrom",
    "StorageOpt",
    "DeviceRequests",
    "Cgroup",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "Annotations",
)
_NO_LIMIT_WARNING = (
    "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of "
    "resources."
)
_NOT_IMPLEMENTED = 501
_SMALLEST_MEMORY = 6 << 20
_BILLION = 10**9
_RESTART_POLICIES = frozenset({"", "no", "always", "on-failure", "unless-stopped"})
LOG_DRIVERS = frozenset({"json-file", "none"})


def merge_config(
    body: dict[str, Any], image: dict[str, Any], identity: str, host_name: str
) -> dict[str, Any]:
    """Return Config: the request's members, and the image's where the request has none.

    `image` is the `config` of the image's configuration; `host_name` is used with the host's network.
    Raises EngineError 400.
    """
    config = {key: body[key] if body.get(key) is not None else default for key, default in _CONFIG.items()}
    _check_types("Config", config, _CONFIG)
    for key in ("Cmd", "Entrypoint", "Shell"):
        if isinstance(config[key], str):
            config[key] = [config[key]]
    config["User"] = config["User"] or image.get("User") or ""
    config["Env"] = _merge_environment(config["Env"], image.get("Env") or [])
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = image.get("Cmd")
        if config["Entrypoint"] is None:
            config["Entrypoint"] = image.get("Entrypoint")
    if config["Entrypoint"] == [""]:
        config["Entrypoint"] = None
    config["WorkingDir"] = config["WorkingDir"] or image.get("WorkingDir") or ""
    config["Labels"] = (image.get("Labels") or {}) | config["Labels"]
    config["Volumes"] = (image.get("Volumes") or {}) | (config["Volumes"] or {}) or None
    config["ExposedPorts"] = (image.get("ExposedPorts") or {}) | config["ExposedPorts"]
    config["StopSignal"] = config["StopSignal"] or image.get("StopSignal") or ""
    is_on_host = (body.get("HostConfig") or {}).get("NetworkMode") == "host"
    config["Hostname"] = config["Hostname"] or (host_name if is_on_host else identity[:12])
    if not config["Entrypoint"] and not config["Cmd"]:
        raise invalid("No command specified")
    return {key: value for key, value in config.items() if value or key not in _OPTIONAL}


def merge_host_config(
    body: dict[str, Any],
    *,
    runtime: str,
    shm_size: int,
    log_driver: str,
    log_options: dict[str, str],
    unified: bool,
) -> dict[str, Any]:
    """Return HostConfig with the engine's defaults; `unified` says that the host has cgroup version 2 only."""
    asked = body.get("HostConfig") or {}
    if not isinstance(asked, dict):
        raise invalid("json: cannot unmarshal HostConfig")
    host = {
        key: asked[key] if asked.get(key) is not None else default for key, default in _HOST_CONFIG.items()
    }
    _check_types("HostConfig", host, _HOST_CONFIG)
    host["NetworkMode"] = host["NetworkMode"] or "default"
    if body.get("HostConfig") is not None:
        # without any, dockerd looks for one only when the container starts (observed)
        host["Runtime"] = host["Runtime"] or runtime
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or (
        "private" if unified and not host["Privileged"] else "host"
    )
    host["ShmSize"] = host["ShmSize"] or shm_size
    logs = host["LogConfig"]
    if not logs.get("Type"):
        host["LogConfig"] = {"Type": log_driver, "Config": {**log_options, **(logs.get("Config") or {})}}
    else:
        host["LogConfig"] = {"Type": logs["Type"], "Config": logs.get("Config") or {}}
    restart = host["RestartPolicy"]
    host["RestartPolicy"] = {
        "Name": restart.get("Name") or "",
        "MaximumRetryCount": restart.get("MaximumRetryCount") or 0,
    }
    if (host["PidsLimit"] or 0) <= 0:
        # 0 and -1 are "any number"; dockerd keeps neither
        host["PidsLimit"] = None
    host["SecurityOpt"] = _with_labels_off(host)
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = 2 * host["Memory"]
    if not host["Privileged"]:
        host["MaskedPaths"] = list(MASKED_PATHS) if host["MaskedPaths"] is None else host["MaskedPaths"]
        host["ReadonlyPaths"] = (
            list(READONLY_PATHS) if host["ReadonlyPaths"] is None else host["ReadonlyPaths"]
        )
    return {
        key: value
        for key, value in host.items()
        if key not in _OPTIONAL_IN_HOST or (value is not None and value != {})
    }


def _with_labels_off(host: dict[str, Any]) -> list[str] | None:
    """Return SecurityOpt; labels are off where a container sees the host's processes, unless the user speaks of labels."""
    asked: list[str] | None = host["SecurityOpt"]
    sees_host = host["IpcMode"] == "host" or host["PidMode"] == "host" or host["Privileged"]
    if not sees_host or any(option.partition("=")[0] == "label" for option in asked or []):
        return asked
    return [*(asked or []), "label=disable"]


def validate(config: dict[str, Any], host: dict[str, Any]) -> list[str]:
    """Check both documents against the engine's rules; return warnings. Raises EngineError with the engine's message."""
    refuse_unsupported(config, host)
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise invalid(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    if config.get("StopSignal"):
        parse_signal(config["StopSignal"])
    for variable in config["Env"] or []:
        if variable.startswith("=") or not variable:
            raise invalid(f"invalid environment variable: {variable}")
    capabilities.normalize(host["CapAdd"] or [])
    capabilities.normalize(host["CapDrop"] or [])
    check_restart_policy(host)
    _check_logs(host["LogConfig"])
    warnings = check_memory(host)
    check_processors(host)
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise invalid(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    if host["ShmSize"] < 0:
        raise invalid("SHM size can not be less than 0")
    return warnings


def refuse_unsupported(config: dict[str, Any], host: dict[str, Any]) -> None:
    """Raise EngineError 501 for what a request asks and this engine can't do yet."""
    asked = [f"HostConfig.{key}" for key in _UNSUPPORTED if host.get(key)]
    if host["VolumeDriver"] not in {"", "local"}:
        asked.append("HostConfig.VolumeDriver")
    if host["Isolation"] not in {"", "default"}:
        asked.append("HostConfig.Isolation")
    if host["UsernsMode"] not in {"", "host"}:
        asked.append("HostConfig.UsernsMode")
    if any((host["PortBindings"] or {}).values()):
        asked.append("HostConfig.PortBindings")
    if host["PublishAllPorts"] and config.get("ExposedPorts"):
        asked.append("HostConfig.PublishAllPorts")
    test = (config.get("Healthcheck") or {}).get("Test") or []
    if test and test != ["NONE"]:
        asked.append("Healthcheck")
    if asked:
        raise EngineError(_NOT_IMPLEMENTED, f"{', '.join(asked)}: not supported by this engine yet")


def command_of(config: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return Path and Args of a container."""
    words = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    return words[0], tuple(words[1:])


def _merge_environment(asked: list[str] | None, image: list[str]) -> list[str] | None:
    if not asked:
        return list(image) or asked
    names = {variable.partition("=")[0] for variable in asked}
    return asked + [variable for variable in image if variable.partition("=")[0] not in names]


def _check_types(where: str, document: dict[str, Any], defaults: dict[str, Any]) -> None:
    for key, value in document.items():
        default = defaults[key]
        if value is None or default is None or value is default:
            continue
        if type(default) is not type(value):
            raise invalid(f"json: cannot unmarshal {_json_name(value)} into Go struct field {where}.{key}")


def _json_name(value: object) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def check_restart_policy(host: dict[str, Any]) -> None:
    """Check a restart policy. Raises EngineError 400."""
    name, retries = host["RestartPolicy"]["Name"], host["RestartPolicy"]["MaximumRetryCount"]
    if host["AutoRemove"] and name not in {"", "no"}:
        raise invalid("can't create 'AutoRemove' container with restart policy")
    if name not in _RESTART_POLICIES:
        raise invalid(f"invalid restart policy '{name}'")
    if name != "on-failure" and retries:
        raise invalid(f"maximum retry count cannot be used with restart policy '{name}'")
    if retries < 0:
        raise invalid("maximum retry count cannot be negative")


def _check_logs(logs: dict[str, Any]) -> None:
    if logs["Type"] not in LOG_DRIVERS:
        raise invalid(f"logger: no log driver named '{logs['Type']}' is registered")
    known = {"max-size", "max-file", "mode", "max-buffer-size"}
    for key in logs["Config"]:
        if logs["Type"] == "json-file" and key not in known:
            raise invalid(f"unknown log opt '{key}' for json-file log driver")
        if key in {"mode", "max-buffer-size"} and logs["Config"].get("mode") not in {None, "", "blocking"}:
            raise EngineError(_NOT_IMPLEMENTED, f"log opt '{key}': not supported by this engine yet")


def check_memory(host: dict[str, Any], *, update: bool = False) -> list[str]:
    """Check limits of memory; return warnings. In an update, swap may come alone. Raises EngineError 400."""
    memory, swap = host["Memory"], host["MemorySwap"]
    if memory and memory < _SMALLEST_MEMORY:
        raise invalid("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise invalid(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    reservation = host["MemoryReservation"]
    if reservation and reservation < _SMALLEST_MEMORY:
        raise invalid("Minimum memory reservation allowed is 6MB")
    if memory and reservation > memory:
        raise invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host["OomKillDisable"] and not memory:
        return [_NO_LIMIT_WARNING]
    return []


def check_processors(host: dict[str, Any]) -> None:
    """Check limits of processors. Raises EngineError 400."""
    nano, period, quota = host["NanoCpus"], host["CpuPeriod"], host["CpuQuota"]
    if nano and period:
        raise invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
    if nano and quota:
        raise invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
    count = os.cpu_count() or 1
    if nano < 0 or nano > count * _BILLION:
        raise invalid(f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if period and not 1000 <= period <= 1000000:
        raise invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for key, label in (("CpusetCpus", "cpus"), ("CpusetMems", "mems")):
        _check_set(host[key], label, count if label == "cpus" else None)


def _check_set(text: str, label: str, count: int | None) -> None:
    if not text:
        return
    numbers: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        raise invalid(f"Invalid value {text} for cpuset {label}: invalid format: {text}") from None
    if count is not None and numbers and max(numbers) >= count:
        available = f"0-{count - 1}" if count > 1 else "0"
        raise invalid(f"Requested CPUs are not available - requested {text}, available: {available}")
