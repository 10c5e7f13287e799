"""GET /containers/{id}/stats: containerd's figures of a task as Docker's document, for both cgroup versions.

A sample also carries the one before it, from which clients reckon percentages; so the first one of a stream has an empty
`precpu_stats`, and a single one without `one-shot` takes a second, as in dockerd.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containerd.client import ContainerdError
from sixhops.dockerd.containers.times import NEVER, rfc3339
from sixhops.dockerd.errors import system
from sixhops.wire.proto import cgroup1_pb2, cgroup2_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.dockerd.containerd.client import Containerd, Metric
    from sixhops.dockerd.containers.held import Held

__all__ = ["figures", "samples"]

_INTERVAL = 1.0
_EMPTY_CPU: dict[str, Any] = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLOCK_KEYS = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)


async def samples(
    held: Held, containerd: Containerd, *, stream: bool, one_shot: bool
) -> AsyncIterator[dict[str, Any]]:
    """Yield samples until the container is removed or the caller stops. Raises EngineError 500 on a broken answer."""
    previous, previous_time = _EMPTY_CPU, NEVER
    if not stream and not one_shot and held.container.state.has_process:
        first = await _sample(held, containerd, previous, previous_time)
        previous, previous_time = first["cpu_stats"], first["read"]
        await asyncio.sleep(_INTERVAL)
    while True:
        sample = await _sample(held, containerd, previous, previous_time)
        yield sample
        if not stream or held.is_being_removed:
            return
        previous, previous_time = sample["cpu_stats"], sample["read"]
        await asyncio.sleep(_INTERVAL)


async def _sample(
    held: Held, containerd: Containerd, previous: dict[str, Any], previous_time: str
) -> dict[str, Any]:
    container = held.container
    head = {"name": f"/{container.name}", "id": container.id}
    metric = None
    if container.state.has_process:
        try:
            metric = await containerd.metrics(container.id)
        except ContainerdError as error:
            raise system(str(error)) from error
    body: dict[str, Any] = {
        "read": rfc3339(time.time_ns()) if metric else NEVER,
        "preread": previous_time,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLOCK_KEYS),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _EMPTY_CPU,
        "precpu_stats": previous,
        "memory_stats": {},
    }
    if metric is not None:
        body |= figures(metric)
        body["cpu_stats"] |= {"system_cpu_usage": _system_time(), "online_cpus": os.cpu_count() or 1}
        networks = await asyncio.to_thread(_interfaces, container.state.pid)
        if networks:
            body["networks"] = networks
    return body | head


def figures(metric: Metric) -> dict[str, Any]:
    """Return the members that come from the control group. Raises EngineError 500 for a type that is unknown."""
    if metric.type == cgroup1_pb2.Metrics.DESCRIPTOR.full_name:
        return _version1(cgroup1_pb2.Metrics.FromString(metric.data))
    if metric.type == cgroup2_pb2.Metrics.DESCRIPTOR.full_name:
        return _version2(cgroup2_pb2.Metrics.FromString(metric.data))
    raise system(f"unknown metrics type {metric.type}")


def _version1(found: cgroup1_pb2.Metrics) -> dict[str, Any]:
    cpu, memory = found.cpu, found.memory
    usage: dict[str, Any] = {"total_usage": cpu.usage.total}
    if cpu.usage.per_cpu:
        usage["percpu_usage"] = list(cpu.usage.per_cpu)
    usage |= {"usage_in_kernelmode": cpu.usage.kernel, "usage_in_usermode": cpu.usage.user}
    details = {
        field.name.replace("pg_pg_", "pgpg")
        .replace("pg_maj_fault", "pgmajfault")
        .replace("pg_fault", "pgfault")
        .replace("_swap_limit", "_memsw_limit"): getattr(memory, field.name)
        for field in memory.DESCRIPTOR.fields
        if field.message_type is None
    }
    return {
        "pids_stats": {"current": found.pids.current}
        | ({"limit": found.pids.limit} if found.pids.limit else {}),
        "blkio_stats": {
            key: [
                {"major": entry.major, "minor": entry.minor, "op": entry.op, "value": entry.value}
                for entry in getattr(found.blkio, key.replace("io_queue_", "io_queued_"))
            ]
            for key in _BLOCK_KEYS
        },
        "cpu_stats": {
            "cpu_usage": usage,
            "throttling_data": {
                "periods": cpu.throttling.periods,
                "throttled_periods": cpu.throttling.throttled_periods,
                "throttled_time": cpu.throttling.throttled_time,
            },
        },
        "memory_stats": {
            "usage": memory.usage.usage,
            "max_usage": memory.usage.max,
            "stats": details,
            "limit": min(memory.usage.limit, _memory_total()),
        },
    }


def _version2(found: cgroup2_pb2.Metrics) -> dict[str, Any]:
    cpu, memory = found.cpu, found.memory
    details = {
        field.name: value
        for field, value in memory.ListFields()
        if field.message_type is None and not field.name.startswith(("usage", "swap_", "max_usage"))
    }
    bytes_ = [
        {"major": entry.major, "minor": entry.minor, "op": op, "value": value}
        for entry in found.io.usage
        for op, value in (("read", entry.rbytes), ("write", entry.wbytes))
    ]
    return {
        "pids_stats": {"current": found.pids.current}
        | ({"limit": found.pids.limit} if found.pids.limit else {}),
        "blkio_stats": dict.fromkeys(_BLOCK_KEYS) | {"io_service_bytes_recursive": bytes_},
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": cpu.usage_usec * 1000,
                "usage_in_kernelmode": cpu.system_usec * 1000,
                "usage_in_usermode": cpu.user_usec * 1000,
            },
            "throttling_data": {
                "periods": cpu.nr_periods,
                "throttled_periods": cpu.nr_throttled,
                "throttled_time": cpu.throttled_usec * 1000,
            },
        },
        "memory_stats": {
            "usage": memory.usage,
            "stats": details,
            "limit": min(memory.usage_limit, _memory_total()),
        },
    }


def _system_time() -> int:
    """Return the processor time of the whole host in nanoseconds (user to softirq, as dockerd adds it up)."""
    ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    return sum(map(int, ticks)) * (10**9 // os.sysconf("SC_CLK_TCK"))


def _memory_total() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _interfaces(pid: int) -> dict[str, dict[str, int]]:
    """Return the counters of the container's interfaces, without loopback; empty when the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, counters = line.partition(":")
        numbers = [int(number) for number in counters.split()]
        if name.strip() != "lo":
            keys = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped")
            found[name.strip()] = dict(zip(keys, numbers[:4], strict=True)) | dict(
                zip((key.replace("rx", "tx") for key in keys), numbers[8:12], strict=True)
            )
    return found
