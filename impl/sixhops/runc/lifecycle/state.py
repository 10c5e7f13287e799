"""The state directory of a container: `<root>/<id>/{state.json,config.json,exec.fifo}`.

Rules: the directory's creation is what claims an id; `state.json` appears by rename, whole or not at all; whoever
changes a container's life holds a lock on the directory. What a container *is* (running, stopped, ...) is never
stored, because the process can die behind any record's back: it is derived from the kernel at each look.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

from sixhops.runc.errors import NoSuchContainer, RuntimeFault

__all__ = [
    "SPECIFICATION",
    "Container",
    "claim",
    "identifiers",
    "load",
    "lock",
    "now",
    "prepare",
    "process_start",
    "publish",
    "release",
    "save",
    "streams",
]

#: The version of the runtime specification that states are in, whatever the document's is.
SPECIFICATION = "1.0.2-dev"

_STATE = "state.json"
_CONFIG = "config.json"
_GATE = "exec.fifo"
_NOTIFY = "notify"
_RESTORED = "criu-root"
#: What came later to the record, and what one means that was written before: a container outlives the program that made it.
_LATER: dict[str, object] = {"ready": True, "on_host": False, "descriptors": []}
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class Container:
    """One container's record. A plain class, because dataclasses would cost every small command 10 ms of import."""

    __slots__ = (
        "annotations",
        "bundle",
        "created",
        "descriptors",
        "groups",
        "hooks",
        "identifier",
        "on_host",
        "own_pids",
        "owner",
        "pid",
        "ready",
        "root",
        "rootfs",
        "start_time",
        "version",
    )

    def __init__(self, root: str, identifier: str) -> None:
        self.root = root
        self.identifier = identifier
        self.version = SPECIFICATION
        self.bundle = ""
        self.rootfs = ""
        self.created = ""
        self.owner = 0
        self.pid = 0
        # False while `create` is at work; a record that stays so is what a killed `create` left
        self.ready = False
        self.start_time = 0
        self.groups: dict[str, str] = {}
        # what the standard streams were at the beginning, as /proc/PID/fd tells: a checkpoint's image names pipes so;
        # empty for unknown
        self.descriptors: list[str] = []
        self.own_pids = True
        # whether the container's mounts are in the caller's mount namespace, and so have to be taken away
        self.on_host = False
        self.annotations: dict[str, str] = {}
        # poststart and poststop, kept because the bundle may be gone when they are due
        self.hooks: dict[str, list[dict[str, object]]] = {}

    @property
    def directory(self) -> str:
        """The state directory."""
        return f"{self.root}/{self.identifier}"

    @property
    def gate(self) -> str:
        """The fifo behind which the container's process waits for `start`."""
        return f"{self.directory}/{_GATE}"

    @property
    def notify(self) -> str:
        """The directory of the container's notification socket."""
        return f"{self.directory}/{_NOTIFY}"

    @property
    def restored_root(self) -> str:
        """Where the rootfs is bound while `restore` is at work."""
        return f"{self.directory}/{_RESTORED}"

    @property
    def config(self) -> str:
        """The copy of the bundle's document that the container was made from."""
        return f"{self.directory}/{_CONFIG}"

    def alive(self) -> bool:
        """Whether the container's first process still exists and is that process (zombies are dead)."""
        return bool(self.pid) and process_start(self.pid) == self.start_time

    def status(self) -> str:
        """Return creating, created, running, paused or stopped, as the kernel says now."""
        from sixhops.linux.cgroups.control import is_frozen

        if not self.ready and (not self.pid or self.alive()):
            return "creating"  # or its maker died before there was a process; whoever gets the lock knows
        if not self.alive():
            return "stopped"
        if is_frozen(self.groups):
            return "paused"
        return "created" if os.path.exists(self.gate) else "running"

    def describe(self, status: str, pid: int) -> dict[str, object]:
        """Return the runtime specification's state (runtime.md#state), which hooks get on stdin."""
        state: dict[str, object] = {
            "ociVersion": self.version,
            "id": self.identifier,
            "status": status,
            **({"pid": pid} if pid else {}),
            "bundle": self.bundle,
        }
        if self.annotations:
            state["annotations"] = self.annotations
        return state


