"""The flags of the daemon: their names, kinds and keys in daemon.json, and the command line read by them.

Every flag that is taken does something; those that this engine can't follow are known, so that they are refused with a
reason (`checks.verify`). Messages and exit status are dockerd 20.10's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sixhops.dockerd.options import ulimits
from sixhops.dockerd.options.checks import ENTRIES, STOCK_RUNTIME, check_address
from sixhops.dockerd.options.model import FlagError, Options, RuntimeProgram
from sixhops.dockerd.units import parse_size

__all__ = ["FLAGS", "Flag", "pool", "read", "usage"]

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True, slots=True)
class Flag:
    """`kind`: text, bool, int, list, map, size, runtime, ip, pool, ulimit; in daemon.json alone also features and object.

    `name` is "" for what only daemon.json can say; `key` is the name there, "" if it can't be there. A `hidden` flag is one
    that dockerd takes and does not show; `deprecated` is what it says about one.
    """

    name: str
    attribute: str
    kind: str
    key: str
    short: str = ""
    hidden: bool = False
    deprecated: str = ""


_SWARM = "Swarm classic is deprecated. Please use Swarm-mode (docker swarm init)"
FLAGS = (
    Flag("add-runtime", "runtimes", "runtime", "runtimes"),
    Flag("allow-nondistributable-artifacts", "nondistributable", "list", "allow-nondistributable-artifacts"),
    Flag("api-cors-header", "cors_header", "text", "api-cors-header"),
    Flag("authorization-plugin", "authorization_plugins", "list", "authorization-plugins"),
    Flag("bip", "bip", "text", "bip"),
    Flag("bridge", "bridge", "text", "bridge", "b"),
    Flag("cgroup-parent", "cgroup_parent", "text", "cgroup-parent"),
    Flag("cluster-advertise", "cluster_advertise", "text", "cluster-advertise", deprecated=_SWARM),
    Flag("cluster-store", "cluster_store", "text", "cluster-store", deprecated=_SWARM),
    Flag("cluster-store-opt", "cluster_store_options", "map", "cluster-store-opts", deprecated=_SWARM),
    Flag("config-file", "config_file", "text", ""),
    Flag("containerd", "containerd", "text", "containerd"),
    Flag("containerd-namespace", "containerd_namespace", "text", "containerd-namespace"),
    # dockerd's key has another name than its flag, and is refused because of that
    Flag("containerd-plugins-namespace", "containerd_plugins_namespace", "text", ""),
    Flag("cpu-rt-period", "cpu_rt_period", "int", "cpu-rt-period"),
    Flag("cpu-rt-runtime", "cpu_rt_runtime", "int", "cpu-rt-runtime"),
    Flag("cri-containerd", "cri_containerd", "bool", "cri-containerd"),
    Flag("data-root", "data_root", "text", "data-root"),
    Flag("debug", "debug", "bool", "debug", "D"),
    Flag("default-address-pool", "default_address_pools", "pool", "default-address-pools"),
    Flag("default-cgroupns-mode", "default_cgroupns_mode", "text", "default-cgroupns-mode"),
    Flag("default-gateway", "default_gateway", "ip", "default-gateway"),
    Flag("default-gateway-v6", "default_gateway_v6", "ip", "default-gateway-v6"),
    Flag("default-ipc-mode", "default_ipc_mode", "text", "default-ipc-mode"),
    Flag("default-runtime", "default_runtime", "text", "default-runtime"),
    Flag("default-shm-size", "default_shm_size", "size", "default-shm-size"),
    Flag("default-ulimit", "default_ulimits", "ulimit", "default-ulimits"),
    Flag("dns", "dns", "list", "dns"),
    Flag("dns-opt", "dns_opts", "list", "dns-opts"),
    Flag("dns-search", "dns_search", "list", "dns-search"),
    Flag("exec-opt", "exec_options", "list", "exec-opts"),
    Flag("exec-root", "exec_root", "text", "exec-root"),
    Flag("experimental", "experimental", "bool", "experimental"),
    Flag("fixed-cidr", "fixed_cidr", "text", "fixed-cidr"),
    Flag("fixed-cidr-v6", "fixed_cidr_v6", "text", "fixed-cidr-v6"),
    Flag("graph", "data_root", "text", "graph", "g", hidden=True),
    Flag("group", "group", "text", "group", "G"),
    Flag("help", "help", "bool", ""),
    Flag("host", "hosts", "list", "hosts", "H"),
    Flag("host-gateway-ip", "host_gateway_ip", "ip", "host-gateway-ip"),
    Flag("icc", "icc", "bool", "icc"),
    Flag("init", "init", "bool", "init"),
    Flag("init-path", "init_path", "text", "init-path"),
    Flag("insecure-registry", "insecure_registries", "list", "insecure-registries"),
    Flag("ip", "ip", "ip", "ip"),
    Flag("ip-forward", "ip_forward", "bool", "ip-forward"),
    Flag("ip-masq", "ip_masq", "bool", "ip-masq"),
    Flag("ip6tables", "ip6tables", "bool", "ip6tables"),
    Flag("iptables", "iptables", "bool", "iptables"),
    Flag("ipv6", "ipv6", "bool", "ipv6"),
    Flag("label", "labels", "list", "labels"),
    Flag("live-restore", "live_restore", "bool", "live-restore"),
    Flag("log-driver", "log_driver", "text", "log-driver"),
    Flag("log-level", "log_level", "text", "log-level", "l"),
    Flag("log-opt", "log_options", "map", "log-opts"),
    Flag("max-concurrent-downloads", "max_concurrent_downloads", "int", "max-concurrent-downloads"),
    Flag("max-concurrent-uploads", "max_concurrent_uploads", "int", "max-concurrent-uploads"),
    Flag("max-download-attempts", "max_download_attempts", "int", "max-download-attempts"),
    Flag("metrics-addr", "metrics_address", "text", "metrics-addr"),
    Flag("mtu", "mtu", "int", "mtu"),
    Flag("network-control-plane-mtu", "network_control_plane_mtu", "int", "network-control-plane-mtu"),
    Flag("network-diagnostic-port", "network_diagnostic_port", "int", "network-diagnostic-port", hidden=True),
    Flag("no-new-privileges", "no_new_privileges", "bool", "no-new-privileges"),
    Flag("node-generic-resource", "generic_resources", "list", "node-generic-resources"),
    Flag("oom-score-adjust", "oom_score_adjust", "int", "oom-score-adjust"),
    Flag("pidfile", "pidfile", "text", "pidfile", "p"),
    Flag("raw-logs", "raw_logs", "bool", "raw-logs"),
    Flag("registry-mirror", "registry_mirrors", "list", "registry-mirrors"),
    Flag(
        "restart",
        "restart",
        "bool",
        "restart",
        "r",
        deprecated="Please use a restart policy on docker run",
    ),
    Flag("rootless", "rootless", "bool", "rootless"),
    Flag("seccomp-profile", "seccomp_profile", "text", "seccomp-profile"),
    Flag("selinux-enabled", "selinux", "bool", "selinux-enabled"),
    Flag("shutdown-timeout", "shutdown_timeout", "int", "shutdown-timeout"),
    Flag("storage-driver", "storage_driver", "text", "storage-driver", "s"),
    Flag("storage-opt", "storage_options", "list", "storage-opts"),
    Flag("swarm-default-advertise-addr", "advertise_address", "text", "swarm-default-advertise-addr"),
    Flag("tls", "tls", "bool", "tls"),
    Flag("tlscacert", "tls_ca", "text", "tlscacert"),
    Flag("tlscert", "tls_certificate", "text", "tlscert"),
    Flag("tlskey", "tls_key", "text", "tlskey"),
    Flag("tlsverify", "tls_verify", "bool", "tlsverify"),
    Flag("userland-proxy", "userland_proxy", "bool", "userland-proxy"),
    Flag("userland-proxy-path", "userland_proxy_path", "text", "userland-proxy-path"),
    Flag("userns-remap", "userns_remap", "text", "userns-remap"),
    Flag("version", "version", "bool", "", "v"),
    Flag("", "builder", "object", "builder"),
    Flag("", "features", "features", "features"),
    Flag("", "trust_key", "text", "deprecated-key-path"),
)
_BY_NAME = {flag.name: flag for flag in FLAGS if flag.name}
_BY_SHORT = {flag.short: flag for flag in FLAGS if flag.short}


def read(arguments: list[str]) -> tuple[Options, dict[str, Any]]:
    """Return the options, and of those that were given the values by the flag's name. Raises FlagError."""
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
        given[flag.name] = getattr(options, flag.attribute)
    if "graph" in given and "data-root" in given:
        raise FlagError('cannot specify both "--graph" and "--data-root" option')
    return options, given


