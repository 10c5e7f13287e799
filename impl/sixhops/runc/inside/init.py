"""The container's first process, from its birth in the new namespaces to the user's program.

It is a fork of the runtime, so everything that it needs must be loaded and open before the root changes. It keeps no
descriptor of the host's directories past that point, waits at the gate (a fifo of the state directory, opened
before) and then becomes the program. Errors go to the parent until it is READY, to the container's stderr after.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the public module would cost 2 ms of import
import os
import stat

from sixhops.linux import namespaces as ns
from sixhops.linux import seccomp
from sixhops.linux.cgroups.control import enter_self
from sixhops.linux.fds import close_on_exec_from
from sixhops.linux.lastwait import can_wait, wait_and_execute
from sixhops.linux.libc import LinuxError, call, describe
from sixhops.linux.mounts import PROC_SUPER_MAGIC, filesystem_type
from sixhops.linux.paths import open_in_root
from sixhops.linux.signals import reset_signals
from sixhops.runc import channel as ch
from sixhops.runc.errors import HookError, RuntimeFault, reason
from sixhops.runc.inside.execute import Execution, execute, load_what_operations_import
from sixhops.runc.inside.identity import (
    CapabilityMasks,
    become_user,
    check_directory,
    enter_directory,
    environment,
    find_program,
    home_of,
)
from sixhops.runc.inside.operations import MountGroups, ParentStep
from sixhops.runc.lifecycle.hooks import run_hooks
from sixhops.values import Value

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.channel import Channel
    from sixhops.runc.inside.bind import Mappings
    from sixhops.runc.inside.filters import Filter
    from sixhops.runc.inside.operations import Operation
    from sixhops.runc.lifecycle.hooks import Hook
    from sixhops.wire.runtime.document import Process

__all__ = ["FirstProcess", "finish", "report", "run_first"]

_PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
_NONE: dict[Mappings, int] = {}
_UNKNOWN: dict[str, object] = {}
_NO_CHANNEL = ch.Channel(None)
_COMM = b"runc:[2:INIT]"
_STOPPING = (1, 2, 3, 15)
_NO_GROUPS = "unable to apply cgroup configuration: "


class FirstProcess(Value):
    """Everything that the first process has to know, prepared while nothing can go wrong inside."""

    process: Process
    plan: list[Operation]
    rootfs: str
    capabilities: CapabilityMasks
    last_capability: int
    filter: Filter | None
    own_user: bool
    own_groups: bool
    personality: str
    create_container: list[Hook]
    start_container: list[Hook]
    # whether the mounts have to wait for GO: maps are needed for them, or others than we see them
    waits: bool = True
    # whether the parent's part in between has to be done before we go on: hooks may mount and write, and a limit of
    # memory is for all that follows
    meets: bool = True
    # whether what it mounts may be on a device, which it has to be allowed to open
    on_devices: bool = True
    # whether there is a limit of memory for the container
    limited: bool = False
    # from here on what is only there when the process is about to be made; -1 for a descriptor that is missing
    channel: Channel = _NO_CHANNEL
    gate: int = -1
    console_socket: int = -1
    preserved: int = 0
    state: dict[str, object] = _UNKNOWN
    listen_fds: int = 0
    # of the version 1 groups that the process enters by itself; `early`: it is born before they are MADE, and is handed
    # them to JOIN
    entries: tuple[int, ...] = ()
    early: bool = False
    mapped: dict[Mappings, int] = _NONE

    def descriptors(self) -> frozenset[int]:
        """Return what must stay open in the process: streams, preserved ones, channel, gate, console, groups."""
        ends = {
            self.channel.fileno(),
            self.gate,
            self.console_socket,
            *self.entries,
            *self.mapped.values(),
        } - {-1}
        return frozenset(ends | set(range(3 + self.preserved)))


def run_first(first: FirstProcess) -> None:
    """Become the container's program; never returns."""
    prefix = _NO_GROUPS
    try:
        if not first.early:  # before anything else: all that comes later is the container's to pay for
            enter_self(first.entries)
        prefix = "error during container init: "
        _prepare(first)
        pairs = environment(first.process.env)
        prefix = ""
        finish(first, pairs)
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent must hear of it and this process must end
        report(first.channel, error, prefix)


def report(channel: Channel, error: BaseException, prefix: str) -> None:
    """Tell the parent of a failure and end this process."""
    try:
        channel.send(ch.FAILED, (prefix + reason(error)).encode(errors="replace"))
    finally:
        os._exit(1)


