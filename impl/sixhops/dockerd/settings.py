"""What the flags say, room by room: the settings of containers, networks, images and the engine itself."""

from __future__ import annotations

import os
import platform as platforms
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.settings import ContainerSettings
from sixhops.dockerd.containers.specification.runtimes import Runtimes
from sixhops.dockerd.images.transfer.pull import PullSettings
from sixhops.dockerd.networks.settings import NetworkSettings
from sixhops.dockerd.options.checks import generic_resources
from sixhops.dockerd.system import SystemSettings, architecture
from sixhops.dockerd.version import VERSION
from sixhops.wire.image import Platform

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from sixhops.dockerd.options import Options

__all__ = ["container_settings", "network_settings", "pull_settings", "runtimes_of", "system_settings"]


def runtimes_of(options: Options, data_root: Path, *, shim_is_named: bool = True) -> Runtimes:
    """Return what the flags say about runtimes; `data_root` is where the scripts go. For the rest see `Runtimes`."""
    return Runtimes(
        default=options.default_runtime,
        programs=options.runtimes,
        folder=data_root / "runtimes",
        systemd=options.uses_systemd,
        shim_is_named=shim_is_named,
    )


def container_settings(
    options: Options, data_root: Path, exec_root: Path, seccomp: str | None
) -> ContainerSettings:
    """Return what the flags say about containers; `seccomp` is the text of --seccomp-profile."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    options.default_cgroupns_mode = options.default_cgroupns_mode or ("private" if unified else "host")
    return ContainerSettings(
        data_root=data_root,
        exec_root=exec_root,
        runtimes=runtimes_of(options, data_root),
        cgroup_parent=options.cgroup_parent,
        unified=unified,
        live_restore=options.live_restore,
        restarts=options.restart,
        shm_size=options.default_shm_size,
        init_path=options.init_path,
        init=options.init,
        ulimits=options.default_ulimits,
        no_new_privileges=options.no_new_privileges,
        seccomp=seccomp,
        realtime=(options.cpu_rt_period, options.cpu_rt_runtime),
        ipc_mode=options.default_ipc_mode,
        cgroup_namespace=options.default_cgroupns_mode,
        log_driver=options.log_driver,
        log_options=options.log_options,
        dns=options.dns,
        dns_search=options.dns_search,
        dns_options=options.dns_opts,
    )


def system_settings(
    options: Options, data_root: Path, runtimes: Runtimes, listeners: Sequence[socket.socket]
) -> SystemSettings:
    """Return what the documents about the engine repeat of the flags; `listeners` are those of the API."""
    insecurely = (
        [] if options.tls and options.tls_verify else [listener.getsockname() for listener in listeners]
    )
    scheme = "https" if options.tls else "http"
    return SystemSettings(
        data_root,
        runtimes,
        options.registry_mirrors,
        options.insecure_registries,
        nondistributable=options.nondistributable,
        debug=options.debug,
        live_restore=options.live_restore,
        labels=options.labels,
        log_driver=options.log_driver,
        init_path=options.init_path,
        seccomp_profile=options.seccomp_profile,
        cgroup_namespace=options.default_cgroupns_mode,
        generic_resources=generic_resources(options.generic_resources),
        address_pools=options.default_address_pools,
        experimental=options.experimental,
        exposed=[f"{scheme}://{name[0]}:{name[1]}" for name in insecurely if isinstance(name, tuple)],
    )


def network_settings(options: Options, exec_root: Path) -> NetworkSettings:
    """Return what the flags say about networks."""
    return NetworkSettings(
        exec_root,
        options.bridge,
        options.bip,
        iptables=options.iptables,
        masquerade=options.ip_masq,
        mtu=options.mtu,
        icc=options.icc,
        ip=options.ip,
        ip_forward=options.ip_forward,
        ipv6=options.ipv6,
        fixed_cidr=options.fixed_cidr,
        fixed_cidr_v6=options.fixed_cidr_v6,
        default_gateway=options.default_gateway,
        default_gateway_v6=options.default_gateway_v6,
        userland_proxy=options.userland_proxy,
        userland_proxy_path=options.userland_proxy_path,
        host_gateway_ip=options.host_gateway_ip,
        pools=options.default_address_pools,
    )


def pull_settings(options: Options) -> PullSettings:
    """Return what the flags say about pulls and pushes."""
    kernel = os.uname().release
    agent = (
        f"docker/{VERSION} go/python{platforms.python_version()} git-commit/sixhops kernel/{kernel} "
        f"os/linux arch/{architecture()}"
    )
    return PullSettings(
        mirrors=tuple(options.registry_mirrors),
        insecure=tuple(options.insecure_registries),
        platform=Platform(architecture()),
        agent=agent,
        concurrency=options.max_concurrent_downloads,
        uploads=options.max_concurrent_uploads,
        attempts=options.max_download_attempts,
    )
