"""A container's figures from its control groups, and the kernel's notice that memory ran out. Both cgroup
versions.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.shim.container import read_file
from sixhops.wire.proto import cgroup1_pb2, cgroup2_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from sixhops.shim.loop import Loop

__all__ = ["Groups", "OomWatch", "find_hierarchies", "groups_of", "join_groups", "read_metrics"]

CLOCK_TICK_NANOSECONDS = 10**9 // os.sysconf("SC_CLK_TCK")
IN_MODIFY = 2
MEMORY_V1 = {  # memory.stat's name -> field, where they differ
    "pgpgin": "pg_pg_in",
    "pgpgout": "pg_pg_out",
    "pgfault": "pg_fault",
    "pgmajfault": "pg_maj_fault",
    "total_pgpgin": "total_pg_pg_in",
    "total_pgpgout": "total_pg_pg_out",
    "total_pgfault": "total_pg_fault",
    "total_pgmajfault": "total_pg_maj_fault",
    "hierarchical_memsw_limit": "hierarchical_swap_limit",
}
MEMORY_ENTRIES = {
    "usage": "memory",
    "swap": "memory.memsw",
    "kernel": "memory.kmem",
    "kernel_tcp": "memory.kmem.tcp",
}
BLKIO = {
    "io_service_bytes_recursive": "blkio.throttle.io_service_bytes_recursive",
    "io_serviced_recursive": "blkio.throttle.io_serviced_recursive",
}

Groups = dict[str, Path]

# where the hierarchies are mounted, and which part of each: by controller, "" for the unified one. Looked for once, before
# the fork if there is one: the table of mounts is long, and all that reading it touches would be a shim's own
_hierarchies: dict[str, tuple[str, str]] = {}


def find_hierarchies() -> None:
    """Read where the control group hierarchies are mounted."""
    for line in read_file("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _source, options = after.split(" ", 2)
        names = [""] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        if names:
            fields = before.split(" ")
            for name in names:
                _hierarchies.setdefault(name, (fields[4], fields[3]))


def groups_of(membership: str) -> Groups:
    """Return the control group directories of a process, by v1 controller name, "" for the unified hierarchy.

    `membership` is the text of its /proc/PID/cgroup.
    """
    return {name: Path(path) for name, path in _paths(membership).items()}


def _paths(membership: str) -> dict[str, str]:
    found = {}
    for line in membership.splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            place = _hierarchy(controller)
            if place is not None:
                found[controller] = _below(place, path)
    return found


def _hierarchy(controller: str) -> tuple[str, str] | None:
    if not _hierarchies:
        find_hierarchies()
    return _hierarchies.get(controller)


def _below(place: tuple[str, str], path: str) -> str:
    point, root = place
    if root == "/":
        return point + path.rstrip("/")
    return os.path.normpath(f"{point}/{os.path.relpath(path, root)}")


def join_groups(path: str, pid: int) -> None:
    """Move `pid` into the control group `path` of every hierarchy that has it; OSError when none does."""
    done = False
    for place in set(_hierarchies.values() or [found for found in [_hierarchy("")] if found]):
        procs = f"{place[0]}/{path.lstrip('/')}/cgroup.procs"
        if os.path.exists(procs):
            descriptor = os.open(procs, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"%d" % pid)
            finally:
                os.close(descriptor)
            done = True
    if not done:
        raise OSError(errno.ENOENT, f"failed to load cgroup {path}: cgroup deleted")


def read_metrics(groups: Groups) -> Message:
    """Return the figures as containerd's Metrics message of the right version; what isn't there is left out."""
    if "memory" in groups or "cpuacct" in groups:
        return _read_v1(groups)
    return _read_v2(groups[""]) if "" in groups else cgroup2_pb2.Metrics()


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0  # this kernel doesn't have the file
    return (1 << 64) - 1 if text == "max" else int(text or 0)


def _pairs(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {
        words[0]: int(words[1]) for words in map(str.split, lines) if len(words) == 2 and words[1].isdigit()
    }


def _fill(message: Message, values: dict[str, int], names: dict[str, str]) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        field = names.get(name, name)
        # memory.stat also has names of what are messages here (`swap`)
        if field in fields and fields[field].message_type is None:
            setattr(message, field, value)


def _read_v1(groups: Groups) -> Message:
    metrics = cgroup1_pb2.Metrics()
    if (pids := groups.get("pids")) and pids.exists():
        metrics.pids.current = _number(pids / "pids.current")
        limit = _number(pids / "pids.max")
        metrics.pids.limit = 0 if limit == (1 << 64) - 1 else limit
    if (cpu := groups.get("cpuacct")) and cpu.exists():
        usage = metrics.cpu.usage
        usage.total = _number(cpu / "cpuacct.usage")
        ticks = _pairs(cpu / "cpuacct.stat")
        usage.user = ticks.get("user", 0) * CLOCK_TICK_NANOSECONDS
        usage.kernel = ticks.get("system", 0) * CLOCK_TICK_NANOSECONDS
        usage.per_cpu.extend(int(word) for word in (cpu / "cpuacct.usage_percpu").read_text().split())
    if (cpu := groups.get("cpu")) and cpu.exists():
        throttled = _pairs(cpu / "cpu.stat")
        metrics.cpu.throttling.periods = throttled.get("nr_periods", 0)
        metrics.cpu.throttling.throttled_periods = throttled.get("nr_throttled", 0)
        metrics.cpu.throttling.throttled_time = throttled.get("throttled_time", 0)
    if (memory := groups.get("memory")) and memory.exists():
        _fill(metrics.memory, _pairs(memory / "memory.stat"), MEMORY_V1)
        for field, prefix in MEMORY_ENTRIES.items():
            entry = getattr(metrics.memory, field)
            for name, suffix in (
                ("usage", "usage_in_bytes"),
                ("limit", "limit_in_bytes"),
                ("max", "max_usage_in_bytes"),
                ("failcnt", "failcnt"),
            ):
                setattr(entry, name, _number(memory / f"{prefix}.{suffix}"))
        control = _pairs(memory / "memory.oom_control")
        _fill(metrics.memory_oom_control, control, {})
    if (blkio := groups.get("blkio")) and blkio.exists():
        for field, name in BLKIO.items():
            _fill_blkio(getattr(metrics.blkio, field), blkio / name)
    return metrics


def _fill_blkio(entries: object, path: Path) -> None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return
    for words in map(str.split, lines):
        if len(words) != 3:
            continue  # the last line is a total
        major, minor = words[0].split(":")
        entries.add(op=words[1], device="", major=int(major), minor=int(minor), value=int(words[2]))  # type: ignore[attr-defined] # a repeated field


def _read_v2(group: Path) -> Message:
    metrics = cgroup2_pb2.Metrics()
    metrics.pids.current = _number(group / "pids.current")
    limit = _number(group / "pids.max")
    metrics.pids.limit = 0 if limit == (1 << 64) - 1 else limit
    _fill(metrics.cpu, _pairs(group / "cpu.stat"), {})
    _fill(metrics.memory, _pairs(group / "memory.stat"), {})
    for field, name in (
        ("usage", "memory.current"),
        ("usage_limit", "memory.max"),
        ("swap_usage", "memory.swap.current"),
        ("swap_limit", "memory.swap.max"),
        ("max_usage", "memory.peak"),
    ):
        setattr(metrics.memory, field, _number(group / name))
    _fill(metrics.memory_events, _pairs(group / "memory.events"), {})
    try:
        lines = (group / "io.stat").read_text().splitlines()
    except OSError:
        lines = []
    for words in map(str.split, lines):
        major, minor = words[0].split(":")
        entry = metrics.io.usage.add(major=int(major), minor=int(minor))
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name in entry.DESCRIPTOR.fields_by_name:
                setattr(entry, name, int(value))
    return metrics


class OomWatch:
    """Calls `report` each time the kernel killed something of the container for want of memory.

    `membership` as for `groups_of`. OSError when the group has gone already.
    """

    __slots__ = ("_descriptors", "_loop", "_report")

    def __init__(self, loop: Loop, membership: str, report: Callable[[], None]) -> None:
        self._loop = loop
        self._report = report
        self._descriptors: list[int] = []
        # not groups_of: a path is all that a shim at rest needs
        for line in membership.splitlines():
            _number, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                place = _hierarchy("memory")
                if place is not None:
                    self._watch_v1(_below(place, path))
                    return
        place = _hierarchy("")
        unified = membership.rpartition("0::")[2].partition("\n")[0]
        if place is not None and unified:
            self._watch_v2(f"{_below(place, unified)}/memory.events")

    def _watch_v1(self, memory: str) -> None:
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = -1
        try:
            control = os.open(f"{memory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            registration = os.open(f"{memory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(registration, b"%d %d" % (event, control))
            finally:
                os.close(registration)
        except OSError:
            os.close(event)
            raise
        finally:
            if control >= 0:
                os.close(control)  # the kernel keeps what it needs
        self._descriptors = [event]

        def told() -> None:
            os.eventfd_read(event)
            # the kernel also tells when the group is removed; that is no want of memory
            if os.path.exists(f"{memory}/cgroup.event_control"):
                self._report()
            else:
                self.close()

        self._loop.on_readable(event, told)

    def _watch_v2(self, events: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(events), IN_MODIFY) < 0:
            number = ctypes.get_errno()
            if descriptor >= 0:
                os.close(descriptor)
            raise OSError(number, f"inotify on {events}: {os.strerror(number)}")
        self._descriptors = [descriptor]
        # from zero, as upstream counts: a kill before the watch stood is told with the first change after it
        seen = 0

        def told() -> None:
            nonlocal seen
            os.read(descriptor, 4096)
            now = _pairs(Path(events)).get("oom_kill", 0)
            if now > seen:
                self._report()
            seen = now

        self._loop.on_readable(descriptor, told)

    def close(self) -> None:
        """Stop watching."""
        for descriptor in self._descriptors:
            self._loop.forget(descriptor)
            os.close(descriptor)
        self._descriptors = []
