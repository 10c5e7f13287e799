"""What happens to a container after `create`: start, kill, delete, pause, resume, state. Small imports only."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import os
import select

from sixhops.linux.cgroups import control as groups
from sixhops.linux.libc import LinuxError, describe
from sixhops.linux.pidfd import open_process, send_signal
from sixhops.runc import log
from sixhops.runc.errors import HookError, NoSuchContainer, RuntimeFault
from sixhops.runc.lifecycle import state

__all__ = [
    "delete",
    "describe_state",
    "destroy",
    "kill",
    "kill_first",
    "pause",
    "resume",
    "start",
    "unmount_root",
]

_DELETE_PATIENCE = 10.0

#: Seconds that `start` waits at most for the program to begin.
_PROGRAM_PATIENCE = 10


def start(root: str, identifier: str, notify_socket: str = "") -> None:
    """Open the gate: the container's process becomes the user's program. Runs the poststart hooks. Raises RuntimeFault.

    With the service manager's socket, returns only after the container said that it is ready, or ended.
    """
    container = state.load(root, identifier)
    if not notify_socket or not os.path.isdir(container.notify):
        _start(root, identifier)
        return
    from sixhops.runc.lifecycle import notify

    listener = notify.bind(container)
    try:
        _start(root, identifier)
        notify.forward(listener, notify_socket, container.pid, container.pid)
    finally:
        listener.close()


def _start(root: str, identifier: str) -> None:
    container = state.load(root, identifier)
    held = state.lock(container)
    try:
        status = container.status()
        if status in {"stopped", "creating"}:
            raise RuntimeFault("cannot start a container that has stopped")
        if status == "running":
            raise RuntimeFault("cannot start an already running container")
        if status == "paused":
            raise RuntimeFault("cannot start a container in the paused state")
        try:
            # Only a living reader makes this open succeed: the first process holds the other side until it goes on.
            gate = os.open(container.gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in {errno.ENXIO, errno.ENOENT}:
                raise RuntimeFault("container process is already dead") from error
            raise
        try:
            os.unlink(container.gate)
            os.write(gate, b"0")
            _await_program(gate)
        finally:
            os.close(gate)
        if container.hooks.get("poststart"):
            _poststart(container)
    finally:
        os.close(held)


def _await_program(gate: int) -> None:
    """Wait until the first process has become the user's program, or has died trying.

    Its side of the gate closes at execve, and a fifo without readers reports an error to its writer. A signal that came
    before would meet our handlers instead of the program's. A startContainer hook may take longer than the bound; like
    runc, `start` then does not wait for it.
    """
    poll = select.poll()
    poll.register(gate, 0)
    poll.poll(_PROGRAM_PATIENCE * 1000)


def _poststart(container: state.Container) -> None:
    from sixhops.runc.lifecycle.hooks import run_hooks

    try:
        run_hooks(
            container.hooks["poststart"], container.describe("running", container.pid), container.bundle
        )
    except HookError:
        kill_first(container)
        destroy(container)
        raise


def kill(root: str, identifier: str, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the container's first process, or to all its processes. Raises RuntimeFault."""
    container = state.load(root, identifier)
    if everyone:
        groups.kill_all(container.groups, number)
        return
    status = container.status()
    if status == "stopped" or not container.pid:
        raise RuntimeFault("container not running")
    _signal_first(container, number)
    if status == "paused" and number == 9 and "freezer" in container.groups:
        # Version 1: a frozen process doesn't die before it is thawed.
        groups.thaw(container.groups)


def _signal_first(container: state.Container, number: int) -> None:
    try:
        process = open_process(container.pid)
        try:
            # Looked at again with the pidfd in hand: now the number can't come to mean another process.
            if not container.alive():
                raise RuntimeFault("container not running")
            send_signal(process, number)
        finally:
            os.close(process)
    except LinuxError as error:
        if error.errno == errno.ESRCH:
            raise RuntimeFault("container not running") from error
        raise RuntimeFault(f"unable to signal init: {describe(error.errno or 22)}") from error


