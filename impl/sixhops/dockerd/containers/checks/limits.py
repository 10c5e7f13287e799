"""The limits of a container: which values make sense, and which this kernel can't keep.

`check` works on HostConfig as dockerd does: what makes no sense is refused, what the kernel can't do is taken out with
a warning. Source: moby 20.10, `verifyPlatformContainerResources` in daemon/daemon_unix.go.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import invalid

if TYPE_CHECKING:
    from sixhops.dockerd.containers.checks.kernel import Kernel

__all__ = ["check", "parse_set"]

_SMALLEST_MEMORY = 6 << 20
_BILLION = 10**9
_MOST_CPUS = 8192
_INT64_MAX = 2**63 - 1
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_UNSUPPORTED = "Your kernel does not support {} or the cgroup is not mounted. {} discarded."


def check(host: dict[str, Any], kernel: Kernel, *, update: bool = False) -> list[str]:
    """Check the limits of a HostConfig and take out what `kernel` can't do; return warnings.

    In an update, swap may come alone. Raises EngineError 400.
    """
    warnings: list[str] = []
    _memory(host, kernel, warnings, update=update)
    _kernel_memory(host, kernel, warnings)
    if host["OomKillDisable"] and not kernel.oom_control:
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        host["OomKillDisable"] = None
    if host["OomKillDisable"] and not host["Memory"]:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running "
            "out of resources."
        )
    if host["PidsLimit"] is not None and not kernel.pids:
        if host["PidsLimit"] > 0:
            warnings.append(_UNSUPPORTED.format("PIDs limit capabilities", "PIDs limit"))
        host["PidsLimit"] = None
    _processors(host, kernel, warnings)
    _sets(host, kernel, warnings)
    _block_io(host, kernel, warnings)
    return warnings


def _memory(host: dict[str, Any], kernel: Kernel, warnings: list[str], *, update: bool) -> None:
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    if host["Memory"] and host["Memory"] < _SMALLEST_MEMORY:
        raise invalid("Minimum memory limit allowed is 6MB")
    if host["Memory"] > 0 and not kernel.memory:
        warnings.append(_UNSUPPORTED.format("memory limit capabilities", "Limitation"))
        host["Memory"], host["MemorySwap"] = 0, -1
    if host["Memory"] > 0 and host["MemorySwap"] != -1 and not kernel.swap:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
            "swap."
        )
        host["MemorySwap"] = -1
    memory, swap = host["Memory"], host["MemorySwap"]
    if memory > 0 and 0 < swap < memory:
        raise invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host["MemorySwappiness"] is not None and not kernel.swappiness:
        warnings.append(_UNSUPPORTED.format("memory swappiness capabilities", "Memory swappiness"))
        host["MemorySwappiness"] = None
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise invalid(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if host["MemoryReservation"] > 0 and not kernel.reservation:
        warnings.append(_UNSUPPORTED.format("memory soft limit capabilities", "Limitation"))
        host["MemoryReservation"] = 0
    reservation = host["MemoryReservation"]
    if 0 < reservation < _SMALLEST_MEMORY:
        raise invalid("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise invalid("Minimum memory limit can not be less than memory reservation limit, see usage")


def _kernel_memory(host: dict[str, Any], kernel: Kernel, warnings: list[str]) -> None:
    if host["KernelMemory"] > 0:
        warnings.append(
            "Specifying a kernel memory limit is deprecated and will be removed in a future release."
        )
    if host["KernelMemory"] > 0 and not kernel.kernel_memory:
        warnings.append(_UNSUPPORTED.format("kernel memory limit capabilities", "Limitation"))
        host["KernelMemory"] = 0
    if 0 < host["KernelMemory"] < _SMALLEST_MEMORY:
        raise invalid("Minimum kernel memory limit allowed is 6MB")


def _processors(host: dict[str, Any], kernel: Kernel, warnings: list[str]) -> None:
    nano = host["NanoCpus"]
    for key, name in (("CpuPeriod", "Period"), ("CpuQuota", "Quota")):
        if nano > 0 and host[key] > 0:
            raise invalid(f"Conflicting options: Nano CPUs and CPU {name} cannot both be set")
    if nano > 0 and not kernel.cfs:
        raise invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    count = len(os.sched_getaffinity(0))
    if nano < 0 or nano > count * _BILLION:
        raise invalid(f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host["CpuShares"] > 0 and not kernel.shares:
        warnings.append(_UNSUPPORTED.format("CPU shares", "Shares"))
        host["CpuShares"] = 0
    if (host["CpuPeriod"] or host["CpuQuota"]) and not kernel.cfs:
        warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        host["CpuPeriod"], host["CpuQuota"] = 0, 0
    if host["CpuPeriod"] and not 1000 <= host["CpuPeriod"] <= 1000000:
        raise invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host["CpuQuota"] < 1000:
        raise invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["CpuPercent"] > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host["CpuPercent"] = 0


def _sets(host: dict[str, Any], kernel: Kernel, warnings: list[str]) -> None:
    if (host["CpusetCpus"] or host["CpusetMems"]) and not kernel.cpuset:
        warnings.append(_UNSUPPORTED.format("cpuset", "Cpuset"))
        host["CpusetCpus"], host["CpusetMems"] = "", ""
    for key, label, available, things in (
        ("CpusetCpus", "cpus", kernel.cpus, "CPUs"),
        ("CpusetMems", "mems", kernel.mems, "memory nodes"),
    ):
        there = parse_set(available)
        try:
            wanted = parse_set(host[key], max(_MOST_CPUS, *there, 0))
        except ValueError as error:
            raise invalid(f"Invalid value {host[key]} for cpuset {label}: {error}") from None
        if not wanted <= there:
            raise invalid(
                f"Requested {things} are not available - requested {host[key]}, available: {available}"
            )


def parse_set(text: str, largest: int = 0) -> set[int]:
    """Return the numbers of a list such as `0,3-4`; `largest` is the largest that may be, 0 for any.

    Raises ValueError with the words that dockerd has for it.
    """
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not _NUMBER.fullmatch(first) or (dash and not _NUMBER.fullmatch(last)):
            raise ValueError(f"invalid format: {text}")
        low = int(first)
        high = int(last) if dash else low
        if high < low or high > _INT64_MAX:
            raise ValueError(f"invalid format: {text}")
        if largest and high > largest:
            raise ValueError(f"value of out range, maximum is {largest}")
        found |= set(range(low, high + 1))
    return found


def _block_io(host: dict[str, Any], kernel: Kernel, warnings: list[str]) -> None:
    if host["BlkioWeight"] and not kernel.weight:
        warnings.append(_UNSUPPORTED.format("Block I/O weight", "Weight"))
        host["BlkioWeight"] = 0
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        raise invalid("Range of blkio weight is from 10 to 1000")
    if host["IOMaximumBandwidth"] or host["IOMaximumIOps"]:
        raise invalid("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
    for key, works, feature, what in (
        ("BlkioWeightDevice", kernel.weight_device, "Block I/O weight_device", "Weight-device"),
        ("BlkioDeviceReadBps", kernel.read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        ("BlkioDeviceWriteBps", kernel.write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        ("BlkioDeviceReadIOps", kernel.read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        ("BlkioDeviceWriteIOps", kernel.write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    ):
        if host[key] and not works:
            warnings.append(_UNSUPPORTED.format(feature, what))
            host[key] = []
