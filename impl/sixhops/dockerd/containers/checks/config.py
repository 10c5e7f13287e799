"""From the body of a create request to the two documents of a container, Config and HostConfig, complete with defaults.

The documents are the API's own, with every member that an inspect of dockerd 20.10 prints, in its order. First comes what
was asked (`asked_config`, `asked_host_config`), which `validation` checks; then what the image and the engine add to it.
Source: moby 20.10, runconfig/config_unix.go, `merge` in daemon/commit.go, `adaptContainerSettings` in daemon/daemon_unix.go.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.configmembers import CONFIG_DEFAULTS, CONFIG_MEMBERS, NOT_WHEN_EMPTY, NOT_WHEN_NULL
from sixhops.dockerd.containers.checks import shapes
from sixhops.dockerd.errors import EngineError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.containers.model import Container

__all__ = [
    "CONFIG_MEMBERS",
    "HOST_MEMBERS",
    "RESOURCES",
    "asked_config",
    "asked_host_config",
    "command_of",
    "finish_host_config",
    "merge_config",
    "printed_config",
    "printed_host_config",
]

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
    "OomKillDisable": None,
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
}
HOST_MEMBERS = frozenset(_HOST_CONFIG)
#: The limits in HostConfig, which an update may change.
RESOURCES = tuple(_HOST_CONFIG)[
    tuple(_HOST_CONFIG).index("CpuShares") : tuple(_HOST_CONFIG).index("IOMaximumBandwidth") + 1
]
_OPTIONAL_IN_HOST = frozenset({"StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init"})
#: Members that older clients write beside HostConfig instead of into it; they count when it says nothing of them.
_OUTSIDE = ("Memory", "MemorySwap", "CpuShares", "CpusetCpus", "VolumeDriver")


def asked_config(body: dict[str, Any]) -> dict[str, Any]:
    """Return the Config of a create request, with every member."""
    config = {
        key: default if body.get(key) is None else body[key] for key, default in CONFIG_DEFAULTS.items()
    }
    for key in ("Cmd", "Entrypoint", "Shell"):
        config[key] = _words(config[key])
    config["Healthcheck"] = shapes.health(config["Healthcheck"])
    return config


def asked_host_config(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the HostConfig of a create request, with every member; None when there is none at all."""
    inner: dict[str, Any] | None = body.get("HostConfig")
    beside = {key: body[key] for key in HOST_MEMBERS if key in body}
    if inner is None and not beside:
        return None
    if inner is None:
        given = beside
    else:
        given = {**inner, **{key: inner.get(key) or beside[key] for key in _OUTSIDE if beside.get(key)}}
    host = {
        key: copy.copy(default) if given.get(key) is None else given[key]
        for key, default in _HOST_CONFIG.items()
    }
    host["CpusetCpus"] = host["CpusetCpus"] or body.get("Cpuset") or ""
    host["NetworkMode"] = host["NetworkMode"] or "default"
    for key in ("CapAdd", "CapDrop"):
        host[key] = _words(host[key])
    shapes.host_lists(host)
    for key, members in (
        ("RestartPolicy", _HOST_CONFIG["RestartPolicy"]),
        ("LogConfig", {"Type": "", "Config": {}}),
    ):
        host[key] = {name: host[key].get(name) or default for name, default in members.items()}
    console = [*host["ConsoleSize"], 0, 0]
    host["ConsoleSize"] = console[:2]
    if (host["PidsLimit"] or 0) <= 0:
        # 0 and -1 are "any number"; dockerd keeps neither
        host["PidsLimit"] = None
    return host


def merge_config(
    config: dict[str, Any], image: dict[str, Any] | None, *, with_host_config: bool = True
) -> None:
    """Add to an asked Config what the image's says; `image` is None for none, `{}` for one that says nothing.

    Raises EngineError 400 when there is nothing to run.
    """
    if with_host_config and config["Volumes"] is None:
        config["Volumes"] = {}
    if image is not None:
        _merge_image(config, image)
    if config["Entrypoint"] == [""]:
        config["Entrypoint"] = None
    if not config["Entrypoint"] and not config["Cmd"]:
        raise invalid("No command specified")


