"""The runtime specification's config.json as values (Linux part), versions 1.0.2 to 1.2.

Names are the document's in Python's spelling; a member that was absent is None where absence differs from the zero
value, else the zero value. https://github.com/opencontainers/runtime-spec/blob/main/config.md and config-linux.md
"""

from __future__ import annotations

from sixhops.values import Value

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from typing import Any

_NONE: dict[str, Any] = {}

__all__ = ["Linux", "Process", "Resources", "Spec"]


class Rlimit(Value):
    """One resource limit; 2**64-1 means none."""

    type: str
    soft: int
    hard: int


class User(Value):
    """Who the process is, in ids of the container."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(Value):
    """The five sets, by name."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Scheduler(Value):
    """How the kernel schedules the process; times in nanoseconds (sched_setattr(2))."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IoPriority(Value):
    """The process's class of disk scheduling and its priority in there (ioprio_set(2))."""

    io_class: str
    priority: int = 0


class CpuAffinity(Value):
    """Processors, as a list such as `0-3,7`, of an exec before and after it enters the container's groups."""

    initial: str = ""
    final: str = ""


class Process(Value):
    """What runs, as whom, with what limits; also the document of `exec --process`."""

    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    terminal: bool = False
    console_size: tuple[int, int] | None = None  # rows, columns
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = None


class IdMapping(Value):
    """A range of ids inside a user namespace and outside."""

    container: int
    host: int
    size: int


class Mount(Value):
    """One mount, in the order of the document."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Hook(Value):
    """A program of the host that takes part in the container's life; `timeout` in seconds."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Hooks(Value):
    """The six moments, in the order in which they come."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Namespace(Value):
    """One namespace: new if `path` is empty, else the one there."""

    type: str
    path: str = ""


class Device(Value):
    """A device node to make in the container."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int = 0
    gid: int = 0


class DeviceRule(Value):
    """One rule of the device controller; None for a number means all."""

    allow: bool
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Memory(Value):
    """Limits in bytes; -1 is none."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False
    check_before_update: bool = False


class Cpu(Value):
    """Shares of version 1 scale; quota, period, burst and realtime values in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class WeightDevice(Value):
    """A block device's weights."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Value):
    """A block device's rate in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIo(Value):
    """Weights (10-1000) and throttles."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_devices: tuple[WeightDevice, ...] = ()
    read_bps: tuple[ThrottleDevice, ...] = ()
    write_bps: tuple[ThrottleDevice, ...] = ()
    read_iops: tuple[ThrottleDevice, ...] = ()
    write_iops: tuple[ThrottleDevice, ...] = ()


class HugepageLimit(Value):
    """A limit in bytes for one page size such as 2MB."""

    page_size: str
    limit: int


class Network(Value):
    """Class and priorities for net_cls and net_prio."""

    class_id: int | None = None
    priorities: tuple[tuple[str, int], ...] = ()


class Resources(Value):
    """What the control groups limit; also the document of `update --resources`."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    pids_limit: int | None = None
    block_io: BlockIo = BlockIo()
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network = Network()
    rdma: dict[str, tuple[int | None, int | None]] = _NONE  # handles, objects
    unified: dict[str, str] = _NONE


class SeccompArgument(Value):
    """A condition on one argument of a system call."""

    index: int
    value: int
    value_two: int
    op: str


class SeccompRule(Value):
    """What happens on some system calls."""

    names: tuple[str, ...]
    action: str
    errno: int | None = None
    arguments: tuple[SeccompArgument, ...] = ()


class Seccomp(Value):
    """A system call filter."""

    default_action: str
    default_errno: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    rules: tuple[SeccompRule, ...] = ()


class TimeOffset(Value):
    """How far a clock of a time namespace is from the host's."""

    seconds: int
    nanoseconds: int


class IntelRdt(Value):
    """Cache and memory bandwidth allocation (resctrl)."""

    clos_id: str = ""
    l3_cache_schema: str = ""
    memory_bandwidth_schema: str = ""


class Linux(Value):
    """Everything that is Linux's own."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: dict[str, TimeOffset] = _NONE
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: Resources = Resources()
    rootfs_propagation: str = ""
    seccomp: Seccomp | None = None
    sysctl: dict[str, str] = _NONE
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: str = ""
    intel_rdt: IntelRdt | None = None


class Spec(Value):
    """The whole document; `process` and `root_path` may be absent until a runtime checks them."""

    version: str = ""
    process: Process | None = None
    root_path: str | None = None
    root_readonly: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: dict[str, str] = _NONE
    linux: Linux = Linux()
