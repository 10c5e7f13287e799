"""What a container may use: the options that `run`, `create` and `update` share, and the engine's document of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.docker.documents import hostspec
from sixhops.docker.flags import Flag, flag

if TYPE_CHECKING:
    from sixhops.docker.flags import Options

__all__ = ["LIMIT_FLAGS", "resources"]

LIMIT_FLAGS: tuple[Flag, ...] = (
    flag("blkio-weight", "uint16", help="Weight of block I/O, 10 to 1000, 0 for none", shown="0"),
    flag("cpu-period", "int", help="Period of the CPU limit in microseconds"),
    flag("cpu-quota", "int", help="Microseconds of CPU in a period"),
    flag("cpu-rt-period", "int", help="Period of the real-time limit in microseconds"),
    flag("cpu-rt-runtime", "int", help="Real-time microseconds in a period"),
    flag("cpu-shares", "int", "c", "Share of CPU relative to others"),
    flag("cpus", "decimal", help="Number of CPUs"),
    flag("cpuset-cpus", "string", help="CPUs that may be used (0-3, 0,1)"),
    flag("cpuset-mems", "string", help="Memory nodes that may be used (0-3, 0,1)"),
    flag("kernel-memory", "bytes", help="Limit of kernel memory"),
    flag("memory", "bytes", "m", "Limit of memory"),
    flag("memory-reservation", "bytes", help="Soft limit of memory"),
    flag(
        "memory-swap", "bytes", help="Limit of memory and swap together, -1 for none", read=hostspec.swap_size
    ),
    flag("pids-limit", "int", help="Limit of processes, -1 for none"),
)


def resources(options: Options) -> dict[str, Any]:
    """Return the members of HostConfig that say what may be used, as the options say: 0, "" or None where they don't.

    Those that only `run` and `create` have options for are None or "", and the caller's to fill in.
    """
    return {
        "CpuShares": options["cpu-shares"],
        "Memory": options["memory"],
        "NanoCpus": options["cpus"],
        "CgroupParent": "",
        "BlkioWeight": options["blkio-weight"],
        "BlkioWeightDevice": None,
        "BlkioDeviceReadBps": None,
        "BlkioDeviceWriteBps": None,
        "BlkioDeviceReadIOps": None,
        "BlkioDeviceWriteIOps": None,
        "CpuPeriod": options["cpu-period"],
        "CpuQuota": options["cpu-quota"],
        "CpuRealtimePeriod": options["cpu-rt-period"],
        "CpuRealtimeRuntime": options["cpu-rt-runtime"],
        "CpusetCpus": options["cpuset-cpus"],
        "CpusetMems": options["cpuset-mems"],
        "Devices": None,
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "KernelMemory": options["kernel-memory"],
        "KernelMemoryTCP": 0,
        "MemoryReservation": options["memory-reservation"],
        "MemorySwap": options["memory-swap"],
        "MemorySwappiness": None,
        "OomKillDisable": None,
        "PidsLimit": options["pids-limit"],
        "Ulimits": None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }
