"""What a container uses, read from its groups, in the members that OCI runtimes print for `events --stats`.

Units: nanoseconds of processor time, bytes of memory. Files that this kernel doesn't have leave their members out.
"""

from __future__ import annotations

import os

from sixhops.linux.cgroups.control import read

__all__ = ["read_stats"]

_TICK = 10_000_000  # nanoseconds of a tick of USER_HZ (100 on every architecture that matters)
_UNLIMITED = 2**64 - 1
_CPUSET_NUMBERS = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)


def read_stats(groups: dict[str, str]) -> dict[str, object]:
    """Return the figures. Raises OSError only if the groups are gone altogether."""
    if set(groups) == {""}:
        return _unified(groups[""])
    return {
        "cpu": _cpu(groups),
        "cpuset": _cpuset(groups.get("cpuset", "")),
        "memory": _memory(groups.get("memory", "")),
        "pids": _pids(groups.get("pids", "")),
        "blkio": _block(groups.get("blkio", "")),
        "hugetlb": _huge(groups.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes"),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _text(path: str) -> str | None:
    try:
        return read(path)
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _text(path)
    if text is None:
        return None
    return _UNLIMITED if text == "max" else int(text)


def _table(path: str) -> dict[str, int]:
    rows = (line.split() for line in (_text(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].lstrip("-").isdigit()}


def _cpu(groups: dict[str, str]) -> dict[str, object]:
    accounting = groups.get("cpuacct", "")
    usage: dict[str, object] = {"total": _number(f"{accounting}/cpuacct.usage") or 0}
    for name, file in (
        ("percpu", "cpuacct.usage_percpu"),
        ("percpu_kernel", "cpuacct.usage_percpu_sys"),
        ("percpu_user", "cpuacct.usage_percpu_user"),
    ):
        text = _text(f"{accounting}/{file}")
        if text:
            usage[name] = [int(value) for value in text.split()]
    ticks = _table(f"{accounting}/cpuacct.stat")
    usage["kernel"] = ticks.get("system", 0) * _TICK
    usage["user"] = ticks.get("user", 0) * _TICK
    return {"usage": usage, "throttling": _throttling(_table(f"{groups.get('cpu', '')}/cpu.stat"))}


def _throttling(table: dict[str, int]) -> dict[str, int]:
    names = (
        ("periods", "nr_periods"),
        ("throttledPeriods", "nr_throttled"),
        ("throttledTime", "throttled_time"),
    )
    return {name: table[key] for name, key in names if table.get(key)}


def _cpuset(directory: str) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, file in (("cpus", "cpus"), ("cpu_exclusive", "cpu_exclusive"), ("mems", "mems")):
        text = _text(f"{directory}/cpuset.{file}")
        if text is not None:
            result[name] = int(text) if name == "cpu_exclusive" else _range(text)
    for name in _CPUSET_NUMBERS[1:]:
        value = _number(f"{directory}/cpuset.{name}")
        if value is not None:
            result[name] = value
    return result


def _range(text: str) -> list[int]:
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _memory(directory: str) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, prefix in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        entry = {}
        for key, file in (
            ("limit", "limit_in_bytes"),
            ("usage", "usage_in_bytes"),
            ("max", "max_usage_in_bytes"),
            ("failcnt", "failcnt"),
        ):
            value = _number(f"{directory}/memory.{prefix}{file}")
            if value is not None and (value or key in {"limit", "failcnt"}):
                entry[key] = value
        result[name] = entry
    result["raw"] = dict(sorted(_table(f"{directory}/memory.stat").items()))
    cache = _table(f"{directory}/memory.stat").get("cache", 0)
    return {"cache": cache, **result} if cache else result


def _pids(directory: str) -> dict[str, int]:
    result = {"current": _number(f"{directory}/pids.current") or 0}
    limit = _number(f"{directory}/pids.max")
    if limit not in {None, _UNLIMITED}:
        result["limit"] = limit or 0
    return result


def _block(directory: str) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, file in (
        ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
        ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
    ):
        entries = []
        for line in (_text(f"{directory}/{file}") or "").splitlines():
            fields = line.split()
            if len(fields) == 3:
                major, _, minor = fields[0].partition(":")
                entries.append(
                    {"major": int(major), "minor": int(minor), "op": fields[1], "value": int(fields[2])}
                )
        if entries:
            result[name] = entries
    return result


def _unified(directory: str) -> dict[str, object]:
    cpu = _table(f"{directory}/cpu.stat")
    memory: dict[str, object] = {}
    for name, prefix in (("usage", "memory."), ("swap", "memory.swap.")):
        limit, usage = _number(f"{directory}/{prefix}max"), _number(f"{directory}/{prefix}current")
        memory[name] = {"limit": limit or 0, **({"usage": usage} if usage else {}), "failcnt": 0}
    # what only version 1 counts, in the members that every reader knows
    memory |= {name: {"limit": 0, "failcnt": 0} for name in ("kernel", "kernelTCP")}
    raw = dict(sorted(_table(f"{directory}/memory.stat").items()))
    if raw:
        memory["raw"] = raw
    return {
        "cpu": {
            "usage": {
                "total": cpu.get("usage_usec", 0) * 1000,
                "kernel": cpu.get("system_usec", 0) * 1000,
                "user": cpu.get("user_usec", 0) * 1000,
            },
            "throttling": _throttling({**cpu, "throttled_time": cpu.get("throttled_usec", 0) * 1000}),
        },
        "cpuset": {**dict.fromkeys(_CPUSET_NUMBERS, 0), **_cpuset(directory)},
        "memory": memory,
        "pids": _pids(directory),
        "blkio": _io(directory),
        "hugetlb": _huge(directory, "current", ""),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _io(directory: str) -> dict[str, object]:
    transferred: list[dict[str, object]] = []
    requests: list[dict[str, object]] = []
    for line in (_text(f"{directory}/io.stat") or "").splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for field in fields:
            key, _, value = field.partition("=")
            kind = {"r": "Read", "w": "Write", "d": "Discard"}.get(key[:1], "")
            target = transferred if key.endswith("bytes") else requests
            target.append({"major": int(major), "minor": int(minor), "op": kind, "value": int(value)})
    return {
        k: v for k, v in (("ioServiceBytesRecursive", transferred), ("ioServicedRecursive", requests)) if v
    }


def _huge(directory: str, usage: str, peak: str) -> dict[str, dict[str, int]]:
    """Return the figures of each size of huge pages; failures are a file of version 1, an event of version 2."""
    try:
        names = os.listdir(directory) if directory else []
    except OSError:
        return {}
    result: dict[str, dict[str, int]] = {}
    for name in sorted(names):
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "hugetlb" or parts[2] != usage:
            continue
        start = f"{directory}/hugetlb.{parts[1]}."
        entry = {
            "usage": _number(f"{start}{usage}") or 0,
            "max": (_number(f"{start}{peak}") or 0) if peak else 0,
        }
        failures = (
            _table(f"{start}events").get("max", 0) if usage == "current" else _number(f"{start}failcnt") or 0
        )
        result[parts[1]] = {**{key: value for key, value in entry.items() if value}, "failcnt": failures}
    return result
