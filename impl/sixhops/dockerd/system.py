"""The engine as a whole: GET /version, /info and /system/df, from what the machine and the flags say."""

from __future__ import annotations

import asyncio
import base64
import os
import platform
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.containers.checks.kernel import this_kernel
from sixhops.dockerd.containers.logs.drivers import LOG_DRIVERS
from sixhops.dockerd.containers.specification.initprogram import Init, describe
from sixhops.dockerd.containers.specification.security import apparmor_is_on
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.version import API_VERSION, MINIMUM_API_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.manager import Containers
    from sixhops.dockerd.containers.specification.runtimes import Runtimes
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.service import Images
    from sixhops.dockerd.state import State

__all__ = ["FILE_SYSTEMS", "System", "SystemSettings", "architecture"]

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CGROUPS = Path("/sys/fs/cgroup")
_EXT_MAGIC = 0xEF53
#: Names of file systems as storage drivers say them, by their magic numbers (statfs(2)).
FILE_SYSTEMS = {
    _EXT_MAGIC: "extfs",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlayfs",
}
_RUNC_TIMEOUT = 5.0


@dataclass(slots=True)
class SystemSettings:
    """What the flags say that the documents repeat. A reload changes it.

    `cgroup_namespace`: private or host. `generic_resources` as /info shows them. `exposed` are URLs at which anybody can
    speak to the engine.
    """

    data_root: Path
    runtimes: Runtimes
    mirrors: Sequence[str] = ()
    insecure: Sequence[str] = ()
    nondistributable: Sequence[str] = ()
    debug: bool = False
    live_restore: bool = False
    labels: Sequence[str] = ()
    log_driver: str = "json-file"
    init_path: str = ""
    seccomp_profile: str = ""
    cgroup_namespace: str = "host"
    generic_resources: Sequence[dict[str, Any]] = ()
    address_pools: Sequence[tuple[str, int]] = ()
    exposed: Sequence[str] = ()
    experimental: bool = False


def architecture() -> str:
    """Return this machine's architecture in Go's words."""
    machine = platform.machine()
    return _GO_ARCHITECTURES.get(machine, machine)


