"""What this runtime accepts beyond the types: checked before anything exists, with runc's words. Almost pure.

Only the rootfs, namespace files and the kernel's list of mounted facilities are looked at.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os

from sixhops.linux.cgroups.layout import read_layout
from sixhops.linux.namespaces import FILES, FLAGS
from sixhops.linux.rlimits import NUMBERS
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.inside.mount_options import PROPAGATION

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import IdMapping, IntelRdt, Linux, Mount, Process, Spec

__all__ = ["validate", "validate_process"]

_IPC_SYSCTLS = {
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
}


def validate_process(process: Process) -> None:
    """Check the process section, also that of exec. Raises RuntimeFault."""
    if not process.cwd:
        raise RuntimeFault("Cwd property must not be empty")
    if not process.cwd.startswith("/"):
        raise RuntimeFault("Cwd must be an absolute path")
    if not process.args:
        raise RuntimeFault("args must not be empty")
    if process.selinux_label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise RuntimeFault("selinux label is specified in config, but selinux is disabled or not supported")
    for limit in process.rlimits:
        if limit.type not in NUMBERS:
            raise RuntimeFault(f"wrong rlimit value: {limit.type}")
    if process.scheduler or process.io_priority or process.exec_cpu_affinity:
        _check_scheduling(process)


def _check_scheduling(process: Process) -> None:
    from sixhops.linux import scheduling

    scheduler, disk, affinity = process.scheduler, process.io_priority, process.exec_cpu_affinity
    if scheduler is not None:
        if scheduler.policy not in scheduling.POLICIES:
            raise RuntimeFault(f"invalid scheduler policy: {scheduler.policy}")
        for flag in scheduler.flags:
            if flag not in scheduling.FLAGS:
                raise RuntimeFault(f"invalid scheduler flag: {flag}")
        if not -20 <= scheduler.nice <= 19:
            raise RuntimeFault(f"invalid scheduler nice: {scheduler.nice}")
    if disk is not None:
        if disk.io_class not in scheduling.IO_CLASSES:
            raise RuntimeFault(f"invalid ioPriority.Class: {disk.io_class}")
        if not 0 <= disk.priority <= 7:
            raise RuntimeFault(f"invalid ioPriority.Priority: {disk.priority}")
    for text in (affinity.initial, affinity.final) if affinity is not None else ():
        try:
            if text:
                scheduling.parse_processors(text)
        except ValueError as error:
            raise RuntimeFault(f"invalid execCPUAffinity: {error}") from error


def validate(spec: Spec, rootfs: str, *, pivot: bool = True) -> None:
    """Check a container's document; `rootfs` is the absolute path. Raises RuntimeFault."""
    if spec.process is None:
        raise RuntimeFault("process property must not be empty")
    validate_process(spec.process)
    if spec.root_path is None:
        raise RuntimeFault("root must be specified")
    for mount in spec.mounts:
        _check_mount(mount)
    linux = spec.linux
    _check_devices(linux)
    if linux.rootfs_propagation and linux.rootfs_propagation not in PROPAGATION:
        raise RuntimeFault(f"rootfsPropagation={linux.rootfs_propagation} is not supported")
    if not pivot and linux.rootfs_propagation in {"private", "rprivate"}:
        raise RuntimeFault("rootfsPropagation of [r]private is not safe without pivot_root")
    kinds = _check_kinds(linux)
    if linux.intel_rdt is not None:
        _check_rdt(linux.intel_rdt)
    if linux.resources.unified and not read_layout().is_unified:
        raise RuntimeFault("invalid configuration: cannot use unified on cgroup v1")
    _check_root(rootfs)
    _check_namespaces(spec, kinds)
    for key in linux.sysctl:
        _check_sysctl(_dotted(key), kinds)
    if linux.personality not in {"", "LINUX", "LINUX32"}:
        raise RuntimeFault(f'invalid personality domain "{linux.personality}"')
    if linux.mount_label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise RuntimeFault("selinux label is specified in config, but selinux is disabled or not supported")


def _check_mount(mount: Mount) -> None:
    if "\0" in mount.source + mount.destination + mount.type:
        options = " ".join(mount.options)
        raise RuntimeFault(
            f"invalid mount {{Destination:{mount.destination} Type:{mount.type} Source:{mount.source} "
            f"Options:[{options}] UIDMappings:[] GIDMappings:[]}}: mount field contains null byte"
        )


def _check_devices(linux: Linux) -> None:
    for device in linux.devices:
        if device.type not in {"c", "u", "b", "p"}:
            raise RuntimeFault(f'invalid device type "{device.type}"')
    for position, rule in enumerate(linux.resources.devices):
        if not rule.access:
            raise RuntimeFault(f"device access at {position} field cannot be empty")
        if rule.type not in {"", "a", "b", "c"}:
            raise RuntimeFault(f'invalid cgroup device type "{rule.type}"')


