"""What flags and daemon.json must keep to, with the messages of dockerd 20.10.

Single values are checked as they are given (`ENTRIES`), the whole as dockerd's `Validate` (daemon/config) does, and what
must fit together when the engine starts (`verify`: `verifyDaemonSettings` and its neighbours). There too is refused what
dockerd has and this engine has not.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import TYPE_CHECKING

from sixhops.dockerd.options.model import FlagError
from sixhops.dockerd.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.options.model import Options

__all__ = ["ENTRIES", "STOCK_RUNTIME", "check_address", "generic_resources", "validate", "verify"]

STOCK_RUNTIME = "runc"
#: Runtimes that need not be added: the stock one, and dockerd's shim under its own name.
_BUILT_IN = frozenset({STOCK_RUNTIME, "io.containerd.runc.v2"})
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9])"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9])(?::[0-9]+)?")
_START = "failed to start daemon: "
_BOOLS = frozenset({"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"})


def validate(options: Options) -> None:
    """Check what the file by itself, the flags by themselves, and both together must keep to. Raises FlagError."""
    for label in options.labels:
        _check_label(label)
    for server in options.dns:
        check_address(server)
    for domain in options.dns_search:
        _check_domain(domain)
    if options.max_concurrent_downloads < 0:
        raise FlagError(f"invalid max concurrent downloads: {options.max_concurrent_downloads}")
    if options.max_concurrent_uploads < 0:
        raise FlagError(f"invalid max concurrent uploads: {options.max_concurrent_uploads}")
    if options.max_download_attempts <= 0:
        raise FlagError(f"invalid max download attempts: {options.max_download_attempts}")
    generic_resources(options.generic_resources)
    if options.default_runtime not in {*_BUILT_IN, *options.runtimes}:
        raise FlagError(f"specified default runtime '{options.default_runtime}' does not exist")
    _check_modes(options)
    _check_labels(options.labels)
    if options.log_level not in _LEVELS:
        raise FlagError(f"unable to parse logging level: {options.log_level}")


def verify(options: Options) -> None:
    """Check what must fit together when the engine starts, in dockerd's order. Raises FlagError."""
    if options.containerd_namespace == options.containerd_plugins_namespace:
        raise FlagError(f"{_START}containers namespace and plugins namespace cannot be the same")
    if options.bridge and options.bip:
        raise FlagError(
            f"{_START}You specified -b & --bip, mutually exclusive options. Please specify only one"
        )
    if not options.iptables and not options.icc:
        raise FlagError(
            f"{_START}You specified --iptables=false with --icc=false. ICC=false uses iptables to function. "
            "Please set --icc or --iptables to true"
        )
    if options.ip6tables and not options.experimental:
        raise FlagError(f"{_START}ip6tables rules are only available if experimental features are enabled")
    _check_cgroups(options)
    _check_registries(options.nondistributable)
    if options.storage_driver not in {"", "overlay2"}:
        raise FlagError(f"{_START}error initializing graphdriver: driver not supported")
    _check_storage(options.storage_options)
    for plugin in options.authorization_plugins:
        raise FlagError(f'failed to validate authorization plugin: plugin "{plugin}" not found')
    _check_absent(options)


def check_address(text: str) -> None:
    """Check an address of either version. Raises FlagError."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise FlagError(f"{text} is not an ip address") from None


def generic_resources(entries: Sequence[str]) -> list[dict[str, dict[str, str | int]]]:
    """Return --node-generic-resource as /info shows it: one number of a kind, or names of things. Raises FlagError."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        parts = entry.split("=")
        if len(parts) != 2:
            raise FlagError(
                f"could not parse GenericResource: incorrect term {entry}, missing '=' or malformed expression"
            )
        found.setdefault(parts[0].strip(), []).append(parts[1].strip())
    shown: list[dict[str, dict[str, str | int]]] = []
    for kind, values in found.items():
        numbers = [value for value in values if re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII)]
        if len(values) == 1 and numbers:
            if int(values[0]) < 0:
                raise FlagError(f"could not parse GenericResource: cannot ask for negative resource {kind}")
            shown.append({"DiscreteResourceSpec": {"Kind": kind, "Value": int(values[0])}})
        elif numbers:
            raise FlagError(
                "could not parse GenericResource: mixed discrete and named resources in expression "
                f"'{kind}=[{' '.join(values)}]'"
            )
        else:
            shown += [{"NamedResourceSpec": {"Kind": kind, "Value": value}} for value in values]
    return shown