def _prepare(first: FirstProcess) -> None:
    call("prctl", 15, _COMM, 0, 0, 0)
    os.setsid()
    if first.waits:
        first.channel.expect(ch.GO)
    if first.own_user:
        # Its root is a user like any other outside, who may not come to this program's files: below /root, for one.
        load_what_operations_import()
        import sixhops.linux.scheduling  # noqa: F401

        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    made = joined = not first.early
    if first.own_groups:
        made = joined = joined or _join(first)
        ns.unshare(ns.CLONE_NEWCGROUP)
    label = open_label(first.process)
    execution = Execution(
        first.rootfs,
        lambda: _parent_step(first),
        lambda: _container_hooks(first),
        first.console_socket,
        first.mapped,
    )
    old_mask = os.umask(0)
    for operation in first.plan:
        if not made and isinstance(operation, MountGroups):
            first.channel.expect(ch.MADE)
            made = True
        elif not joined and isinstance(operation, ParentStep):  # the parent will limit them
            joined = _join(first)
        execute(operation, execution)
    os.umask(old_mask if first.process.user.umask is None else first.process.user.umask)
    _reopen_null(execution.root)
    os.close(execution.root)
    for descriptor in first.mapped.values():
        os.close(descriptor)
    if label >= 0:
        write_label(label, first.process, "unable to apply apparmor profile: ")
    if not first.waits:
        # Limits are set from outside. As another user the process is out of reach of a parent without CAP_SYS_RESOURCE.
        first.channel.expect(ch.GO)
    if first.personality:
        call("personality", _PERSONALITIES[first.personality], operation="personality")


def _join(first: FirstProcess) -> bool:
    """Enter the groups as soon as that may be; returns True."""
    entries = first.channel.take(ch.JOIN)
    try:
        enter_self(entries)
    except LinuxError as error:
        report(first.channel, error, _NO_GROUPS)
    return True


def _parent_step(first: FirstProcess) -> None:
    first.channel.send(ch.HOOKS)
    if first.meets:
        first.channel.expect(ch.HOOKS)


def _container_hooks(first: FirstProcess) -> None:
    if first.create_container:
        run_hooks(first.create_container, _state(first, "creating"), first.rootfs)


def _state(first: FirstProcess, status: str) -> dict[str, object]:
    """Return the state for hooks that run in the container's namespaces, with the pid that is true in there."""
    result: dict[str, object] = {}
    for name, value in first.state.items():
        result[name] = value
        if name == "status":
            result |= {"status": status, "pid": os.getpid()}
    return result


def open_label(process: Process) -> int:
    """Open the attribute for the security label of the next execve, -1 if no label is wanted.

    A /proc that is not procfs is refused: a container could have put a file there that swallows the label.
    """
    if not process.apparmor_profile and not process.selinux_label:
        return -1
    for path in ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if filesystem_type(descriptor) != PROC_SUPER_MAGIC:
            raise RuntimeFault(f"unable to apply security label: {path} is not on procfs")
        return descriptor
    raise RuntimeFault("unable to apply security label: open /proc/self/attr/exec: no such file or directory")


def write_label(descriptor: int, process: Process, prefix: str = "") -> None:
    """Set the label that the next execve takes on; closes the descriptor. `prefix` begins an error's text."""
    profile = process.apparmor_profile
    try:
        os.write(descriptor, (f"exec {profile}" if profile else process.selinux_label).encode())
    except OSError as error:
        text = f"write /proc/self/attr/exec: {describe(error.errno or 22)}"
        if profile:
            text = f"{prefix}apparmor failed to apply profile: {text}"
        raise RuntimeFault(text) from error
    finally:
        os.close(descriptor)


def _reopen_null(root: int) -> None:
    """Replace standard streams that are the host's /dev/null by the container's: no inode of the host stays open."""
    number = os.makedev(1, 3)
    wanted = [s for s in range(3) if _is_device(s, number)]
    if not wanted:
        return
    try:
        null = open_in_root(root, "/dev/null", os.O_RDWR)
    except LinuxError as error:
        raise RuntimeFault(f"open /dev/null: {error.strerror}") from error
    if not _is_device(null, number):
        raise RuntimeFault("the container's /dev/null is not the null device")
    for stream in wanted:
        os.dup2(null, stream)
    os.close(null)


def _is_device(descriptor: int, number: int) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == number


