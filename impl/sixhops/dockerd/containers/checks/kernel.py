"""What this machine's kernel and control groups can do, as far as limits of containers depend on it.

Source: moby 20.10, `pkg/sysinfo` (a limit is supported when its file is in the root of its hierarchy).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Kernel", "forwards_ipv4", "this_kernel"]

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Kernel:
    """Each member says whether that limit works; `cpus` and `mems` are the numbers that a container may have.

    `unified` says that there is version 2 of control groups only.
    """

    memory: bool = True
    swap: bool = True
    reservation: bool = True
    oom_control: bool = True
    swappiness: bool = True
    kernel_memory: bool = True
    pids: bool = True
    shares: bool = True
    cfs: bool = True
    realtime: bool = True
    cpuset: bool = True
    weight: bool = True
    weight_device: bool = True
    read_bps: bool = True
    write_bps: bool = True
    read_iops: bool = True
    write_iops: bool = True
    cgroup_namespaces: bool = True
    unified: bool = False
    cpus: str = "0"
    mems: str = "0"


@cache
def this_kernel() -> Kernel:
    """Return what this machine can do; it is looked at once, since hierarchies do not come and go."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return _unified(_CGROUPS)
    return _hierarchies(_CGROUPS)


def forwards_ipv4() -> bool:
    """Whether the host forwards packets, without which a container's network leads nowhere. Looked at anew each time."""
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


def _hierarchies(root: Path) -> Kernel:
    """Look at cgroup version 1: one directory a controller."""

    def has(controller: str, name: str) -> bool:
        return (root / controller / name).exists()

    return Kernel(
        memory=(root / "memory").is_dir(),
        swap=has("memory", "memory.memsw.limit_in_bytes"),
        reservation=has("memory", "memory.soft_limit_in_bytes"),
        oom_control=has("memory", "memory.oom_control"),
        swappiness=has("memory", "memory.swappiness"),
        kernel_memory=has("memory", "memory.kmem.limit_in_bytes"),
        pids=(root / "pids").is_dir(),
        shares=has("cpu", "cpu.shares"),
        cfs=has("cpu", "cpu.cfs_quota_us"),
        realtime=has("cpu", "cpu.rt_period_us"),
        cpuset=(root / "cpuset").is_dir(),
        weight=has("blkio", "blkio.weight"),
        weight_device=has("blkio", "blkio.weight_device"),
        read_bps=has("blkio", "blkio.throttle.read_bps_device"),
        write_bps=has("blkio", "blkio.throttle.write_bps_device"),
        read_iops=has("blkio", "blkio.throttle.read_iops_device"),
        write_iops=has("blkio", "blkio.throttle.write_iops_device"),
        cgroup_namespaces=Path("/proc/self/ns/cgroup").exists(),
        cpus=_text(root / "cpuset" / "cpuset.cpus"),
        mems=_text(root / "cpuset" / "cpuset.mems"),
    )


def _unified(root: Path) -> Kernel:
    """Look at cgroup version 2, which has no such thing as swappiness, real-time limits or control of the OOM killer."""
    controllers = set(_text(root / "cgroup.controllers").split())
    memory, io = "memory" in controllers, "io" in controllers
    own = _text(Path("/proc/self/cgroup")).rpartition("::")[2].lstrip("/")
    return Kernel(
        memory=memory,
        swap=memory and (not own or (root / own / "memory.swap.max").exists()),
        reservation=memory,
        oom_control=False,
        swappiness=False,
        kernel_memory=False,
        pids="pids" in controllers,
        shares="cpu" in controllers,
        cfs="cpu" in controllers,
        realtime=False,
        cpuset="cpuset" in controllers,
        weight=io,
        weight_device=io,
        read_bps=io,
        write_bps=io,
        read_iops=io,
        write_iops=io,
        cgroup_namespaces=Path("/proc/self/ns/cgroup").exists(),
        unified=True,
        cpus=_text(root / "cpuset.cpus.effective"),
        mems=_text(root / "cpuset.mems.effective"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