def _check_modes(options: Options) -> None:
    mode, hint = options.default_ipc_mode, 'use "shareable" or "private"'
    if mode in {"host", "none"} or mode.startswith("container:"):
        raise FlagError(f'IPC mode "{mode}" is not supported as default value; {hint}')
    if mode not in {"private", "shareable"}:
        raise FlagError(f"default IPC mode setting ({mode}) is invalid; {hint}")
    if options.default_cgroupns_mode not in {"", "host", "private"}:
        raise FlagError(
            f'default cgroup namespace mode ({options.default_cgroupns_mode}) is invalid; use "host" or "private"'
        )


def _check_labels(labels: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for label in labels:
        name, _, value = label.partition("=")
        if known.setdefault(name, value) != value:
            raise FlagError(f"conflict labels for {name}={value} and {name}={known[name]}")


def _check_cgroups(options: Options) -> None:
    driver = options.cgroup_driver
    if driver == "none":
        raise FlagError(
            f"{_START}native.cgroupdriver option none is internally used and cannot be specified manually"
        )
    if driver not in {"", "cgroupfs", "systemd"}:
        raise FlagError(f"{_START}native.cgroupdriver option {driver} not supported")
    parent = options.cgroup_parent
    if parent and options.uses_systemd and (len(parent) <= len(".slice") or not parent.endswith(".slice")):
        raise FlagError(
            f'{_START}cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        )


def _check_registries(entries: Sequence[str]) -> None:
    for entry in entries:
        prefix = f"{_START}allow-nondistributable-artifacts registry {entry} is not valid: "
        if "://" in entry:
            raise FlagError(
                f"{_START}allow-nondistributable-artifacts registry {entry} should not contain '://'"
            )
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            if not _HOST_AND_PORT.fullmatch(entry):
                raise FlagError(f'{prefix}invalid host "{entry.rpartition(":")[0] or entry}"') from None
            port = entry.rpartition(":")[2] if ":" in entry else "0"
            if int(port) >= 2**16:
                raise FlagError(f'{prefix}invalid port "{port}"') from None


def _check_storage(entries: Sequence[str]) -> None:
    prefix = f"{_START}error initializing graphdriver: "
    for entry in entries:
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals:
            raise FlagError(f"{prefix}Unable to parse key/value option: {entry}")
        match name.lower():
            case "overlay2.override_kernel_check":
                # dockerd reads it and does no more: kernels before 4.0, which it was for, are none of ours
                if value not in _BOOLS:
                    raise FlagError(f'{prefix}strconv.ParseBool: parsing "{value}": invalid syntax')
            case "overlay2.size":
                try:
                    parse_size(value)
                except ValueError as error:
                    raise FlagError(f"{prefix}{error}") from error
            case other:
                raise FlagError(f"{prefix}overlay2: unknown option {other}")


def _check_absent(options: Options) -> None:
    """Refuse what this engine has not, so that nobody relies on it."""
    asked = {
        "cri-containerd": options.cri_containerd,
        "ip6tables": options.ip6tables,
        "network-diagnostic-port": options.network_diagnostic_port,
        "rootless": options.rootless,
        "swarm-default-advertise-addr": options.advertise_address,
        "cluster-store": options.cluster_store,
        "cluster-advertise": options.cluster_advertise,
        "cluster-store-opts": options.cluster_store_options,
        "userns-remap": options.userns_remap and options.userns_remap.partition(":")[0] not in {"root", "0"},
        "builder": options.builder,
        "deprecated-key-path": options.trust_key,
    }
    for name, value in asked.items():
        if value:
            raise FlagError(f"{_START}this engine has no {name}")


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


def _check_domain(text: str) -> None:
    if text != "." and not _DOMAIN.fullmatch(text):
        raise FlagError(f"{text} is not a valid domain")


def _check_mirror(text: str) -> None:
    url = urllib.parse.urlsplit(text)
    if url.scheme not in {"http", "https"}:
        raise FlagError(f'invalid mirror: unsupported scheme "{url.scheme}" in "{text}"')
    if url.path.strip("/") or url.query or url.fragment:
        raise FlagError(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')


def _check_index(text: str) -> None:
    if text.startswith("-") or text.endswith("-"):
        raise FlagError(f"invalid index name ({text}). Cannot begin or end with a hyphen")


def _check_resource(text: str) -> None:
    if "=" not in text:
        raise FlagError(f"invalid node-generic-resource format `{text}` expected `name=value`")


#: How single values of lists are checked as they are given.
ENTRIES = {
    "hosts": _check_host,
    "labels": _check_label,
    "dns": check_address,
    "dns_search": _check_domain,
    "registry_mirrors": _check_mirror,
    "insecure_registries": _check_index,
    "nondistributable": _check_index,
    "generic_resources": _check_resource,
}
