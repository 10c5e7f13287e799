"""The flags of the daemon and of daemon.json, with the messages and the exit status of dockerd 20.10.

Every flag that is taken does something; one that dockerd has and this engine has not is refused as unknown.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sixhops.dockerd import configfile, ulimits

__all__ = ["FlagError", "Options", "parse", "reread", "usage"]

_DEFAULT_CONFIG = "/etc/docker/daemon.json"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_LEVELS = ("debug", "info", "warn", "error", "fatal")


#: Where certificates are looked for unless told.
_CERTIFICATES = Path.home() / ".docker"
_STOCK_RUNTIME = "runc"
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]))*\.?"
)
_SIZE = re.compile(r"\d+(?:\.\d+)* ?[kmgtp]?i?b?", re.IGNORECASE | re.ASCII)


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
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    default_shm_size: str = "64M"
    init_path: str = ""
    init: bool = False
    no_new_privileges: bool = False
    default_ulimits: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    group: str = "docker"
    labels: list[str] = field(default_factory=list)
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    tls: bool | None = None
    tls_verify: bool = False
    tls_ca: str = str(_CERTIFICATES / "ca.pem")
    tls_certificate: str = str(_CERTIFICATES / "cert.pem")
    tls_key: str = str(_CERTIFICATES / "key.pem")
    oom_score_adjust: int = 0
    version: bool = False
    help: bool = False


@dataclass(frozen=True, slots=True)
class _Flag:
    """`kind`: text, bool, int, list, map, runtime, ip, pool or ulimit.

    `key` is the name in daemon.json, "" if it can't be there.
    """

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
    _Flag("max-concurrent-uploads", "max_concurrent_uploads", "int", "max-concurrent-uploads"),
    _Flag("max-download-attempts", "max_download_attempts", "int", "max-download-attempts"),
    _Flag("default-shm-size", "default_shm_size", "text", "default-shm-size"),
    _Flag("init-path", "init_path", "text", "init-path"),
    _Flag("init", "init", "bool", "init"),
    _Flag("no-new-privileges", "no_new_privileges", "bool", "no-new-privileges"),
    _Flag("default-ulimit", "default_ulimits", "ulimit", "default-ulimits"),
    _Flag("default-ipc-mode", "default_ipc_mode", "text", "default-ipc-mode"),
    _Flag("default-cgroupns-mode", "default_cgroupns_mode", "text", "default-cgroupns-mode"),
    _Flag("group", "group", "text", "group", "G"),
    _Flag("label", "labels", "list", "labels"),
    _Flag("log-driver", "log_driver", "text", "log-driver"),
    _Flag("log-opt", "log_options", "map", "log-opts"),
    _Flag("tls", "tls", "bool", "tls"),
    _Flag("tlsverify", "tls_verify", "bool", "tlsverify"),
    _Flag("tlscacert", "tls_ca", "text", "tlscacert"),
    _Flag("tlscert", "tls_certificate", "text", "tlscert"),
    _Flag("tlskey", "tls_key", "text", "tlskey"),
    _Flag("oom-score-adjust", "oom_score_adjust", "int", "oom-score-adjust"),
    _Flag("version", "version", "bool", "", "v"),
    _Flag("help", "help", "bool", ""),
)
_BY_NAME = {flag.name: flag for flag in _FLAGS}
_BY_SHORT = {flag.short: flag for flag in _FLAGS if flag.short}
_BY_KEY = {flag.key: flag for flag in _FLAGS if flag.key}


def parse(arguments: list[str]) -> Options:
    """Return what the command line and the configuration file say together. Raises FlagError."""
    options, given = _flags(arguments)
    if options.help or options.version:
        return options
    _read_file(options, given)
    _validate(options)
    if options.storage_driver != "overlay2":
        raise FlagError(
            f"failed to start daemon: error initializing graphdriver: driver not supported: {options.storage_driver}"
        )
    if options.bridge and options.bip:
        raise FlagError(
            "failed to start daemon: You specified -b & --bip, mutually exclusive options. Please specify only one"
        )
    return options


def reread(arguments: list[str]) -> tuple[Options, frozenset[str]]:
    """Return what the configuration file says now, and the keys that are in it. Raises FlagError.

    `arguments` are those the daemon was started with: what is set there can't be set in the file as well.
    """
    _, given = _flags(arguments)
    options = Options()
    options.config_file = given.get("config_file", "")
    keys = _read_file(options, given)
    try:
        _validate(options)
    except FlagError as error:
        raise FlagError(f"file configuration validation failed: {error}") from error
    return options, keys


def _flags(arguments: list[str]) -> tuple[Options, dict[str, Any]]:
    """Return the options, and of those that were given the values by attribute."""
    options = Options()
    given: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            raise FlagError(
                "\"dockerd\" accepts no argument(s).\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]\n\n"
                "A self-sufficient runtime for containers."
            )
        flag, text = _flag_of(word, rest)
        _set(options, flag, text)
        given[flag.attribute] = getattr(options, flag.attribute)
    return options, given


def _validate(options: Options) -> None:
    """Check what the file and the flags must both keep to. Raises FlagError."""
    for label in options.labels:
        if "=" not in label:
            raise FlagError(f"bad attribute format: {label}")
    for server in options.dns:
        _check_address(server)
    for domain in options.dns_search:
        _check_domain(domain)
    if options.max_concurrent_downloads < 0:
        raise FlagError(f"invalid max concurrent downloads: {options.max_concurrent_downloads}")
    if options.default_runtime not in {_STOCK_RUNTIME, *options.runtimes}:
        raise FlagError(f"specified default runtime '{options.default_runtime}' does not exist")
    if options.default_ipc_mode not in {"private", "shareable"}:
        raise FlagError(
            f'default IPC mode setting ({options.default_ipc_mode}) is invalid; use "shareable" or "private"'
        )
    if options.default_cgroupns_mode not in {"", "host", "private"}:
        raise FlagError(
            f'default cgroup namespace mode ({options.default_cgroupns_mode}) is invalid; use "host" or "private"'
        )
    _check_labels(options.labels)
    if options.log_level not in _LEVELS:
        raise FlagError(f"unable to parse logging level: {options.log_level}")


def _check_labels(labels: list[str]) -> None:
    known: dict[str, str] = {}
    for label in labels:
        name, _, value = label.partition("=")
        if known.setdefault(name, value) != value:
            raise FlagError(f"conflict labels for {name}={value} and {name}={known[name]}")


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise FlagError(f"{text} is not an ip address") from None


def _check_domain(text: str) -> None:
    if text != "." and not _DOMAIN.fullmatch(text):
        raise FlagError(f"{text} is not a valid domain")


def _check_mirror(text: str) -> None:
    url = urllib.parse.urlsplit(text)
    if url.scheme not in {"http", "https"}:
        raise FlagError(f'invalid mirror: unsupported scheme "{url.scheme}" in "{text}"')
    if url.path.strip("/") or url.query or url.fragment:
        raise FlagError(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')


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
            if flag.attribute in _ENTRY_CHECKS:
                try:
                    _ENTRY_CHECKS[flag.attribute](text)
                except FlagError as error:
                    raise _bad(flag, text, str(error)) from None
            value = [*getattr(options, flag.attribute), text]
        case "ip":
            try:
                _check_address(text)
            except FlagError as error:
                raise _bad(flag, text, str(error)) from None
        case "ulimit":
            try:
                limit = ulimits.parse(text)
            except ValueError as error:
                raise _bad(flag, text, str(error)) from error
            value = {**options.default_ulimits, limit["Name"]: limit}
        case "pool":
            value = [*options.default_address_pools, _pool(flag, text)]
        case "map":
            name, _, member = text.partition("=")
            value = {**getattr(options, flag.attribute), name: member}
        case "runtime":
            name, equals, path = text.partition("=")
            if not (name and equals and path):
                raise _bad(flag, text, f"invalid runtime argument: {text}")
            name = name.strip().lower()
            if name == _STOCK_RUNTIME:
                raise _bad(flag, text, f"runtime name '{name}' is reserved")
            if name in options.runtimes:
                raise _bad(flag, text, f"runtime '{name}' was already defined")
            value = {**options.runtimes, name: path.strip()}
        case _:
            if flag.attribute == "default_shm_size" and not _SIZE.fullmatch(text):
                raise _bad(flag, text, f"invalid size: '{text}'")
    setattr(options, flag.attribute, value)


def _check_host(text: str) -> None:
    if not text.strip():
        return
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", text.strip()
    if scheme not in {"unix", "tcp", "fd"}:
        raise FlagError(f"Invalid bind address format: {text}")
    host, colon, port = rest.rpartition(":")
    if scheme == "tcp" and colon and "]" not in port and not (port == "" or port.isdigit()):
        raise FlagError(f'parse "tcp://{rest}": invalid port ":{port}" after host')
    if scheme == "tcp" and "/" in host:
        raise FlagError(f"Invalid bind address format: {text}")


def _check_label(text: str) -> None:
    if "=" not in text:
        raise FlagError(f"bad attribute format: {text}")


#: How single values of lists are checked as they are given.
_ENTRY_CHECKS = {
    "hosts": _check_host,
    "labels": _check_label,
    "dns": _check_address,
    "dns_search": _check_domain,
    "registry_mirrors": _check_mirror,
}


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


def _read_file(options: Options, given: dict[str, Any]) -> frozenset[str]:
    """Take what the configuration file says; return the keys that are in it."""
    name = options.config_file or _DEFAULT_CONFIG
    prefix = f"unable to configure the Docker daemon with file {name}: "
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        if not options.config_file:
            return frozenset()
        raise FlagError(f"{prefix}open {name}: no such file or directory") from None
    kinds = {flag.key: flag.kind for flag in _FLAGS if flag.key}
    flagged = {flag.key: given[flag.attribute] for flag in _FLAGS if flag.key and flag.attribute in given}
    try:
        value = configfile.read(data, kinds, flagged)
    except configfile.ConfigError as error:
        raise FlagError(f"{prefix}{error}") from error
    alone = replace(Options(), runtimes=dict(options.runtimes))
    for key, member in value.items():
        if member is None:
            continue
        flag = _BY_KEY[key]
        if flag.kind == "ip":
            try:
                _check_address(member)
            except FlagError as error:
                raise FlagError(f"{prefix}{key}: invalid IP address: {member}") from error
        if flag.kind == "pool":
            member = [
                _pool(flag, f"base={(entry or {}).get('base', '')},size={(entry or {}).get('size', '')}")
                for entry in member
            ]
        if flag.kind == "ulimit":
            member = {
                key: {"Name": "", "Hard": 0, "Soft": 0} | (entry or {}) for key, entry in member.items()
            }
        if flag.kind == "runtime":
            member = {**options.runtimes, **_runtimes(member, prefix)}
        setattr(options, flag.attribute, member)
        setattr(alone, flag.attribute, member)
    try:
        _validate_file(alone)
    except FlagError as error:
        raise FlagError(f"{prefix}configuration validation from file failed: {error}") from error
    return frozenset(value)


def _validate_file(alone: Options) -> None:
    """Check what the file says by itself, but for what is checked again with the flags and said in other words."""
    _validate(
        replace(
            alone,
            log_level="info",
            labels=[*{label.partition("=")[0]: label for label in alone.labels}.values()],
        )
    )


def _runtimes(value: dict[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, entry in value.items():
        if name == _STOCK_RUNTIME:
            raise FlagError(
                f"{prefix}configuration validation from file failed: runtime name '{name}' is reserved"
            )
        if (entry or {}).get("runtimeArgs"):
            raise FlagError(f"{prefix}runtime {name}: this engine gives runtimes no arguments of its own")
        found[name] = str((entry or {}).get("path") or name)
    return found


def usage() -> str:
    """Return what --help prints."""
    lines = ["", "Usage:  dockerd [OPTIONS]", "", "A self-sufficient runtime for containers.", "", "Options:"]
    for flag in sorted(_FLAGS, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        kind = {"bool": "", "text": " string", "pool": " pool-options"}.get(flag.kind, f" {flag.kind}")
        lines.append(f"  {short}--{flag.name}{kind}")
    return "\n".join([*lines, ""])