def check_identifier(identifier: str) -> None:
    """Raise RuntimeFault if the text can't be a container's id."""
    if not identifier:
        raise RuntimeFault("container id cannot be empty")
    if identifier in {".", ".."} or not _ID_LETTERS.issuperset(identifier):
        raise RuntimeFault("invalid container ID format")


def claim(root: str, identifier: str) -> int:
    """Make the state directory and return its lock; raises RuntimeFault if the id is taken or no id."""
    check_identifier(identifier)
    directory = f"{root}/{identifier}"
    try:
        try:
            os.mkdir(directory, 0o711)
        except FileNotFoundError:
            os.makedirs(root, 0o700, exist_ok=True)
            os.mkdir(directory, 0o711)
    except FileExistsError as error:
        raise RuntimeFault("container with given ID already exists") from error
    return _lock(directory)


def _lock(directory: str) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def lock(container: Container) -> int:
    """Wait for the container's lock; close the returned descriptor to give it back. Raises NoSuchContainer."""
    try:
        return _lock(container.directory)
    except FileNotFoundError as error:
        raise NoSuchContainer from error


def save(container: Container) -> None:
    """Write the record, whole or not at all."""
    prepare(container)
    publish(container)


def prepare(container: Container) -> None:
    """Write the record beside its place, as the next one; nobody sees it before `publish`."""
    record = {
        name: getattr(container, name) for name in Container.__slots__ if name not in {"root", "identifier"}
    }
    with open(f"{container.directory}/{_STATE}.new", "w") as file:
        file.write(json.dumps(record))


def publish(container: Container) -> None:
    """Put the prepared record in its place."""
    path = f"{container.directory}/{_STATE}"
    os.rename(f"{path}.new", path)


def load(root: str, identifier: str) -> Container:
    """Return the record; raises NoSuchContainer, also for a container that is only being made."""
    if not identifier:
        raise RuntimeFault("container id cannot be empty")
    if identifier in {".", ".."} or not _ID_LETTERS.issuperset(identifier):
        raise RuntimeFault("invalid container ID format")
    container = Container(root, identifier)
    try:
        with open(f"{container.directory}/{_STATE}") as file:
            record = json.load(file)
        record = {**_LATER, **record}
        for name in Container.__slots__:
            if name not in {"root", "identifier"}:
                setattr(container, name, record[name])
    except FileNotFoundError as error:
        raise NoSuchContainer from error
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeFault(f"state of container {identifier} is damaged: {error}") from error
    return container


def identifiers(root: str) -> list[str]:
    """Return the ids under a root, sorted."""
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def release(root: str, identifier: str) -> None:
    """Remove the state directory; the record goes first, so that nobody sees half a container."""
    directory = f"{root}/{identifier}"
    for name in (_STATE, f"{_STATE}.new", _CONFIG, _GATE, f"{_NOTIFY}/notify.sock"):
        try:
            os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue
    for path in (f"{directory}/{_NOTIFY}", f"{directory}/{_RESTORED}", directory):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _unmount(path)


def _unmount(path: str) -> None:
    """Remove a mount point that a killed restore has left."""
    from sixhops.linux.mounts import MNT_DETACH, unmount

    unmount(path, MNT_DETACH)
    os.rmdir(path)


def streams(pid: int | str = "self") -> list[str]:
    """Return where a process's standard streams lead, empty text for one that is closed."""
    found = []
    for number in range(3):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            found.append("")
    return found


def process_start(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if there is none or only its corpse."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in {b"Z", b"X"} else int(fields[19])


def now() -> str:
    """Return the time in RFC 3339 with nanoseconds, UTC."""
    nanoseconds = time.time_ns()
    fraction = f"{nanoseconds % 1_000_000_000:09}".rstrip("0")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 1_000_000_000))
    return f"{stamp}.{fraction}Z" if fraction else f"{stamp}Z"
