"""`update`: other limits and another restart policy for containers that exist."""

from __future__ import annotations

import sys
from typing import Any

from sixhops.docker import hostspec
from sixhops.docker.command import Command, Context
from sixhops.docker.containerbody import restart_policy
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag

__all__ = ["UPDATE"]


def _update(context: Context) -> int:
    options = context.options
    if not options.given:
        raise DockerError("you must provide one or more flags when using this command")
    document = _document(context)
    warnings: list[str] = []
    problems: list[str] = []
    for name in options.arguments:
        try:
            answer = context.client.json("POST", f"/containers/{name}/update", None, document)
        except DockerError as error:
            problems.append(str(error))
            continue
        sys.stdout.write(f"{name}\n")
        warnings += answer.get("Warnings") or []
    sys.stdout.write("".join(f"{warning}\n" for warning in warnings))
    if problems:
        raise DockerError("\n".join(problems))
    return 0


def _document(context: Context) -> dict[str, Any]:
    """Return the body of the request: every limit, 0 for one that stays as it is."""
    options = context.options
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
        "PidsLimit": options["pids-limit"] or None,
        "Ulimits": None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "RestartPolicy": restart_policy(options["restart"]),
    }


UPDATE = Command(
    usage="CONTAINER [CONTAINER...]",
    summary="Update configuration of one or more containers",
    run=_update,
    least=1,
    flags=(
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
            "memory-swap",
            "bytes",
            help="Limit of memory and swap together, -1 for none",
            read=hostspec.swap_size,
        ),
        flag("pids-limit", "int", help="Limit of processes, -1 for none"),
        flag("restart", "string", help="When to start it again"),
    ),
)
