"""What this runtime accepts beyond the types: checked before anything exists, with runc's words. Almost pure.

Only the rootfs, namespace files and the kernel's list of mounted facilities are looked at.
"""

from __future__ import annotations

import os

from sixhops.linux.namespaces import FILES, FLAGS
from sixhops.linux.rlimits import NUMBERS
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.mount_options import PROPAGATION

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Process, Spec

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


def validate(spec: Spec, rootfs: str) -> None:
    """Check a container's document; `rootfs` is the absolute path. Raises RuntimeFault."""
    if spec.process is None:
        raise RuntimeFault("process property must not be empty")
    validate_process(spec.process)
    if spec.root_path is None:
        raise RuntimeFault("root must be specified")
    kinds: dict[str, str] = {}
    linux = spec.linux
    for namespace in linux.namespaces:
        shown = f'{{"{namespace.type}" "{namespace.path}"}}'
        if namespace.type not in FLAGS:
            raise RuntimeFault(f"namespace {shown} does not exist")
        if namespace.type in kinds:
            raise RuntimeFault(f"malformed spec file: duplicated ns {shown}")
        kinds[namespace.type] = namespace.path
    for device in linux.devices:
        if device.type not in {"c", "u", "b", "p"}:
            raise RuntimeFault(f'invalid device type "{device.type}"')
        if not device.path.startswith("/"):
            raise RuntimeFault(f'device path "{device.path}" is not absolute')
    if linux.rootfs_propagation and linux.rootfs_propagation not in PROPAGATION:
        raise RuntimeFault(f"rootfsPropagation={linux.rootfs_propagation} is not supported")
    _check_root(rootfs)
    _check_namespaces(spec, kinds)
    for key in linux.sysctl:
        _check_sysctl(key, kinds)
    if linux.personality not in {"", "LINUX", "LINUX32"}:
        raise RuntimeFault(f'invalid personality domain "{linux.personality}"')
    if linux.mount_label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise RuntimeFault("selinux label is specified in config, but selinux is disabled or not supported")
    hooks = spec.hooks
    for hook in (*hooks.prestart, *hooks.create_runtime, *hooks.create_container, *hooks.start_container):
        if not hook.path:
            raise RuntimeFault("hook path must not be empty")


def _check_root(rootfs: str) -> None:
    try:
        found = os.stat(rootfs)
    except OSError as error:
        raise RuntimeFault(f"invalid rootfs: {reason(error, 'stat')}") from error
    if not found.st_mode & 0o170000 == 0o040000:
        raise RuntimeFault(
            "unable to start container process: unable to start init: fork/exec /proc/self/exe: not a directory"
        )
    if os.path.realpath(rootfs) == "/":
        raise RuntimeFault("invalid rootfs: the host's root can't be a container's")


def _check_namespaces(spec: Spec, kinds: dict[str, str]) -> None:
    linux = spec.linux
    if spec.hostname and "uts" not in kinds:
        raise RuntimeFault("unable to set hostname without a private UTS namespace")
    if spec.domainname and "uts" not in kinds:
        raise RuntimeFault("unable to set domainname without a private UTS namespace")
    if (linux.masked_paths or linux.readonly_paths) and "mount" not in kinds:
        raise RuntimeFault("unable to restrict sys entries without a private MNT namespace")
    if "user" in kinds and not kinds["user"]:
        if not linux.uid_mappings:
            raise RuntimeFault("User namespaces enabled, but no uid mappings found.")
        if not linux.gid_mappings:
            raise RuntimeFault("User namespaces enabled, but no gid mappings found.")
    if "mount" not in kinds and spec.mounts:
        raise RuntimeFault("unable to mount filesystems without a private mount namespace")
    if linux.time_offsets and "time" not in kinds:
        raise RuntimeFault("time namespace offsets specified, but time namespace isn't enabled in the config")
    for kind in kinds:
        if not os.path.exists(f"/proc/self/ns/{FILES[kind]}"):
            raise RuntimeFault(f"{kind} namespace isn't enabled in the running kernel")


def _check_sysctl(key: str, kinds: dict[str, str]) -> None:
    name = key.replace("/", ".")
    if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
        if "ipc" in kinds:
            return
        raise RuntimeFault(f'sysctl "{key}" is not allowed in the hosts ipc namespace')
    if name.startswith("net."):
        if "network" not in kinds:
            raise RuntimeFault(f'sysctl "{key}" not allowed in host network namespace')
        return
    if name in {"kernel.domainname", "kernel.hostname"}:
        if "uts" not in kinds:
            raise RuntimeFault(f'sysctl "{key}" is not allowed in the hosts uts namespace')
        if name == "kernel.domainname":
            return
        raise RuntimeFault(f'sysctl "{key}" is not allowed as it conflicts with the OCI "hostname" field')
    raise RuntimeFault(f'sysctl "{key}" is not in a separate kernel namespace')
