"""The flags of the daemon and of daemon.json, with the messages and the exit status of dockerd 20.10.

Every flag that is taken does something; one that dockerd has and this engine has not is refused as unknown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sixhops.dockerd.api import gojson

__all__ = ["FlagError", "Options", "parse", "usage"]

_DEFAULT_CONFIG = "/etc/docker/daemon.json"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_LEVELS = ("debug", "info", "warn", "error", "fatal")


class FlagError(Exception):
    """The command line or the configuration file can't be followed; the message is for the user."""


@dataclass(slots=True)
class Options:
    """What the daemon was told; lists keep their order."""

    hosts: list[str] = field(default_factory=list)
    data_root: str = "/var/lib/docker"
    exec_root: str = "/var/run/docker"
    pidfile: str = "/var/run/docker.pid"
    containerd: str = ""
    registry_mirrors: list[str] = field(default_factory=list)
    insecure_registries: list[str] = field(default_factory=list)
    runtimes: dict[str, str] = field(default_factory=dict)
    default_runtime: str = "runc"
    bridge: str = ""
    bip: str = ""
    iptables: bool = True
    ip_masq: bool = True
    icc: bool = True
    ip: str = "0.0.0.0"
    ip_forward: bool = True
    ipv6: bool = False
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    userland_proxy: bool = True
    host_gateway_ip: str = ""
    default_address_pools: list[tuple[str, int]] = field(default_factory=list)
    cgroup_parent: str = ""
    config_file: str = ""
    debug: bool = False
    log_level: str = "info"
    storage_driver: str = "overlay2"
    mtu: int = 1500
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    dns_opts: list[str] = field(default_factory=list)
    shutdown_timeout: int = 15
    live_restore: bool = False
    max_concurrent_downloads: int = 3
    default_shm_size: str = "64M"
    init_path: str = ""
    group: str = "docker"
    labels: list[str] = field(default_factory=list)
    version: bool = False
    help: bool = False


@dataclass(frozen=True, slots=True)
class _Flag:
    """`kind`: text, bool, int, list or runtime; `key` is the name in daemon.json ("" when it can't stand there)."""

    name: str
    attribute: str
    kind: str
    key: str
    short: str = ""


_FLAGS = (
    _Flag("host", "hosts", "list", "hosts", "H"),
    _Flag("data-root", "data_root", "text", "data-root"),
    _Flag("exec-root", "exec_root", "text", "exec-root"),
    _Flag("pidfile", "pidfile", "text", "pidfile", "p"),
    _Flag("containerd", "containerd", "text", "containerd"),
    _Flag("registry-mirror", "registry_mirrors", "list", "registry-mirrors"),
    _Flag("insecure-registry", "insecure_registries", "list", "insecure-registries"),
    _Flag("add-runtime", "runtimes", "runtime", "runtimes"),
    _Flag("default-runtime", "default_runtime", "text", "default-runtime"),
    _Flag("bridge", "bridge", "text", "bridge", "b"),
    _Flag("bip", "bip", "text", "bip"),
    _Flag("iptables", "iptables", "bool", "iptables"),
    _Flag("ip-masq", "ip_masq", "bool", "ip-masq"),
    _Flag("icc", "icc", "bool", "icc"),
    _Flag("ip", "ip", "ip", "ip"),
    _Flag("ip-forward", "ip_forward", "bool", "ip-forward"),
    _Flag("ipv6", "ipv6", "bool", "ipv6"),
    _Flag("fixed-cidr", "fixed_cidr", "text", "fixed-cidr"),
    _Flag("fixed-cidr-v6", "fixed_cidr_v6", "text", "fixed-cidr-v6"),
    _Flag("default-gateway", "default_gateway", "ip", "default-gateway"),
    _Flag("default-gateway-v6", "default_gateway_v6", "ip", "default-gateway-v6"),
    _Flag("userland-proxy", "userland_proxy", "bool", "userland-proxy"),
    _Flag("host-gateway-ip", "host_gateway_ip", "ip", "host-gateway-ip"),
    _Flag("default-address-pool", "default_address_pools", "pool", "default-address-pools"),
    _Flag("cgroup-parent", "cgroup_parent", "text", "cgroup-parent"),
    _Flag("config-file", "config_file", "text", ""),
    _Flag("debug", "debug", "bool", "debug", "D"),
    _Flag("log-level", "log_level", "text", "log-level", "l"),
    _Flag("storage-driver", "storage_driver", "text", "storage-driver", "s"),
    _Flag("mtu", "mtu", "int", "mtu"),
    _Flag("dns", "dns", "list", "dns"),
    _Flag("dns-search", "dns_search", "list", "dns-search"),
    _Flag("dns-opt", "dns_opts", "list", "dns-opts"),
    _Flag("shutdown-timeout", "shutdown_timeout", "int", "shutdown-timeout"),
    _Flag("live-restore", "live_restore", "bool", "live-restore"),
    _Flag("max-concurrent-downloads", "max_concurrent_downloads", "int", "max-concurrent-downloads"),
    _Flag("default-shm-size", "default_shm_size", "text", "default-shm-size"),
    _Flag("init-path", "init_path", "text", "init-path"),
    _Flag("group", "group", "text", "group", "G"),
    _Flag("label", "labels", "list", "labels"),
    _Flag("version", "version", "bool", "", "v"),
    _Flag("help", "help", "bool", ""),
)
_BY_NAME = {flag.name: flag for flag in _FLAGS}
_BY_SHORT = {flag.short: flag for flag in _FLAGS if flag.short}
_BY_KEY = {flag.key: flag for flag in _FLAGS if flag.key}