def _merge_image(config: dict[str, Any], image: dict[str, Any]) -> None:
    for key in ("User", "WorkingDir", "StopSignal"):
        config[key] = config[key] or image.get(key) or ""
    config["Env"] = _merge_environment(config["Env"], image.get("Env"))
    config["Labels"] = {**(image.get("Labels") or {}), **(config["Labels"] or {})}
    for key in ("ExposedPorts", "Volumes"):
        config[key] = {**config[key], **(image.get(key) or {})} if config[key] else copy.copy(image.get(key))
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = image.get("Cmd")
        if config["Entrypoint"] is None:
            config["Entrypoint"] = image.get("Entrypoint")
    health = shapes.health(image.get("Healthcheck"))
    if health is not None:
        config["Healthcheck"] = health | (config["Healthcheck"] or {})


def _merge_environment(asked: list[str] | None, image: list[str] | None) -> list[str] | None:
    if not asked:
        return image
    names = {variable.partition("=")[0] for variable in asked}
    return asked + [variable for variable in image or [] if variable.partition("=")[0] not in names]


def finish_host_config(
    host: dict[str, Any],
    *,
    shm_size: int,
    log_driver: str,
    log_options: dict[str, str],
    unified: bool,
    ipc_mode: str = "private",
    cgroup_namespace: str = "",
    find: Callable[[str], Container],
) -> None:
    """Give a HostConfig the engine's defaults; `unified` says that the host has cgroup version 2 only.

    `find` returns another container by its name, for the modes `container:NAME`. Raises EngineError 400.
    """
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = 2 * host["Memory"]
    host["ShmSize"] = host["ShmSize"] or shm_size
    host["IpcMode"] = host["IpcMode"] or ipc_mode
    if not host["CgroupnsMode"]:
        # on version 1 a privileged container sees the host's groups, whatever the default
        is_open = host["Privileged"] and not unified
        host["CgroupnsMode"] = "host" if is_open else cgroup_namespace or ("private" if unified else "host")
    for key in ("PidMode", "IpcMode", "NetworkMode"):
        _by_id(host, key, find)
    host["SecurityOpt"] = _with_labels_off(host, find)
    if host["OomKillDisable"] is None:
        host["OomKillDisable"] = False
    logs = host["LogConfig"]
    logs["Type"] = logs["Type"] or log_driver
    if logs["Type"] == log_driver:
        logs["Config"] = {**log_options, **logs["Config"]}
    if not host["Privileged"]:
        host["MaskedPaths"] = list(MASKED_PATHS) if host["MaskedPaths"] is None else host["MaskedPaths"]
        host["ReadonlyPaths"] = (
            list(READONLY_PATHS) if host["ReadonlyPaths"] is None else host["ReadonlyPaths"]
        )


def _by_id(host: dict[str, Any], key: str, find: Callable[[str], Container]) -> None:
    """Put a container's id into a mode, so that the mode still means it when it is renamed; an unknown one stays."""
    prefix, colon, name = host[key].partition(":")
    if prefix == "container" and colon:
        try:
            host[key] = f"container:{find(name).id}"
        except EngineError:
            return


def _with_labels_off(host: dict[str, Any], find: Callable[[str], Container]) -> list[str] | None:
    """Return SecurityOpt; labels are off where a container sees the host's processes, unless the user speaks of labels."""
    asked: list[str] | None = host["SecurityOpt"]
    if any(option.partition("=")[0] == "label" for option in asked or []):
        return asked
    if host["IpcMode"] == "host" or host["PidMode"] == "host" or host["Privileged"]:
        return [*(asked or []), "label=disable"]
    for key in ("IpcMode", "PidMode"):
        prefix, _colon, name = host[key].partition(":")
        if prefix == "container" and name:
            try:
                find(name)  # dockerd takes over its labels, of which there are none without SELinux
            except EngineError as error:
                raise invalid(error.message) from error
    return asked


def printed_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return Config without the members that are not printed when they say nothing."""
    return {
        key: value
        for key, value in config.items()
        if not (key in NOT_WHEN_EMPTY and not value) and not (key in NOT_WHEN_NULL and value is None)
    }


def printed_host_config(host: dict[str, Any]) -> dict[str, Any]:
    """Return HostConfig without the members that are not printed when they say nothing."""
    return {
        key: value
        for key, value in host.items()
        if key not in _OPTIONAL_IN_HOST or value or (key == "Init" and value is not None)
    }


def command_of(config: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return Path and Args of a container."""
    words = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    return words[0], tuple(words[1:])


def _words(value: Any) -> Any:
    """Return words; a string is one."""
    return [value] if isinstance(value, str) else value