def finish(first: FirstProcess, pairs: dict[str, str]) -> None:
    """Take on identity and restrictions, say READY, wait at the gate, become the program. Never returns.

    `pairs` is the program's environment. Raises RuntimeFault and OSError until READY was said.
    """
    process = first.process
    if process.scheduler is not None or process.io_priority is not None:
        _schedule(process)
    # Before the filter, which may forbid the call. What is needed until execve stays open until then.
    close_on_exec_from(3 + first.preserved)
    if process.no_new_privileges:
        seccomp.set_no_new_privileges()
    else:
        _load_filter(first)
    there = enter_directory(process.cwd)
    groups_allowed = not first.own_user or _groups_allowed()
    become_user(process, first.capabilities, first.last_capability, groups_allowed=groups_allowed)
    if not there and not enter_directory(process.cwd):
        raise RuntimeFault(f'chdir to cwd ("{process.cwd}") set in config.json failed: permission denied')
    check_directory()
    if not pairs.get("HOME"):
        pairs["HOME"] = home_of(process.user.uid)
    if first.listen_fds:
        pairs |= {"LISTEN_FDS": str(first.listen_fds), "LISTEN_PID": "1"}
    program = find_program(process.args[0], pairs.get("PATH", ""))
    if process.no_new_privileges:
        _load_filter(first)
    for number in _STOPPING:
        signal.signal(number, lambda *_: os._exit(2))
    first.channel.send(ch.READY)
    first.channel.close()
    if first.early and not first.start_container and can_wait():
        _become_later(first, program, pairs)
    _wait_at_gate(first)
    _become(first, program, pairs)


def _schedule(process: Process) -> None:
    from sixhops.linux import scheduling

    scheduler, disk = process.scheduler, process.io_priority
    if scheduler is not None:
        times = (scheduler.runtime, scheduler.deadline, scheduler.period)
        scheduling.set_scheduler(scheduler.policy, scheduler.nice, scheduler.priority, scheduler.flags, times)
    if disk is not None:
        scheduling.set_io_priority(disk.io_class, disk.priority)


def _groups_allowed() -> bool:
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().strip() != "deny"
    except OSError:
        return True


def _load_filter(first: FirstProcess) -> None:
    if first.filter is None:
        return
    program = first.channel.expect(ch.FILTER)
    listener = seccomp.install(program, first.filter.flags, listener=bool(first.filter.listener_path))
    if first.filter.listener_path:
        # write(2), which no filter may hand to the listener: the listener is not there yet to answer.
        os.write(first.channel.fileno(), ch.FILTER + str(listener).encode())
        first.channel.expect(ch.FILTER)
        os.close(listener)


def _wait_at_gate(first: FirstProcess) -> None:
    if first.gate < 0:
        return
    # The descriptor stays open until execve closes it: that is how `start` knows that the program has begun.
    while not os.read(first.gate, 1):
        continue


def _become_later(first: FirstProcess, program: str, pairs: dict[str, str]) -> None:
    """Wait at the gate and become the program in what is left of a process; returns only if that can't be."""
    environment = [f"{name}={value}".encode(errors="replace") for name, value in pairs.items()]
    path = program.encode(errors="replace")
    try:
        reset_signals()
        wait_and_execute(first.gate, path, _arguments(first), environment, b"exec " + path + b": ", _STOPPING)
    except ValueError:
        return  # a text can't be passed on, which will be said when it is time
    except OSError:
        return  # a limit or a filter of the container's forbids it


def _arguments(first: FirstProcess) -> list[bytes]:
    return [argument.encode(errors="replace") for argument in first.process.args]


def _become(first: FirstProcess, program: str, pairs: dict[str, str]) -> None:
    try:
        if first.start_container:
            os.environ.clear()
            os.environ.update(pairs)
            run_hooks(first.start_container, _state(first, "created"))
        reset_signals()
        os.execve(
            program.encode(errors="replace"),
            _arguments(first),
            {name.encode(errors="replace"): value.encode(errors="replace") for name, value in pairs.items()},
        )
    except HookError as error:
        os.write(2, f"{error}\n".encode())
    except OSError as error:
        os.write(2, f"exec {program}: {describe(error.errno or 22)}\n".encode())
    except ValueError:
        os.write(2, f"exec {program}: invalid argument\n".encode())
    except BaseException as error:  # noqa: BLE001  the last words of this process, in the container's stderr
        os.write(2, f"exec {program}: {error}\n".encode())
    os._exit(1)
