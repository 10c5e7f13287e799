"""Turning the runtime specification's resources into control files: a pure plan, then writes in its order.

https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#control-groups
Conversions from version 1 values to version 2 (shares to weight and so on) are those that runtimes agree on.
"""

from __future__ import annotations

import os

from sixhops.linux.cgroups.control import read, write
from sixhops.linux.libc import LinuxError

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import BlockIo, Cpu, Memory, Resources

__all__ = ["LimitError", "apply", "plan_unified", "plan_version1"]

# controller, control file, value
Write = tuple[str, str, str]


class LimitError(Exception):
    """A limit that this machine's control groups can't take; the text is for the user."""


def apply(groups: dict[str, str], resources: Resources, *, restore: bool = False) -> None:
    """Write the limits (all but device rules) into a container's groups. Raises LinuxError and LimitError.

    With `restore`, a failure puts the values back that were there before.
    """
    undo: list[tuple[str, str]] = []
    try:
        if set(groups) == {""}:
            _check_usage(groups[""], resources.memory)
            for _, name, value in plan_unified(resources):
                path = f"{groups['']}/{name}"
                if restore:
                    _remember(path, undo)
                write(path, value)
        else:
            _apply_version1(groups, resources, undo if restore else None)
    except (LinuxError, LimitError):
        for path, value in reversed(undo):
            try:
                write(path, value)
            except LinuxError:
                continue  # what the kernel won't take back, nobody can put back
        raise


def _check_usage(directory: str, memory: Memory) -> None:
    """Refuse a memory limit below what is in use, where asked to: version 2 would kill instead of refusing."""
    if not memory.check_before_update or not memory.limit or memory.limit < 0:
        return
    usage = int(read(f"{directory}/memory.current"))
    if memory.limit < usage:
        raise LimitError(f"rejecting memory limit {memory.limit} < usage {usage}")


def _remember(path: str, undo: list[tuple[str, str]]) -> None:
    try:
        value = read(path)
    except OSError:
        return  # writing will say what is wrong
    if value and "\n" not in value:  # files of many lines (by device) are not written as they are read
        undo.append((path, value))


def _apply_version1(groups: dict[str, str], resources: Resources, undo: list[tuple[str, str]] | None) -> None:
    if resources.unified:
        raise LimitError("invalid configuration: cannot use unified on cgroup v1")
    for controller, name, value in plan_version1(resources):
        directory = groups.get(controller)
        if directory is None:
            raise LimitError(f"cannot set {controller} limit: container could not join or create cgroup")
        if name in {"blkio.weight", "blkio.weight_device"} and not os.path.exists(f"{directory}/{name}"):
            name = name.replace("blkio.", "blkio.bfq.")  # kernels since 5.0 have the BFQ scheduler's only
        if undo is not None:
            _remember(f"{directory}/{name}", undo)
        if name in {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}:
            _write_memory(directory, name, value, resources.memory)
        else:
            write(f"{directory}/{name}", value)
        if name == "cpu.shares":
            _check_shares(int(value), int(read(f"{directory}/{name}")))


def _check_shares(wanted: int, given: int) -> None:
    """Refuse what the kernel has clipped in silence."""
    if wanted != given:
        word = "maximum" if wanted > given else "minimum"
        raise LimitError(f"the {word} allowed cpu-shares is {given}")


def plan_version1(resources: Resources) -> list[Write]:
    """Return the writes for version 1 hierarchies, in an order that the kernel accepts on a fresh group."""
    cpu = resources.cpu
    plan: list[Write] = []
    plan += [("cpuset", f"cpuset.{n}", v) for n, v in (("cpus", cpu.cpus), ("mems", cpu.mems)) if v]
    plan += _memory1(resources.memory)
    plan += _cpu1(cpu)
    if resources.pids_limit:
        plan.append(("pids", "pids.max", str(resources.pids_limit) if resources.pids_limit > 0 else "max"))
    plan += _block1(resources.block_io)
    plan += [
        ("hugetlb", f"hugetlb.{h.page_size}.limit_in_bytes", str(h.limit)) for h in resources.hugepage_limits
    ]
    if resources.network.class_id:
        plan.append(("net_cls", "net_cls.classid", str(resources.network.class_id)))
    plan += [
        ("net_prio", "net_prio.ifpriomap", f"{name} {value}") for name, value in resources.network.priorities
    ]
    plan += [("rdma", "rdma.max", _rdma(name, *limits)) for name, limits in resources.rdma.items()]
    return plan


def _memory1(memory: Memory) -> list[Write]:
    plan: list[Write] = []
    limit, swap = memory.limit or 0, memory.swap or 0
    if limit == -1 and not swap:
        swap = -1  # the sum of memory and swap can't stay limited when memory alone is not
    if limit:
        plan.append(("memory", "memory.limit_in_bytes", str(limit)))
    if swap:
        plan.append(("memory", "memory.memsw.limit_in_bytes", str(swap)))
    if memory.reservation:
        plan.append(("memory", "memory.soft_limit_in_bytes", str(memory.reservation)))
    if memory.disable_oom_killer:
        plan.append(("memory", "memory.oom_control", "1"))
    if memory.swappiness is not None:
        if memory.swappiness > 100:
            raise LimitError(f"invalid memory swappiness value: {memory.swappiness} (valid range is 0-100)")
        plan.append(("memory", "memory.swappiness", str(memory.swappiness)))
    return plan


