"""Making, entering, freezing, killing and removing a container's groups.

Works on the mapping that `layout` describes and imports nothing heavy: `kill` and `delete` of a runtime need this only.
"""

# Contextlib is one more import.
# ruff: noqa: SIM105
from __future__ import annotations

import errno
import os
import time

from sixhops.linux.libc import LinuxError, describe
from sixhops.linux.namespaces import clones_into_groups

__all__ = [
    "create",
    "enter",
    "enter_self",
    "exists",
    "freeze",
    "frozen_file",
    "is_frozen",
    "open_entries",
    "open_unified",
    "processes",
    "read",
    "remove",
    "thaw",
    "write",
]

_FREEZE_DEADLINE = 2.0
_REMOVE_DEADLINE = 2.0
_STEP = 0.001


def write(path: str, value: str) -> None:
    """Write one value to a control file; raises LinuxError as `failed to write "VALUE": write PATH: reason`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LinuxError(error.errno or 5, f"open {path}") from error
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise LinuxError(error.errno or 5, f'failed to write "{value}": write {path}') from error
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """Return a control file's text without the final newline."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode().rstrip("\n")


def directories(groups: dict[str, str]) -> list[str]:
    """Return each directory of the groups once (controllers that are mounted together share one)."""
    return list(dict.fromkeys(groups.values()))


def exists(groups: dict[str, str]) -> bool:
    """Whether any of the groups exists."""
    return any(os.path.isdir(path) for path in directories(groups))


def create(groups: dict[str, str], made: list[str] | None = None) -> list[str]:
    """Make the missing directories; return those that were made, outermost first, for an undo.

    They are added to `made` as they come, so that it knows them when another one fails. Raises LinuxError.
    """
    made = [] if made is None else made
    for name, path in groups.items():
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            continue
        except FileNotFoundError:
            _create_below(name, path, made)
        except OSError as error:
            raise LinuxError(error.errno or 5, f"mkdir {path}") from error
        else:
            made.append(path)
            _furnish(name, path)
    return made


def _create_below(name: str, path: str, made: list[str]) -> None:
    """Make a directory and those above it that are missing, too."""
    missing = [path]
    step = os.path.dirname(path)
    while not os.path.isdir(step):
        missing.append(step)
        step = os.path.dirname(step)
    for step in reversed(missing):
        try:
            os.mkdir(step, 0o755)
        except FileExistsError:
            if step == path:
                continue
            # else another container made the common parent in between
        except OSError as error:
            raise LinuxError(error.errno or 5, f"mkdir {step}") from error
        else:
            made.append(step)
        _furnish(name, step)


def _furnish(name: str, path: str) -> None:
    """Give a new group of the controller `name` what it must have before anything enters it."""
    if name == "cpuset":
        _inherit_cpuset(path)
    elif name == "":
        _enable_controllers(path)


def _inherit_cpuset(path: str) -> None:
    """Copy cpus and mems from the parent: a version 1 cpuset is born empty, and nothing can enter an empty one.

    A parent that somebody else made may still be empty itself; then it is filled first.
    """
    for name in ("cpuset.cpus", "cpuset.mems"):
        empty = [path]
        while not read(f"{empty[-1]}/{name}"):
            parent = os.path.dirname(empty[-1])
            if not os.path.exists(f"{parent}/{name}"):
                return  # above the hierarchy's root there is nothing to copy from
            empty.append(parent)
        value = read(f"{empty.pop()}/{name}")
        for step in reversed(empty):
            write(f"{step}/{name}", value)


def _enable_controllers(path: str) -> None:
    """Hand the parent's version 2 controllers down to `path`; what the kernel refuses stays off, limits then say so."""
    parent = os.path.dirname(path)
    try:
        available = read(f"{parent}/cgroup.controllers").split()
        enabled = read(f"{parent}/cgroup.subtree_control").split()
    except OSError:
        return
    for controller in available:
        if controller not in enabled:
            try:
                write(f"{parent}/cgroup.subtree_control", f"+{controller}")
            except LinuxError:
                continue


def enter(groups: dict[str, str], pid: int) -> None:
    """Move a process into all its groups."""
    for path in directories(groups):
        write(f"{path}/cgroup.procs", str(pid))