def _flag_of(word: str, rest: list[str]) -> tuple[Flag, str]:
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


def _set(options: Options, flag: Flag, text: str) -> None:
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
            if flag.attribute in ENTRIES:
                try:
                    ENTRIES[flag.attribute](text)
                except FlagError as error:
                    raise _bad(flag, text, str(error)) from None
            value = [*getattr(options, flag.attribute), text]
        case "ip":
            try:
                check_address(text)
            except FlagError as error:
                raise _bad(flag, text, str(error)) from None
        case "ulimit":
            try:
                limit = ulimits.parse(text)
            except ValueError as error:
                raise _bad(flag, text, str(error)) from error
            value = {**options.default_ulimits, limit["Name"]: limit}
        case "pool":
            value = [*options.default_address_pools, pool(flag, text)]
        case "map":
            name, _, member = text.partition("=")
            value = {**getattr(options, flag.attribute), name: member}
        case "runtime":
            name, equals, path = text.partition("=")
            if not (name and equals and path):
                raise _bad(flag, text, f"invalid runtime argument: {text}")
            name = name.strip().lower()
            if name == STOCK_RUNTIME:
                raise _bad(flag, text, f"runtime name '{name}' is reserved")
            if name in options.runtimes:
                raise _bad(flag, text, f"runtime '{name}' was already defined")
            value = {**options.runtimes, name: RuntimeProgram(path.strip())}
        case "size":
            try:
                value = parse_size(text)
            except ValueError as error:
                raise _bad(flag, text, str(error)) from error
        case _:
            pass
    setattr(options, flag.attribute, value)


def pool(flag: Flag, text: str) -> tuple[str, int]:
    """Return what one --default-address-pool says. Raises FlagError."""
    from sixhops.dockerd.networks.ipam import parse_pool  # noqa: PLC0415 - only for this flag

    try:
        return parse_pool(text)
    except ValueError as error:
        raise _bad(flag, text, str(error)) from error


def _bad(flag: Flag, text: str, reason: str) -> FlagError:
    shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    return _status(f'invalid argument "{text}" for "{shown}" flag: {reason}')


def _status(text: str) -> FlagError:
    return FlagError(f"Status: {text}\nSee 'dockerd --help'., Code: 125")


def usage() -> str:
    """Return what --help prints."""
    lines = ["", "Usage:  dockerd [OPTIONS]", "", "A self-sufficient runtime for containers.", "", "Options:"]
    for flag in FLAGS:
        if not flag.name or flag.hidden or flag.deprecated:
            continue
        short = f"-{flag.short}, " if flag.short else "    "
        kind = {"bool": "", "text": " string", "pool": " pool-options", "size": " bytes"}.get(
            flag.kind, f" {flag.kind}"
        )
        lines.append(f"  {short}--{flag.name}{kind}")
    return "\n".join([*lines, ""])