class System:
    """The documents about the engine."""

    def __init__(
        self,
        settings: SystemSettings,
        state: State,
        containers: Containers,
        images: Images,
        events: Events,
        containerd: Containerd,
        backing: int,
    ) -> None:
        """`backing` is the file system magic (statfs) that the data root is on."""
        self._settings = settings
        self._state = state
        self._containers = containers
        self._images = images
        self._events = events
        self._containerd = containerd
        self._backing = FILE_SYSTEMS.get(backing, "<unknown>")
        self._runc: tuple[str, str] | None = None
        self._init: Init | None = None

    @property
    def identity(self) -> str:
        """Return the engine's id: made once, kept in its state."""
        row = self._state.row("SELECT value FROM settings WHERE key = 'id'")
        if row is not None:
            return str(row[0])
        text = base64.b32encode(secrets.token_bytes(30)).decode()
        identity = ":".join(text[at : at + 4] for at in range(0, 48, 4))
        with self._state.change() as database:
            database.execute("INSERT OR IGNORE INTO settings VALUES ('id', ?)", (identity,))
        return self.identity

    async def version(self) -> dict[str, Any]:
        """Return GET /version."""
        with metrics.HOST_FUNCTIONS.timed("system_version"):
            return await self._version()

    async def _version(self) -> dict[str, Any]:
        (containerd, containerd_commit), (runc, runc_commit), init = await asyncio.gather(
            self._containerd_version(), self._runc_version(), self._init_program()
        )
        built = time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00", time.gmtime(_built()))
        python = f"python{platform.python_version()}"
        kernel = os.uname().release
        details = {
            "ApiVersion": API_VERSION,
            "Arch": architecture(),
            "BuildTime": built,
            "Experimental": str(self._settings.experimental).lower(),
            "GitCommit": "",
            "GoVersion": python,
            "KernelVersion": kernel,
            "MinAPIVersion": MINIMUM_API_VERSION,
            "Os": "linux",
        }
        return {
            "Platform": {"Name": ""},
            "Components": [
                {"Name": "Engine", "Version": VERSION, "Details": details},
                {"Name": "containerd", "Version": containerd, "Details": {"GitCommit": containerd_commit}},
                {"Name": "runc", "Version": runc, "Details": {"GitCommit": runc_commit}},
                *(
                    [{"Name": init.name, "Version": init.version, "Details": {"GitCommit": init.commit}}]
                    if init.version is not None
                    else []
                ),
            ],
            "Version": VERSION,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": MINIMUM_API_VERSION,
            "GitCommit": "",
            "GoVersion": python,
            "Os": "linux",
            "Arch": architecture(),
            "KernelVersion": kernel,
            **({"Experimental": True} if self._settings.experimental else {}),
            "BuildTime": built,
        }

    async def info(self) -> dict[str, Any]:
        """Return GET /info."""
        with metrics.HOST_FUNCTIONS.timed("system_info"):
            return await self._info()

    async def _info(self) -> dict[str, Any]:
        (_, containerd_commit), (_, runc_commit), init = await asyncio.gather(
            self._containerd_version(), self._runc_version(), self._init_program()
        )
        settings = self._settings
        with metrics.HOST_FUNCTIONS.timed("operating_system"), metrics.HOST_FUNCTIONS.timed("os_version"):
            release = _release()
        unified = (_CGROUPS / "cgroup.controllers").exists()
        limits = _limits(unified)
        found = {
            "ID": self.identity,
            **self._containers.counts(),
            "Images": self._images.count(),
            "Driver": "overlay2",
            "DriverStatus": [
                ["Backing Filesystem", self._backing],
                ["Supports d_type", "true"],
                ["Native Overlay Diff", "true"],
                ["userxattr", "false"],
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
                "Authorization": None,
                "Log": [driver for driver in LOG_DRIVERS if driver != "none"],
            },
            **limits,
            "IPv4Forwarding": _is_one("/proc/sys/net/ipv4/ip_forward"),
            "BridgeNfIptables": _is_one("/proc/sys/net/bridge/bridge-nf-call-iptables"),
            "BridgeNfIp6tables": _is_one("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
            "Debug": settings.debug,
            "NFd": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - only how many
            "OomKillDisable": not unified,
            "NGoroutines": len(asyncio.all_tasks()),
            "SystemTime": rfc3339(time.time_ns()),
            "LoggingDriver": settings.log_driver,
            "CgroupDriver": "systemd" if settings.runtimes.systemd else "cgroupfs",
            "CgroupVersion": "2" if unified else "1",
            "NEventsListener": self._events.listeners(),
            "KernelVersion": os.uname().release,
            "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
            "OSVersion": release.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": _registries(settings),
            "NCPU": len(os.sched_getaffinity(0)),
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "GenericResources": list(settings.generic_resources) or None,
            "DockerRootDir": str(settings.data_root),
            "HttpProxy": _without_password(_variable("HTTP_PROXY")),
            "HttpsProxy": _without_password(_variable("HTTPS_PROXY")),
            "NoProxy": _variable("NO_PROXY"),
            "Name": os.uname().nodename,
            "Labels": list(settings.labels),
            "ExperimentalBuild": settings.experimental,
            "ServerVersion": VERSION,
            "Runtimes": settings.runtimes.documents(),
            "DefaultRuntime": settings.runtimes.default,
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": settings.live_restore,
            "Isolation": "",
            "InitBinary": settings.init_path or "docker-init",
            "ContainerdCommit": {"ID": containerd_commit, "Expected": containerd_commit},
            "RuncCommit": {"ID": runc_commit, "Expected": runc_commit},
            "InitCommit": {"ID": init.commit, "Expected": init.commit},
            "SecurityOptions": _security_options(settings),
        }
        if settings.address_pools:
            found["DefaultAddressPools"] = [
                {"Base": base, "Size": size} for base, size in settings.address_pools
            ]
        return found | {"Warnings": _warnings(found, settings.exposed) or None}

    def samples(self) -> list[metrics.Sample]:
        """Return the metrics that tell how the engine is now, and what it runs on."""
        counts, release = self._containers.counts(), _release()
        about = {
            "architecture": platform.machine(),
            "commit": "",
            "daemon_id": self.identity,
            "graphdriver": "overlay2",
            "kernel": os.uname().release,
            "os": release.get("PRETTY_NAME", "Linux"),
            "os_type": "linux",
            "os_version": release.get("VERSION_ID", ""),
            "version": VERSION,
        }
        states = [
            (f'{{state="{state}"}}', counts[f"Containers{state.capitalize()}"])
            for state in ("paused", "running", "stopped")
        ]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found = (
            ("container_states_containers", "The count of containers in various states", states),
            (
                "engine_cpus_cpus",
                "The number of cpus that the host system of the engine has",
                [("", len(os.sched_getaffinity(0)))],
            ),
            (
                "engine_info",
                "The information related to the engine and the OS it is running on",
                [(metrics.labels(about), 1)],
            ),
            (
                "engine_memory_bytes",
                "The number of bytes of memory that the host system of the engine has",
                [("", memory)],
            ),
            (
                "events_subscribers_total",
                "The number of current subscribers to events",
                [("", self._events.listeners())],
            ),
        )
        return [
            metrics.Sample(f"engine_daemon_{name}", "gauge", words, values) for name, words, values in found
        ]

    async def _containerd_version(self) -> tuple[str, str]:
        return await self._containerd.version()

    async def _runc_version(self) -> tuple[str, str]:
        """Ask the default runtime once; what it is can't change behind the engine's back."""
        if self._runc is None:
            self._runc = await asyncio.to_thread(_ask_runtime, self._settings.runtimes.get("").binary)
        return self._runc

    async def _init_program(self) -> Init:
        """Ask the init once, as the runtime."""
        if self._init is None:
            self._init = await asyncio.to_thread(describe, self._settings.init_path)
        return self._init


def _ask_runtime(binary: str) -> tuple[str, str]:
    path = shutil.which(binary)
    if path is None:
        return "N/A", "N/A"
    try:
        result = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_RUNC_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "N/A", "N/A"
    version = commit = ""
    for line in result.stdout.splitlines():
        words = line.split()
        if line.startswith("commit:") and len(words) > 1:
            commit = words[1]
        elif len(words) >= 3 and words[1] == "version" and not version:
            version = words[2]
    return version or "N/A", commit


def _built() -> float:
    """Return when this program was installed: a script has no other build time."""
    return Path(__file__).stat().st_mtime


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _is_one(path: str) -> bool:
    try:
        return Path(path).read_text().strip() == "1"
    except FileNotFoundError:
        return False  # the kernel has no such feature


def _limits(unified: bool) -> dict[str, bool]:
    """Say which limits the kernel can set, by the files that set them."""
    if unified:
        found = set((_CGROUPS / "cgroup.controllers").read_text().split())
        has_memory, has_cpu, has_sets, has_pids = (
            name in found for name in ("memory", "cpu", "cpuset", "pids")
        )
        return {
            "MemoryLimit": has_memory,
            "SwapLimit": has_memory,
            "KernelMemory": False,
            "KernelMemoryTCP": False,
            "CpuCfsPeriod": has_cpu,
            "CpuCfsQuota": has_cpu,
            "CPUShares": has_cpu,
            "CPUSet": has_sets,
            "PidsLimit": has_pids,
        }

    def has(path: str) -> bool:
        return (_CGROUPS / path).exists()

    return {
        "MemoryLimit": has("memory/memory.limit_in_bytes"),
        "SwapLimit": has("memory/memory.memsw.limit_in_bytes"),
        "KernelMemory": has("memory/memory.kmem.limit_in_bytes"),
        "KernelMemoryTCP": has("memory/memory.kmem.tcp.limit_in_bytes"),
        "CpuCfsPeriod": has("cpu/cpu.cfs_period_us"),
        "CpuCfsQuota": has("cpu/cpu.cfs_quota_us"),
        "CPUShares": has("cpu/cpu.shares"),
        "CPUSet": has("cpuset/cpuset.cpus"),
        "PidsLimit": has("pids"),
    }


def _variable(name: str) -> str:
    """Return a variable of the environment, whose name may be written either way."""
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def _without_password(url: str) -> str:
    """Hide who logs in to a proxy, and how."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    _user, at, host = authority.rpartition("@")
    return f"{scheme}{separator}xxxxx:xxxxx@{host}{slash}{path}" if at else url


def _security_options(settings: SystemSettings) -> list[str]:
    found = ["name=apparmor"] if apparmor_is_on() else []
    found.append(f"name=seccomp,profile={settings.seccomp_profile or 'default'}")
    if settings.cgroup_namespace == "private" and Path("/proc/self/ns/cgroup").exists():
        found.append("name=cgroupns")
    return found


def _warnings(found: dict[str, Any], exposed: Sequence[str]) -> list[str]:
    """Return `Warnings` of /info: who else may speak to the engine, and what this kernel can't do."""
    warnings = []
    for url in exposed:
        lack = "encryption" if url.startswith("http:") else "TLS client verification"
        warnings.append(
            f"WARNING: API is accessible on {url} without {lack}.\n"
            "         Access to the remote API is equivalent to root access on the host. Refer\n"
            "         to the 'Docker daemon attack surface' section in the documentation for\n"
            "         more information: https://docs.docker.com/go/attack-surface/"
        )
    lacks = [
        ("MemoryLimit", "memory limit"),
        ("SwapLimit", "swap limit"),
        ("CpuCfsQuota", "cpu cfs quota"),
        ("CpuCfsPeriod", "cpu cfs period"),
        ("CPUShares", "cpu shares"),
        ("CPUSet", "cpuset"),
    ]
    if found["CgroupVersion"] == "1":
        lacks[2:2] = [("KernelMemoryTCP", "kernel memory TCP limit"), ("OomKillDisable", "oom kill disable")]
    warnings += [f"WARNING: No {words} support" for key, words in lacks if not found[key]]
    kernel = this_kernel()
    throttles = {
        "rbps": ("read_bps", kernel.read_bps),
        "wbps": ("write_bps", kernel.write_bps),
        "riops": ("read_iops", kernel.read_iops),
        "wiops": ("write_iops", kernel.write_iops),
    }
    if kernel.unified and not kernel.weight:
        warnings += ["WARNING: No io.weight support", "WARNING: No io.weight (per device) support"]
    for name, (file, works) in throttles.items():
        if not works:
            words = f"io.max ({name})" if kernel.unified else f"blkio throttle.{file}_device"
            warnings.append(f"WARNING: No {words} support")
    if not found["IPv4Forwarding"]:
        warnings.append("WARNING: IPv4 forwarding is disabled")
    if not found["BridgeNfIptables"]:
        warnings.append("WARNING: bridge-nf-call-iptables is disabled")
    if not found["BridgeNfIp6tables"]:
        warnings.append("WARNING: bridge-nf-call-ip6tables is disabled")
    return warnings


def _registries(settings: SystemSettings) -> dict[str, Any]:
    insecure = [entry.partition("://")[2] or entry for entry in settings.insecure]
    networks = [entry for entry in insecure if "/" in entry]
    mirrors = [f"{url.rstrip('/')}/" for url in settings.mirrors]
    indexes = {
        "docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True},
    }
    for host in insecure:
        if "/" not in host:
            indexes[host] = {"Name": host, "Mirrors": [], "Secure": False, "Official": False}
    return {
        "AllowNondistributableArtifactsCIDRs": [entry for entry in settings.nondistributable if "/" in entry],
        "AllowNondistributableArtifactsHostnames": [
            "docker.io" if entry == "index.docker.io" else entry
            for entry in settings.nondistributable
            if "/" not in entry
        ],
        "InsecureRegistryCIDRs": [*networks, "127.0.0.0/8"],
        "IndexConfigs": indexes,
        "Mirrors": mirrors,
    }