def open_entries(groups: dict[str, str]) -> tuple[int, ...]:
    """Open the version 1 groups for a process that will enter them by itself (`enter_self`), close-on-exec.

    The kernel judges by who opened them, so it may have another identity by then.
    """
    opened: list[int] = []
    for path in dict.fromkeys(path for name, path in groups.items() if name):
        try:
            opened.append(os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            raise LinuxError(error.errno or 5, f"open {path}/tasks") from error
    return tuple(opened)


def open_unified(groups: dict[str, str]) -> int:
    """Open the version 2 group for a process that is to be born in it (`namespaces.clone`), close-on-exec.

    -1 where there is none or the kernel can't do it: then the process has to be moved (`enter`).
    """
    path = groups.get("")
    if path is None or not clones_into_groups():
        return -1
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LinuxError(error.errno or 5, f"open {path}") from error


def enter_self(entries: tuple[int, ...]) -> None:
    """Move the calling thread, which must be its process's only one, into the groups behind `entries`; closes them.

    Moving a whole process that is not the caller stops all forks and exits of the machine for a grace period of the
    kernel, which takes some 10 ms. A thread that moves itself spares that (cgroup_procs_write_start in the kernel).
    """
    for descriptor in entries:
        try:
            os.write(descriptor, b"0")
        except OSError as error:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            raise LinuxError(error.errno or 5, f'failed to write "0": write {path}') from error
        finally:
            os.close(descriptor)


def processes(groups: dict[str, str]) -> list[int]:
    """Return the pids in the container's group and below it, sorted; [] if the group is gone."""
    path = anchor(groups)
    found: set[int] = set()
    for directory, _, _ in os.walk(path):
        try:
            found.update(int(line) for line in read(f"{directory}/cgroup.procs").split())
        except OSError:
            continue  # removed in between
    return sorted(found)


def anchor(groups: dict[str, str]) -> str:
    """Return the directory whose membership speaks for the container: devices or freezer of version 1, or unified."""
    for name in ("devices", "freezer", "pids", "memory", ""):
        if name in groups:
            return groups[name]
    return next(iter(groups.values()), "")


def is_frozen(groups: dict[str, str]) -> bool:
    """Whether the container's processes are frozen."""
    path = frozen_file(groups)
    try:
        return bool(path) and read(path) not in {"THAWED", "0"}
    except OSError:
        return False


def frozen_file(groups: dict[str, str]) -> str:
    """Return the path of the file that says whether the processes are frozen (THAWED or 0 if not), "" if there is none."""
    if "freezer" in groups:
        return f"{groups['freezer']}/freezer.state"
    return f"{groups['']}/cgroup.freeze" if "" in groups else ""


def freeze(groups: dict[str, str]) -> None:
    """Stop all processes of the container; returns when all are stopped. Raises LinuxError (EBUSY) after 2 s."""
    _set_frozen(groups, "FROZEN", "1")


def thaw(groups: dict[str, str]) -> None:
    """Let the container's processes go on; nothing if the group is gone, for its last process may have been killed."""
    try:
        _set_frozen(groups, "THAWED", "0")
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise


def _set_frozen(groups: dict[str, str], state: str, digit: str) -> None:
    if "freezer" in groups:
        path, value, wanted = f"{groups['freezer']}/freezer.state", state, state
        shown = path
    elif "" in groups:
        path, value, shown = f"{groups['']}/cgroup.freeze", digit, f"{groups['']}/cgroup.events"
        wanted = f"frozen {digit}"
    else:
        raise LinuxError(95, "freezer not supported")
    write(path, value)
    deadline = time.monotonic() + _FREEZE_DEADLINE
    # The version 1 freezer has no notification: a group may stay FREEZING while a task forks, and is asked again.
    while wanted not in read(shown).splitlines():
        if time.monotonic() > deadline:
            if digit == "1":
                write(path, "THAWED" if "freezer" in groups else "0")
            raise LinuxError(16, "unable to freeze")
        time.sleep(_STEP)
        write(path, value)


def kill_all(groups: dict[str, str], number: int) -> None:
    """Signal every process of the groups, frozen meanwhile so that none is forked past the list."""
    unified = groups.get("")
    if number == 9 and unified and len(directories(groups)) == 1 and os.path.exists(f"{unified}/cgroup.kill"):
        write(f"{unified}/cgroup.kill", "1")
        return
    frozen = is_frozen(groups)
    try:
        freeze(groups)
    except (LinuxError, OSError):
        pass  # no freezer: the list may miss a fork, and the caller waits for the groups to empty anyway
    try:
        for pid in processes(groups):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
    finally:
        if not frozen or number == 9:
            try:
                thaw(groups)
            except (LinuxError, OSError):
                pass  # the group is gone


def remove(groups: dict[str, str]) -> None:
    """Remove the groups and what is below them; absent ones are fine. Raises LinuxError (EBUSY) after 2 s.

    A group stays busy until its last process has been reaped, hence the bounded repetition.
    """
    deadline = time.monotonic() + _REMOVE_DEADLINE
    for path in directories(groups):
        while True:
            busy = _remove_tree(path)
            if busy is None:
                break
            if time.monotonic() > deadline:
                raise LinuxError(busy, f"unable to remove {path} ({describe(busy)}), rmdir")
            time.sleep(_STEP)


def _remove_tree(path: str) -> int | None:
    """Try to remove a group, children first; return the errno of the failure, None once it is gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        failure = error.errno or 16
    else:
        return None
    try:
        children = [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return None
    for child in children:
        _remove_tree(child)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError:
        return failure
    return None