def parse(arguments: list[str]) -> Options:
    """Return what the command line and the configuration file say together. Raises FlagError."""
    options = Options()
    given: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            raise FlagError(
                "\"dockerd\" accepts no argument(s).\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]"
            )
        flag, text = _flag_of(word, rest)
        _set(options, flag, text)
        given[flag.attribute] = getattr(options, flag.attribute)
    if options.help or options.version:
        return options
    _read_file(options, given)
    if options.log_level not in _LEVELS:
        raise FlagError(f"unable to parse logging level: {options.log_level}")
    if options.storage_driver != "overlay2":
        raise FlagError(
            f"failed to start daemon: error initializing graphdriver: driver not supported: {options.storage_driver}"
        )
    if options.bridge and options.bip:
        raise FlagError(
            "failed to start daemon: You specified -b & --bip, mutually exclusive options. Please specify only one"
        )
    return options


def _flag_of(word: str, rest: list[str]) -> tuple[_Flag, str]:
    if word.startswith("--"):
        name, has_value, text = word[2:].partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            raise _status(f"unknown flag: --{name}")
        shown = f"--{name}"
    else:
        flag = _BY_SHORT.get(word[1])
        if flag is None:
            raise _status(f"unknown shorthand flag: {word[1]!r} in {word}")
        text = word[2:]
        has_value = "=" if text else ""
        if flag.kind == "bool" and text and not text.startswith("="):
            rest.insert(0, f"-{text}")
            text, has_value = "", ""
        text = text.removeprefix("=")
        shown = f"{word[1]!r} in {word}"
    if has_value:
        return flag, text
    if flag.kind == "bool":
        return flag, "true"
    if not rest:
        raise _status(f"flag needs an argument: {shown}")
    return flag, rest.pop(0)


def _set(options: Options, flag: _Flag, text: str) -> None:
    value: Any = text
    match flag.kind:
        case "bool":
            if text not in _TRUE | _FALSE:
                raise _bad(flag, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')
            value = text in _TRUE
        case "int":
            if not text.lstrip("+-").isdigit():
                raise _bad(flag, text, f'strconv.ParseInt: parsing "{text}": invalid syntax')
            value = int(text)
        case "list":
            if flag.attribute == "hosts":
                _check_host(flag, text)
            value = [*getattr(options, flag.attribute), text]
        case "runtime":
            name, equals, path = text.partition("=")
            if not (name and equals and path):
                raise _bad(flag, text, f"invalid runtime specified: {text}")
            value = {**options.runtimes, name: path}
        case "ip":
            if not _is_address(text):
                raise _bad(flag, text, f"{text} is not an ip address")
        case "pool":
            value = [*options.default_address_pools, _pool(flag, text)]
    setattr(options, flag.attribute, value)


def _check_host(flag: _Flag, text: str) -> None:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"unix", "tcp", "fd"}:
        raise _bad(flag, text, f"Invalid bind address format: {text}")
    if scheme == "tcp" and rest and not rest.rpartition(":")[2].isdigit():
        raise _bad(flag, text, f"Invalid bind address format: {text}")


