"""Whether a container may be as it was asked for: dockerd's checks, in dockerd's order, with its words and statuses.

`check_request` looks at the request alone, `validate` at both documents and at what this host can do, `check_networking` at
the endpoints. Source: moby 20.10, runconfig/hostconfig*.go, and `verifyContainerSettings` in daemon/container.go and
daemon/daemon_unix.go.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks import limits, mountspecs
from sixhops.dockerd.containers.checks.kernel import forwards_ipv4, this_kernel
from sixhops.dockerd.containers.checks.signals import parse_signal
from sixhops.dockerd.containers.specification import capabilities
from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from sixhops.dockerd.containers.specification.runtimes import Runtimes

__all__ = ["check_networking", "check_ports", "check_request", "check_restart_policy", "validate"]

_MILLISECOND = 1_000_000
_PORT = re.compile(r"[0-9]+", re.ASCII)
_HIGHEST_PORT = 65535
_CONFLICT = "conflicting options: "
_UNDEFINED = "This would result in undefined behavior"


def check_request(config: dict[str, Any], host: dict[str, Any]) -> None:
    """Check what dockerd checks while it reads the request. Raises EngineError 400, and 500 where dockerd does.

    `config` is the body itself, `host` the HostConfig asked for, complete with its members' defaults.
    """
    mode = host["NetworkMode"]
    if mode == "container" or (mode.startswith("container:") and not mode.split(":")[1]):
        raise invalid("Invalid network mode: invalid container format container:<name|id>")
    joins, is_host = mode.startswith("container:"), mode == "host"
    refusals = (
        (joins and config.get("Hostname"), "hostname and the network mode"),
        (joins and host["Links"], f"container type network can't be used with links. {_UNDEFINED}"),
        (joins and host["Dns"], "dns and the network mode"),
        (joins and host["ExtraHosts"], "custom host-to-IP mapping and the network mode"),
        ((joins or is_host) and config.get("MacAddress"), "mac-address and the network mode"),
        (
            joins and (host["PortBindings"] or host["PublishAllPorts"]),
            "port publishing and the container type network mode",
        ),
        (joins and config.get("ExposedPorts"), "port exposing and the container type network mode"),
        (host["UTSMode"] == "host" and config.get("Hostname"), "hostname and the UTS mode"),
        (is_host and host["Links"], f"host type networking can't be used with links. {_UNDEFINED}"),
    )
    for holds, words in refusals:
        if holds:
            raise invalid(_CONFLICT + words)
    if host["Isolation"].lower() not in {"", "default"}:
        raise system(f"Invalid isolation: {quote(host['Isolation'])} - linux only supports 'default'")
    if host["IOMaximumBandwidth"]:
        raise system("Invalid QoS settings: linux does not support configuration of maximum bandwidth")
    if host["IOMaximumIOps"]:
        raise system("Invalid QoS settings: linux does not support configuration of maximum IOPs")
    period, runtime = host["CpuRealtimePeriod"], host["CpuRealtimeRuntime"]
    if (period or runtime) and not this_kernel().realtime:
        raise system("Your kernel does not support CPU real-time scheduler")
    if period and runtime > period:
        raise system("cpu real-time runtime cannot be higher than cpu real-time period")


def validate(
    config: dict[str, Any] | None, host: dict[str, Any] | None, runtimes: Runtimes, *, update: bool = False
) -> list[str]:
    """Check both documents, and take out of `host` what this kernel can't do; return warnings. Raises EngineError 400.

    `config` is None at a start, when only the host may have changed; `host` is None when a request has none.
    """
    if config is not None:
        _check_config(config)
    if host is None:
        return []
    _check_host(host)
    warnings = limits.check(host, this_kernel(), update=update)
    if host["ShmSize"] < 0:
        raise invalid("SHM size can not be less than 0")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise invalid(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    if host["NetworkMode"] not in {"host", "none"} and not forwards_ipv4():
        warnings.append("IPv4 forwarding is disabled. Networking will not work.")
    if host["NetworkMode"] == "host" and host["PortBindings"]:
        warnings.append("Published ports are discarded when using host network mode")
    parent = host["CgroupParent"]
    if parent and runtimes.systemd and (len(parent) <= len(".slice") or not parent.endswith(".slice")):
        raise invalid('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"')
    host["Runtime"] = host["Runtime"] or runtimes.default
    runtimes.get(host["Runtime"])
    for place in host.get("Tmpfs") or {}:
        mountspecs.check_place(place)
    if host["CgroupnsMode"] not in {"", "private", "host"}:
        raise invalid(f"invalid cgroup namespace mode: {host['CgroupnsMode']}")
    if host["CgroupnsMode"] == "private" and not this_kernel().cgroup_namespaces:
        warnings.append(
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded."
        )
    return warnings


def check_networking(networking: dict[str, Any]) -> None:
    """Check the endpoints of a create request. Raises EngineError 400."""
    endpoints = networking.get("EndpointsConfig") or {}
    if len(endpoints) > 1:
        raise invalid(f"Container cannot be connected to network endpoints: {', '.join(endpoints)}")
    for name, endpoint in endpoints.items():
        if endpoint is None:
            raise invalid(f"no EndpointSettings for {name}")
        addresses = endpoint.get("IPAMConfig") or {}
        for version, key in ((4, "IPv4Address"), (6, "IPv6Address")):
            address = addresses.get(key)
            if address and not _is_address(address, version):
                raise invalid(f"invalid IPv{version} address: {address}")


def _is_address(text: str, version: int) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return version == 4
    return found.version == version


def _check_config(config: dict[str, Any]) -> None:
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise invalid(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    if config.get("StopSignal"):
        parse_signal(config["StopSignal"])
    for variable in config["Env"] or []:
        if variable.startswith("=") or not variable:
            raise invalid(f"invalid environment variable: {variable}")
    health = {"Interval": 0, "Timeout": 0, "StartPeriod": 0, "Retries": 0} | (config["Healthcheck"] or {})
    for key in ("Interval", "Timeout"):
        _check_span(key, health[key])
    if health["Retries"] < 0:
        raise invalid("Retries in Healthcheck cannot be negative")
    _check_span("StartPeriod", health["StartPeriod"])


def _check_span(key: str, nanoseconds: int) -> None:
    if nanoseconds and nanoseconds < _MILLISECOND:
        raise invalid(f"{key} in Healthcheck cannot be less than 1ms")


def _check_host(host: dict[str, Any]) -> None:
    if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in {"", "no"}:
        raise invalid("can't create 'AutoRemove' container with restart policy")
    for entry in host.get("Mounts") or []:
        mountspecs.check_mount(entry)
    for entry in host["ExtraHosts"] or []:
        _check_extra_host(entry)
    check_ports(host["PortBindings"] or {})
    check_restart_policy(host["RestartPolicy"])
    for key in ("CapAdd", "CapDrop"):
        capabilities.normalize(host[key] or [], key)


def _check_extra_host(entry: str) -> None:
    name, colon, address = entry.partition(":")
    if not colon or not name:
        raise invalid(f"bad format for add-host: {quote(entry)}")
    if address == "host-gateway":
        return
    try:
        ipaddress.ip_address(address.strip())
    except ValueError:
        raise invalid(f"invalid IP address in add-host: {quote(address)}") from None


def check_ports(bindings: dict[str, Any]) -> None:
    """Check PortBindings: one port of the container each, one port or a range of the host. Raises EngineError 400."""
    for port, hosts in bindings.items():
        number = _split(port)[1]
        if number and not _is_port(number):
            raise invalid(f"invalid port specification: {quote(number)}")
        for binding in hosts or []:
            text = binding.get("HostPort") or ""
            if not _is_range(_split(text)[1]):
                raise invalid(f"invalid port specification: {quote(text)}")


def _split(text: str) -> tuple[str, str]:
    """Return protocol and number of `80/udp`; tcp when there is none, and nothing at all for nothing."""
    number, _slash, protocol = text.partition("/")
    return (protocol or "tcp", number) if number else ("", "")


def _is_port(text: str) -> bool:
    return bool(_PORT.fullmatch(text)) and int(text) <= _HIGHEST_PORT


def _is_range(text: str) -> bool:
    first, dash, last = text.partition("-")
    if not text:
        return True
    return _is_port(first) and (not dash or (_is_port(last) and int(first) <= int(last)))


def check_restart_policy(policy: dict[str, Any]) -> None:
    """Check a restart policy. Raises EngineError 400."""
    name, retries = policy["Name"], policy["MaximumRetryCount"]
    match name:
        case "always" | "unless-stopped" | "no":
            if retries:
                raise invalid(f"maximum retry count cannot be used with restart policy '{name}'")
        case "on-failure":
            if retries < 0:
                raise invalid("maximum retry count cannot be negative")
        case "":
            return
        case _:
            raise invalid(f"invalid restart policy '{name}'")
