"""What `stats` shows of a container: figures computed from the engine's document, and how they are written.

The computations are docker's: CPU as the share of the system's time since the reading before, memory without the pages
that could be dropped at once (inactive_file), network and block I/O summed over devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sixhops.docker.screen import human, table

__all__ = ["Figures", "computed", "listing_of"]


@dataclass(slots=True)
class Figures:
    """One line. `container` is what the person called it; `valid` false: there are no figures (any more)."""

    container: str
    name: str = ""
    id: str = ""
    cpu: float = 0.0
    memory: float = 0.0
    limit: float = 0.0
    share: float = 0.0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    processes: int = 0
    valid: bool = True


def computed(container: str, document: dict[str, Any]) -> Figures:
    """Return the figures of one document of /containers/ID/stats."""
    now, before = document.get("cpu_stats") or {}, document.get("precpu_stats") or {}
    memory = document.get("memory_stats") or {}
    networks = (document.get("networks") or {}).values()
    read, written = _block_io(document.get("blkio_stats") or {})
    used, limit = _used(memory), float(memory.get("limit") or 0)
    return Figures(
        container=container,
        name=str(document.get("name") or ""),
        id=str(document.get("id") or ""),
        cpu=_cpu(now, before),
        memory=used,
        limit=limit,
        share=used / limit * 100 if limit else 0.0,
        received=sum(int(item.get("rx_bytes") or 0) for item in networks),
        sent=sum(int(item.get("tx_bytes") or 0) for item in networks),
        read=read,
        written=written,
        processes=int((document.get("pids_stats") or {}).get("current") or 0),
    )


def _cpu(now: dict[str, Any], before: dict[str, Any]) -> float:
    own = _usage(now, "total_usage") - _usage(before, "total_usage")
    system = int(now.get("system_cpu_usage") or 0) - int(before.get("system_cpu_usage") or 0)
    count = int(now.get("online_cpus") or 0) or len((now.get("cpu_usage") or {}).get("percpu_usage") or [])
    return own / system * count * 100 if own > 0 and system > 0 else 0.0


def _usage(stats: dict[str, Any], key: str) -> int:
    return int((stats.get("cpu_usage") or {}).get(key) or 0)


def _used(memory: dict[str, Any]) -> float:
    usage, details = int(memory.get("usage") or 0), memory.get("stats") or {}
    for name in ("total_inactive_file", "inactive_file"):  # control groups v1, v2
        if name in details and int(details[name]) < usage:
            return float(usage - int(details[name]))
    return float(usage)


def _block_io(stats: dict[str, Any]) -> tuple[int, int]:
    found = {"r": 0, "w": 0}
    for item in stats.get("io_service_bytes_recursive") or []:
        letter = str(item.get("op") or " ")[0].lower()
        if letter in found:
            found[letter] += int(item.get("value") or 0)
    return found["r"], found["w"]


def listing_of(*, full: bool) -> table.Listing:
    """Return how figures are listed."""
    return table.Listing(
        {
            "Container": lambda f: f.container,
            "Name": lambda f: f.name[1:] if len(f.name) > 1 else "--",
            "ID": lambda f: f.id if full else f.id[:12],
            "CPUPerc": lambda f: f"{f.cpu:.2f}%" if f.valid else "--",
            "MemUsage": lambda f: _pair(human.binary_size(f.memory), human.binary_size(f.limit), f.valid, "-- / --"),
            "MemPerc": lambda f: f"{f.share:.2f}%" if f.valid else "--",
            "NetIO": lambda f: _pair(human.decimal_size(f.received, 3), human.decimal_size(f.sent, 3), f.valid),
            "BlockIO": lambda f: _pair(human.decimal_size(f.read, 3), human.decimal_size(f.written, 3), f.valid),
            "PIDs": lambda f: str(f.processes) if f.valid else "--",
        },
        {
            "ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
            "NetIO": "NET I/O", "BlockIO": "BLOCK I/O",
        },
        "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
        kind="*container.statsContext",
    )  # fmt: skip


def _pair(left: str, right: str, valid: bool, otherwise: str = "--") -> str:
    return f"{left} / {right}" if valid else otherwise