def _is_address(text: str) -> bool:
    import ipaddress  # noqa: PLC0415 - only for those flags

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _pool(flag: _Flag, text: str) -> tuple[str, int]:
    from sixhops.dockerd.networks.ipam import parse_pool  # noqa: PLC0415 - only for this flag

    try:
        return parse_pool(text)
    except ValueError as error:
        raise _bad(flag, text, str(error)) from error


def _bad(flag: _Flag, text: str, reason: str) -> FlagError:
    shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    return _status(f'invalid argument "{text}" for "{shown}" flag: {reason}')


def _status(text: str) -> FlagError:
    return FlagError(f"Status: {text}\nSee 'dockerd --help'., Code: 125")


def _read_file(options: Options, given: dict[str, Any]) -> None:
    name = options.config_file or _DEFAULT_CONFIG
    prefix = f"unable to configure the Docker daemon with file {name}: "
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        if not options.config_file:
            return
        raise FlagError(f"{prefix}open {name}: no such file or directory") from None
    try:
        value = gojson.decode(data) if data.strip() else {}
    except gojson.GoJsonError as error:
        raise FlagError(f"{prefix}{error}") from error
    if not isinstance(value, dict):
        raise FlagError(f"{prefix}json: cannot unmarshal into a configuration")
    unknown = sorted(set(value) - set(_BY_KEY))
    if unknown:
        raise FlagError(
            f"{prefix}the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    conflicts = [
        f"{key}: (from flag: {_go(given[_BY_KEY[key].attribute])}, from file: {_go(value[key])})"
        for key in sorted(value)
        if _BY_KEY[key].attribute in given and _BY_KEY[key].kind != "runtime"
    ]
    if conflicts:
        raise FlagError(
            f"{prefix}the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )
    for key, member in value.items():
        _take(options, _BY_KEY[key], member, prefix)


def _take(options: Options, flag: _Flag, value: object, prefix: str) -> None:
    kinds: dict[str, type] = {
        "text": str,
        "bool": bool,
        "int": int,
        "list": list,
        "runtime": dict,
        "ip": str,
        "pool": list,
    }
    wanted = kinds[flag.kind]
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise FlagError(f"{prefix}{flag.key}: cannot use {json.dumps(value)}")
    if flag.kind == "runtime":
        assert isinstance(value, dict)
        value = options.runtimes | {name: str(entry["path"]) for name, entry in value.items()}
    if flag.kind == "ip" and not _is_address(str(value)):
        raise FlagError(f"{prefix}{flag.key}: invalid IP address: {value}")
    if flag.kind == "pool":
        assert isinstance(value, list)
        value = [_pool(flag, f"base={entry.get('base', '')},size={entry.get('size', '')}") for entry in value]
    if flag.kind == "list":
        assert isinstance(value, list)
        for entry in value:
            if flag.attribute == "hosts":
                _check_host(flag, str(entry))
        value = [str(entry) for entry in value]
    setattr(options, flag.attribute, value)


def _go(value: object) -> str:
    """Return a value as Go's %v prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(map(str, value))}]"
    return str(value)


def usage() -> str:
    """Return what --help prints."""
    lines = ["", "Usage:  dockerd [OPTIONS]", "", "A self-sufficient runtime for containers.", "", "Options:"]
    for flag in sorted(_FLAGS, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        kind = {
            "bool": "",
            "text": " string",
            "int": " int",
            "list": " list",
            "runtime": " runtime",
            "ip": " ip",
            "pool": " pool-options",
        }[flag.kind]
        lines.append(f"  {short}--{flag.name}{kind}")
    return "\n".join([*lines, ""])