def _write_memory(directory: str, name: str, value: str, memory: Memory) -> None:
    """Write a memory limit; the two limits bound each other, so the first may have to wait for the second."""
    path = f"{directory}/{name}"
    try:
        write(path, value)
    except LinuxError as error:
        if error.errno == 16:
            usage, peak = (read(f"{directory}/memory.{n}usage_in_bytes") for n in ("", "max_"))
            raise LimitError(
                f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
            ) from error
        if name == "memory.limit_in_bytes" and error.errno == 22 and memory.swap:
            write(f"{directory}/memory.memsw.limit_in_bytes", str(memory.swap))
            write(path, value)
        else:
            raise


def _cpu1(cpu: Cpu) -> list[Write]:
    values = (
        ("cpu.shares", cpu.shares),
        ("cpu.cfs_period_us", cpu.period),
        ("cpu.cfs_quota_us", cpu.quota),
        ("cpu.cfs_burst_us", cpu.burst),
        ("cpu.rt_period_us", cpu.realtime_period),
        ("cpu.rt_runtime_us", cpu.realtime_runtime),
        ("cpu.idle", cpu.idle),
    )
    return [("cpu", name, str(value)) for name, value in values if value]


def _block1(block: BlockIo) -> list[Write]:
    plan: list[Write] = []
    if block.weight:
        plan.append(("blkio", "blkio.weight", str(block.weight)))
    if block.leaf_weight:
        plan.append(("blkio", "blkio.leaf_weight", str(block.leaf_weight)))
    for device in block.weight_devices:
        if device.weight:
            plan.append(("blkio", "blkio.weight_device", f"{device.major}:{device.minor} {device.weight}"))
        if device.leaf_weight:
            plan.append(
                ("blkio", "blkio.leaf_weight_device", f"{device.major}:{device.minor} {device.leaf_weight}")
            )
    for name, throttles in (
        ("read_bps", block.read_bps),
        ("write_bps", block.write_bps),
        ("read_iops", block.read_iops),
        ("write_iops", block.write_iops),
    ):
        plan += [
            ("blkio", f"blkio.throttle.{name}_device", f"{t.major}:{t.minor} {t.rate}") for t in throttles
        ]
    return plan


def plan_unified(resources: Resources) -> list[Write]:
    """Return the writes for the unified hierarchy. Raises LimitError for what it can't express."""
    plan: list[tuple[str, str]] = []
    cpu, memory, block = resources.cpu, resources.memory, resources.block_io
    if resources.pids_limit:
        plan.append(("pids.max", _limit(resources.pids_limit)))
    plan += _memory2(memory)
    if block.weight:
        plan.append(("io.weight", str(1 + (block.weight - 10) * 9999 // 990)))
    for key, throttles in (
        ("rbps", block.read_bps),
        ("wbps", block.write_bps),
        ("riops", block.read_iops),
        ("wiops", block.write_iops),
    ):
        plan += [("io.max", f"{t.major}:{t.minor} {key}={t.rate or 'max'}") for t in throttles]
    if cpu.idle is not None:
        plan.append(("cpu.idle", str(cpu.idle)))
    if cpu.shares:
        plan.append(("cpu.weight", str(_weight(cpu.shares))))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if (cpu.quota or 0) > 0 else "max"
        plan.append(("cpu.max", f"{quota} {cpu.period or 100000}"))
    if cpu.burst is not None:
        plan.append(("cpu.max.burst", str(cpu.burst)))
    plan += [(f"cpuset.{name}", value) for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)) if value]
    plan += [(f"hugetlb.{h.page_size}.max", str(h.limit)) for h in resources.hugepage_limits]
    plan += [("rdma.max", _rdma(name, *limits)) for name, limits in resources.rdma.items()]
    for name, value in resources.unified.items():
        if "/" in name:
            raise LimitError(f'unified resource "{name}" must be a file name (no slashes)')
        if name.count(".") < 1:
            raise LimitError(f'unified resource "{name}" must be in the form CONTROLLER.PARAMETER')
        plan.append((name, value))
    return [("", name, value) for name, value in plan]


def _memory2(memory: Memory) -> list[tuple[str, str]]:
    plan = []
    limit, swap = memory.limit or 0, memory.swap or 0
    if limit == -1 and not swap:
        swap = -1
    if swap > 0 and limit <= 0:
        raise LimitError("unable to set swap limit without memory limit")
    if swap > 0:
        # Version 2 counts swap alone, version 1 the sum.
        if swap < limit:
            raise LimitError("memory+swap limit should be >= memory limit")
        plan.append(("memory.swap.max", str(swap - limit)))
    elif swap:
        plan.append(("memory.swap.max", "max"))
    if limit:
        plan.append(("memory.max", _limit(limit)))
    if memory.reservation:
        plan.append(("memory.low", _limit(memory.reservation)))
    return plan


def _limit(value: int) -> str:
    return str(value) if value > 0 else "max"


def _weight(shares: int) -> int:
    """Map 2..262144 (version 1) linearly to 1..10000 (version 2)."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _rdma(name: str, handles: int | None, objects: int | None) -> str:
    parts = [f"hca_handle={handles}"] if handles is not None else []
    parts += [f"hca_object={objects}"] if objects is not None else []
    return " ".join([name, *parts])
