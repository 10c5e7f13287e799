"""What the daemon was told, by flags and by daemon.json."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FlagError", "Options", "RuntimeProgram"]

#: Where certificates are looked for unless told.
_CERTIFICATES = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")


class FlagError(Exception):
    """The command line or the configuration file can't be followed; the message is for the user."""


@dataclass(frozen=True, slots=True)
class RuntimeProgram:
    """An additional runtime: its program (a name on PATH or a path), and arguments that stand before all others."""

    path: str
    arguments: tuple[str, ...] = ()


@dataclass(slots=True)
class Options:
    """Each member is the flag of that name (see `flags.FLAGS`); lists keep their order."""

    hosts: list[str] = field(default_factory=list)
    data_root: str = "/var/lib/docker"
    exec_root: str = "/var/run/docker"
    pidfile: str = "/var/run/docker.pid"
    containerd: str = ""
    containerd_namespace: str = "moby"
    containerd_plugins_namespace: str = "plugins.moby"
    cri_containerd: bool = False
    registry_mirrors: list[str] = field(default_factory=list)
    insecure_registries: list[str] = field(default_factory=list)
    nondistributable: list[str] = field(default_factory=list)
    runtimes: dict[str, RuntimeProgram] = field(default_factory=dict)
    default_runtime: str = "runc"
    bridge: str = ""
    bip: str = ""
    iptables: bool = True
    ip6tables: bool = False
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
    userland_proxy_path: str = ""
    host_gateway_ip: str = ""
    default_address_pools: list[tuple[str, int]] = field(default_factory=list)
    network_control_plane_mtu: int = 1500
    network_diagnostic_port: int = 0
    cgroup_parent: str = ""
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    config_file: str = ""
    debug: bool = False
    log_level: str = "info"
    raw_logs: bool = False
    storage_driver: str = ""
    storage_options: list[str] = field(default_factory=list)
    mtu: int = 1500
    dns: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    dns_opts: list[str] = field(default_factory=list)
    shutdown_timeout: int = 15
    live_restore: bool = False
    restart: bool = True
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    default_shm_size: int = 64 << 20
    exec_options: list[str] = field(default_factory=list)
    init_path: str = ""
    init: bool = False
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    selinux: bool = False
    userns_remap: str = ""
    rootless: bool = False
    default_ulimits: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    group: str = "docker"
    labels: list[str] = field(default_factory=list)
    generic_resources: list[str] = field(default_factory=list)
    features: dict[str, bool] = field(default_factory=dict)
    builder: dict[str, Any] = field(default_factory=dict)
    experimental: bool = False
    cors_header: str = ""
    authorization_plugins: list[str] = field(default_factory=list)
    metrics_address: str = ""
    advertise_address: str = ""
    cluster_store: str = ""
    cluster_advertise: str = ""
    cluster_store_options: dict[str, str] = field(default_factory=dict)
    trust_key: str = ""
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    tls: bool | None = None
    tls_verify: bool | None = None
    tls_ca: str = str(_CERTIFICATES / "ca.pem")
    tls_certificate: str = str(_CERTIFICATES / "cert.pem")
    tls_key: str = str(_CERTIFICATES / "key.pem")
    oom_score_adjust: int = 0
    version: bool = False
    help: bool = False

    @property
    def uses_systemd(self) -> bool:
        """Whether control groups are systemd's: `native.cgroupdriver=systemd` among --exec-opt."""
        return self.cgroup_driver == "systemd"

    @property
    def cgroup_driver(self) -> str:
        """The first `native.cgroupdriver` among --exec-opt, "" for none; others are nobody's and have no effect."""
        for option in self.exec_options:
            name, equals, value = option.partition("=")
            if equals and name.strip().lower() == "native.cgroupdriver":
                return value.strip()
        return ""