def delete(root: str, identifier: str, *, force: bool = False) -> None:
    """Remove a stopped (or only created, or with force any) container and run its poststop hooks. Raises RuntimeFault."""
    try:
        container = state.load(root, identifier)
    except NoSuchContainer:
        if force:
            _remove_remains(root, identifier)
            return
        raise
    held = state.lock(container)
    try:
        status = container.status()
        if status != "stopped":
            # Still creating, though the lock is ours: its maker is dead, and nobody will finish it.
            if status not in {"created", "creating"} and not force:
                raise RuntimeFault(f"cannot delete container {identifier} that is not stopped: {status}")
            kill_first(container)
        destroy(container)
    finally:
        os.close(held)


def _remove_remains(root: str, identifier: str) -> None:
    """Remove the directory of a create that was killed before it had written a record; a living one is left alone."""
    import fcntl

    directory = f"{root}/{identifier}"
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state.release(root, identifier)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def kill_first(container: state.Container) -> None:
    """Kill the first process and wait, by its pidfd, until it is dead."""
    if not container.pid:
        return  # its maker died before there was one
    try:
        process = open_process(container.pid)
    except LinuxError:
        return
    try:
        if not container.alive():
            return
        send_signal(process, 9)
        if groups.is_frozen(container.groups):
            groups.thaw(container.groups)
        poller = select.poll()
        poller.register(process, select.POLLIN)
        if not poller.poll(_DELETE_PATIENCE * 1000):
            raise RuntimeFault("container init still running")
    except LinuxError as error:
        if error.errno != errno.ESRCH:
            raise
    finally:
        os.close(process)
    try:
        os.waitpid(container.pid, os.WNOHANG)  # ours only if the same process created it
    except ChildProcessError:
        return


def unmount_root(container: state.Container) -> None:
    """Take away the mounts of a container that had no mount namespace of its own; none there is fine."""
    from sixhops.linux.mounts import MNT_DETACH, unmount

    try:
        unmount(container.rootfs, MNT_DETACH)
    except LinuxError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise


def destroy(container: state.Container) -> None:
    """Remove all of a container whose first process is dead, and run its poststop hooks; the caller has its lock.

    Raises LinuxError if its groups are not empty; all else is gone then.
    """
    # Without a pid namespace of its own the container's other processes outlive the first.
    if not container.own_pids and groups.exists(container.groups):
        groups.kill_all(container.groups, 9)
    if container.on_host:
        unmount_root(container)
    try:
        groups.remove(container.groups)
    finally:
        # where somebody else is in the groups they stay, the container doesn't
        state.release(container.root, container.identifier)
        _poststop(container)


def _poststop(container: state.Container) -> None:
    if container.hooks.get("poststop"):
        from sixhops.runc.lifecycle.hooks import run_hooks

        try:
            run_hooks(container.hooks["poststop"], container.describe("stopped", 0), container.bundle)
        except HookError as error:
            # The container is gone; the specification wants the failure logged and the rest done.
            log.note(str(error))


def pause(root: str, identifier: str) -> None:
    """Freeze all processes. Raises RuntimeFault."""
    container = state.load(root, identifier)
    if container.status() not in {"running", "created"}:
        raise RuntimeFault("container not running")
    groups.freeze(container.groups)


def resume(root: str, identifier: str) -> None:
    """Let the processes go on. Raises RuntimeFault."""
    container = state.load(root, identifier)
    if container.status() != "paused":
        raise RuntimeFault("container not paused")
    groups.thaw(container.groups)


def describe_state(container: state.Container) -> dict[str, object]:
    """Return what `state` prints."""
    status = container.status()
    record: dict[str, object] = {
        "ociVersion": container.version,
        "id": container.identifier,
        "pid": 0 if status == "stopped" else container.pid,
        "status": status,
        "bundle": container.bundle,
        "rootfs": container.rootfs,
        "created": container.created,
    }
    if container.annotations:
        record["annotations"] = container.annotations
    record["owner"] = ""
    return record