def _check_kinds(linux: Linux) -> dict[str, str]:
    """Return the path of each kind of namespace listed."""
    kinds: dict[str, str] = {}
    for namespace in linux.namespaces:
        shown = f'{{"{namespace.type}" "{namespace.path}"}}'
        if namespace.type not in FLAGS:
            raise RuntimeFault(f"namespace {shown} does not exist")
        if namespace.type in kinds:
            raise RuntimeFault(f"malformed spec file: duplicated ns {shown}")
        kinds[namespace.type] = namespace.path
    if kinds.get("user") == "":
        if not linux.uid_mappings:
            raise RuntimeFault("User namespaces enabled, but no uid mappings found.")
        if not linux.gid_mappings:
            raise RuntimeFault("User namespaces enabled, but no gid mappings found.")
        if not _maps_root(linux.uid_mappings):
            raise RuntimeFault("User namespaces enabled, but no user mapping found.")
        if not _maps_root(linux.gid_mappings):
            raise RuntimeFault("User namespaces enabled, but no group mapping found.")
    return kinds


def _maps_root(mappings: tuple[IdMapping, ...]) -> bool:
    """Whether 0 means anything inside; what the runtime makes in there has to belong to somebody."""
    return any(entry.container == 0 and entry.size > 0 for entry in mappings)


def _check_rdt(rdt: IntelRdt) -> None:
    """Refuse what only a machine with resctrl could do: this runtime doesn't manage it."""
    if rdt.clos_id in {".", ".."} or "/" in rdt.clos_id:
        raise RuntimeFault(f'invalid intelRdt.ClosID "{rdt.clos_id}"')
    if rdt.l3_cache_schema:
        raise RuntimeFault("intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled")
    if rdt.memory_bandwidth_schema:
        raise RuntimeFault("intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled")


def _check_root(rootfs: str) -> None:
    try:
        found = os.stat(rootfs)
    except OSError as error:
        raise RuntimeFault(f"invalid rootfs: {reason(error, 'stat')}") from error
    real = os.path.realpath(rootfs)
    if real == "/":
        raise RuntimeFault("invalid rootfs: the host's root can't be a container's")
    if real != rootfs:
        raise RuntimeFault("invalid rootfs: not an absolute path, or a symlink")
    if not found.st_mode & 0o170000 == 0o040000:
        raise RuntimeFault(
            "unable to start container process: unable to start init: fork/exec /proc/self/exe: not a directory"
        )


def _check_namespaces(spec: Spec, kinds: dict[str, str]) -> None:
    linux = spec.linux
    if spec.hostname and "uts" not in kinds:
        raise RuntimeFault("unable to set hostname without a private UTS namespace")
    if spec.domainname and "uts" not in kinds:
        raise RuntimeFault("unable to set domainname without a private UTS namespace")
    if (linux.masked_paths or linux.readonly_paths) and "mount" not in kinds:
        raise RuntimeFault("unable to restrict sys entries without a private MNT namespace")
    if linux.time_offsets and "time" not in kinds:
        raise RuntimeFault("time namespace offsets specified, but time namespace isn't enabled in the config")
    for kind in kinds:
        if not os.path.exists(f"/proc/self/ns/{FILES[kind]}"):
            raise RuntimeFault(f"{kind} namespace isn't enabled in the running kernel")


def _dotted(key: str) -> str:
    """Return a sysctl's name with dots between its parts, for names that have slashes there (sysctl(8))."""
    first = next((letter for letter in key if letter in "./"), ".")
    return key if first == "." else key.translate({ord("."): "/", ord("/"): "."})


def _check_sysctl(name: str, kinds: dict[str, str]) -> None:
    if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
        if "ipc" in kinds:
            return
        raise RuntimeFault(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    if name.startswith("net."):
        if "network" not in kinds or _is_ours(kinds["network"]):
            raise RuntimeFault(f'sysctl "{name}" not allowed in host network namespace')
        return
    if "uts" in kinds and name in {"kernel.domainname", "kernel.hostname"}:
        if name == "kernel.domainname":
            return
        raise RuntimeFault(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
    raise RuntimeFault(f'sysctl "{name}" is not in a separate kernel namespace')


def _is_ours(path: str) -> bool:
    """Whether a network namespace's file is that of the runtime itself."""
    if not path:
        return False
    try:
        return os.path.samestat(os.stat("/proc/self/ns/net"), os.stat(path))
    except OSError as error:
        raise RuntimeFault(f"invalid netns path: {reason(error, 'stat')}") from error
