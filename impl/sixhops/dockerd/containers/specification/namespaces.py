"""Namespaces that a container shares with another or with the host, and /dev/shm, which goes with the IPC namespace.

Source of the messages: moby 20.10, `getIpcContainer`, `getPidContainer` and `setupIpcDirs` in
daemon/container_operations_unix.go. All of them are failures of a start (500).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError, system
from sixhops.linux import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.containers.held import Held

__all__ = ["ipc_path", "pid_path", "shm_directory", "wants_init"]

_HOSTS_SHM = "/dev/shm"
_MODES = frozenset({"", "host", "none", "private", "shareable"})


def ipc_path(held: Held, find: Callable[[str], Held]) -> str:
    """Return the path of the IPC namespace that a container joins, "" for its own. Raises EngineError 500."""
    mode = held.container.host_config["IpcMode"]
    name = _joined(mode)
    if name is None:
        if mode not in _MODES:
            raise system(f"Invalid IPC mode: {mode}")
        return ""
    prefix = f"can't join IPC of container {name}"
    try:
        other = find(name)
        _check_runs(other)
    except EngineError as error:
        raise system(f"{prefix}: {error.message}") from error
    if not _shm_of(other, find):
        raise system(f"{prefix}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
    return f"/proc/{other.container.state.pid}/ns/ipc"


def pid_path(held: Held, find: Callable[[str], Held]) -> str:
    """Return the path of the PID namespace that a container joins, "" for its own. Raises EngineError 500."""
    name = _joined(held.container.host_config["PidMode"])
    if name is None:
        return ""
    try:
        other = find(name)
    except EngineError as error:
        raise system(f"cannot join PID of a non running container: {name}: {error.message}") from error
    _check_runs(other)
    return f"/proc/{other.container.state.pid}/ns/pid"


def shm_directory(held: Held, find: Callable[[str], Held]) -> str:
    """Return the directory of the host that is a container's /dev/shm, "" for a tmpfs that the runtime mounts.

    That of a container with shareable IPC is mounted here. Raises EngineError 500.
    """
    container = held.container
    mode = container.host_config["IpcMode"]
    if mode == "host" and not Path(_HOSTS_SHM).exists():
        raise system("/dev/shm is not mounted, but must be for --ipc=host")
    if mode not in {"", "shareable"}:
        return _shm_of(held, find)
    if any(point.destination == _HOSTS_SHM for point in container.mounts):
        return ""
    if _HOSTS_SHM in (container.host_config.get("Tmpfs") or {}):
        return ""
    place = held.files.shm
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = mounts.MS_NOSUID | mounts.MS_NOEXEC | mounts.MS_NODEV
    mounts.mount("shm", str(place), "tmpfs", flags, f"mode=1777,size={container.host_config['ShmSize']}")
    return str(place)


def wants_init(held: Held, *, default: bool) -> bool:
    """Whether a container runs under an init; `default` is --init.

    Where the PID namespace is another's, the program would not be the first process anyhow.
    """
    host = held.container.host_config
    wanted = host.get("Init")
    mode = host["PidMode"]
    return mode != "host" and _joined(mode) is None and bool(default if wanted is None else wanted)


def _joined(mode: str) -> str | None:
    """Return whose namespace a mode `container:NAME` means, None for another mode."""
    prefix, colon, name = mode.partition(":")
    return name if prefix == "container" and colon else None


def _shm_of(held: Held, find: Callable[[str], Held]) -> str:
    """Return the directory that a container has, or would share, as /dev/shm; "" when it shares none."""
    mode = held.container.host_config["IpcMode"]
    if mode == "host":
        return _HOSTS_SHM
    if mode in {"", "shareable"}:
        return str(held.files.shm) if held.files.shm.is_dir() else ""
    name = _joined(mode)
    return _shm_of(find(name), find) if name else ""


def _check_runs(other: Held) -> None:
    state, identity = other.container.state, other.container.id
    if not state.is_running:
        raise system(f"container {identity} is not running")
    if state.status is Status.RESTARTING:
        raise system(f"Container {identity} is restarting, wait until the container is running")
