"""`spec`: a config.json to begin with, the same document that runc writes."""

from __future__ import annotations

import json
import os

from sixhops.runc.errors import RuntimeFault, reason

__all__ = ["template", "write_template"]

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = (
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    "/proc/sched_debug /sys/firmware /proc/scsi"
)
_READONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"


def _mount(destination: str, kind: str, source: str, options: str) -> dict[str, object]:
    mount: dict[str, object] = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = options.split()
    return mount


def template(*, rootless: bool = False, uid: int = 0, gid: int = 0) -> dict[str, object]:
    """Return the document; for a rootless one the ids of the user that will run it."""
    mounts = [
        _mount("/proc", "proc", "proc", ""),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
    ]
    linux: dict[str, object] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": _MASKED.split(),
        "readonlyPaths": _READONLY.split(),
    }
    if rootless:
        # A user without privileges may neither give terminals to a group of the host nor mount sysfs.
        mounts[2] = _mount(
            "/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620"
        )
        mounts[5] = _mount("/sys", "none", "/sys", "rbind nosuid noexec nodev ro")
        namespaces = ("pid", "ipc", "uts", "mount", "user")
        linux = {
            "uidMappings": [{"containerID": 0, "hostID": uid, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": gid, "size": 1}],
            **linux,
            "namespaces": [{"type": name} for name in namespaces],
        }
        del linux["resources"]
    return {
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "ambient"), _CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "runc",
        "mounts": mounts,
        "linux": linux,
    }


def write_template(bundle: str, *, rootless: bool) -> None:
    """Write config.json into a bundle; an existing one is an error. Raises RuntimeFault."""
    if bundle and not os.path.isdir(bundle):
        raise RuntimeFault(f"chdir {bundle}: no such file or directory")
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(template(rootless=rootless, uid=os.geteuid(), gid=os.getegid()), file, indent="\t")
    except FileExistsError as error:
        raise RuntimeFault("File config.json exists. Remove it first") from error
    except OSError as error:
        raise RuntimeFault(reason(error, "open")) from error
