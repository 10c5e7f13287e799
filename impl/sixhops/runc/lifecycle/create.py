"""`create`: from a bundle to a process that waits at the gate. The parent's side; `init` is the child's.

Nothing survives a failure: what was made (state directory, groups, process) is unmade in the reverse order.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import select

from sixhops.linux import terminal
from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.limits import LimitError
from sixhops.linux.idmaps import write_maps
from sixhops.linux.libc import LinuxError
from sixhops.linux.pidfd import open_process
from sixhops.linux.rlimits import set_limit
from sixhops.runc import channel as ch
from sixhops.runc import log
from sixhops.runc.errors import HookError, RuntimeFault
from sixhops.runc.inside.bind import mapped_namespace
from sixhops.runc.inside.filters import Filter, check_filter, compile_document
from sixhops.runc.inside.init import FirstProcess, report, run_first
from sixhops.runc.inside.operations import BindMount
from sixhops.runc.inside.validate import validate
from sixhops.runc.lifecycle import state
from sixhops.runc.lifecycle.bundle import read_bundle
from sixhops.runc.lifecycle.groups import (
    allow_devices,
    enter_unified,
    make_groups,
    make_unified,
    remove_made,
    set_limits,
)
from sixhops.runc.lifecycle.hooks import run_hooks
from sixhops.runc.lifecycle.outline import Place, hook_values, outline_of
from sixhops.runc.lifecycle.outside import (
    PidFile,
    check_preserved,
    hand_listener,
    refuse_systemd,
    write_oom_score,
)
from sixhops.runc.lifecycle.spawn import goes_alone, new_namespaces, open_joined, spawn
from sixhops.values import Value, replace

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.runc.lifecycle.spare import Spare
    from sixhops.wire.runtime.document import Hooks, Linux, Spec

__all__ = [
    "CreateRequest",
    "create",
    "new_container",
]

#: Seconds that a killed process is waited for at most.
_DEATH_PATIENCE = 10


class CreateRequest(Value):
    """What `create` is asked for; standard streams and preserved descriptors are the caller's own."""

    root: str
    identifier: str
    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    console_descriptor: int = -1
    pivot: bool = True
    keyring: bool = True
    preserve_fds: int = 0
    listen_fds: int = 0
    systemd_groups: bool = False
    # the service manager's socket ($NOTIFY_SOCKET), empty for none
    notify_socket: str = ""
    # whether the first process may be a child of our parent instead of ours (`spawn`)
    sibling: bool = False
    # the descriptor by which a process is reached that waits to become the first one (`spare`), -1 for none
    spare: int = -1


def create(request: CreateRequest) -> state.Container:
    """Make the container; its process waits at the gate when this returns. Raises RuntimeFault, leaving nothing."""
    bundle = os.path.realpath(request.bundle)
    text, spec = read_bundle(bundle)
    state.check_identifier(request.identifier)
    process = spec.process
    has_console = bool(request.console_socket) or request.console_descriptor >= 0
    if process is not None and process.terminal and not has_console:
        raise RuntimeFault("cannot allocate tty if runc will detach without setting console socket")
    if has_console and (process is None or not process.terminal):
        raise RuntimeFault("cannot use console socket if runc will not detach or allocate tty")
    for mount in spec.mounts:
        if not mount.destination.startswith("/"):
            log.warning(
                f"mount destination {mount.destination} is not absolute. "
                "Support for non-absolute mount destinations will be removed in a future release."
            )
    rootfs = os.path.normpath(os.path.join(bundle, spec.root_path or ""))
    validate(spec, rootfs, pivot=request.pivot)
    checked = check_filter(spec.linux.seccomp, early=not (process is not None and process.no_new_privileges))
    memory = spec.linux.resources.memory
    if memory.kernel is not None or memory.kernel_tcp is not None:
        log.warning("Kernel memory settings are ignored and will be removed")
    if request.systemd_groups:
        refuse_systemd(spec.linux.cgroups_path)
    check_preserved(3 + request.listen_fds, request.preserve_fds)
    undo: list[Callable[[], None]] = []
    try:
        held = state.claim(request.root, request.identifier)
        undo.append(lambda: state.release(request.root, request.identifier))
        try:
            container = new_container(request.root, request.identifier, spec, bundle, rootfs)
            if request.notify_socket:
                from sixhops.runc.lifecycle import notify

                notify.make_directory(container)
                spec = notify.with_socket(spec, container.notify)
            _make(request, spec, text, container, checked, undo)
        finally:
            os.close(held)
    except BaseException:
        for step in reversed(undo):
            try:
                step()
            except (OSError, RuntimeFault) as error:
                log.warning(f"clean-up after a failed create: {error}")
        raise
    return container


def new_container(root: str, identifier: str, spec: Spec, bundle: str, rootfs: str) -> state.Container:
    """Return a container's record with all that its document says; its streams are the caller's."""
    container = state.Container(root, identifier)
    container.bundle = bundle
    container.rootfs = rootfs
    container.created = state.now()
    container.owner = os.getuid()
    container.descriptors = state.streams()
    container.annotations = spec.annotations
    container.on_host = bool(spec.mounts) and all(n.type != "mount" for n in spec.linux.namespaces)
    container.own_pids = any(n.type == "pid" and not n.path for n in spec.linux.namespaces)
    container.hooks = {
        "poststart": hook_values(spec.hooks.poststart),
        "poststop": hook_values(spec.hooks.poststop),
    }
    return container


def _make(
    request: CreateRequest,
    spec: Spec,
    text: str,
    container: state.Container,
    checked: Filter | None,
    undo: list[Callable[[], None]],
) -> None:
    assert spec.process is not None
    place = Place(request.identifier, container.bundle, container.rootfs, request.pivot, request.keyring)
    outline = outline_of(spec, place, checked)
    groups = container.groups = outline.groups
    if outline.unknown:
        log.warning(f"ignoring unknown or unavailable capabilities: [{' '.join(outline.unknown)}]")
    console = request.console_descriptor
    if request.console_socket:
        console = terminal.connect(request.console_socket)
    os.mkfifo(container.gate, 0o600)
    gate = os.open(container.gate, os.O_RDWR | os.O_CLOEXEC)
    ours, theirs = ch.open_channel()
    mapped = {
        o.mappings: mapped_namespace(o.mappings)
        for o in outline.first.plan
        if isinstance(o, BindMount) and o.mappings is not None
    }
    joined = open_joined(spec.linux)
    first = replace(
        outline.first,
        channel=theirs,
        gate=gate,
        console_socket=console,
        preserved=request.preserve_fds + request.listen_fds,
        state=container.describe("creating", 0),
        listen_fds=request.listen_fds,
        mapped=mapped,
    )
    # Recorded before there is anything in groups or namespaces: whoever finds a killed create's rest can remove it.
    state.save(container)
    if container.on_host:
        from sixhops.runc.lifecycle.control import unmount_root

        undo.append(lambda: unmount_root(container))
    made: list[str] = []
    undo.append(lambda: remove_made(made))
    unified = make_unified(groups, made)
    spare = _spare(request, outline.first, spec.linux, container.gate, joined, ours)
    pid = 0

    def end() -> None:
        _kill(pid or (spare.pid() if spare else 0))

    undo.append(end)
    if spare:
        # It mounts while we make its other groups; that takes about as long.
        spare.begin(first, unified)
        os.sched_yield()  # woken on this processor, it needs it only until its successor gets one of its own
    with open(container.config, "w", encoding="utf-8") as file:
        file.write(text)
    entries = make_groups(groups, spec.linux.resources, made)
    if spare:
        spare.made()
    if _devices_first(first):
        allow_devices(groups, spec.linux.resources)
    if not (spare and spare.hand(entries)):
        first = replace(first, entries=entries)
    pid = (spare.pid() if spare else 0) or spawn(
        spec.linux,
        joined,
        first.descriptors(),
        lambda: run_first(first),
        failed=lambda error: report(theirs, error, ""),
        group=unified,
        sibling=request.sibling,
    )
    for descriptor in (gate, console, unified, *entries, *mapped.values(), *(d for _, d in joined)):
        if descriptor >= 0:
            os.close(descriptor)
    theirs.close()
    if "" in groups and unified < 0:
        enter_unified(groups[""], pid)
    container.pid = pid
    container.start_time = state.process_start(pid)
    state.save(container)
    pid_file: PidFile | None = None

    def prepare() -> None:
        """Write what is to be seen once all is well, while the child is at work."""
        nonlocal pid_file
        if request.pid_file:
            pid_file = PidFile(request.pid_file, pid)
            undo.append(pid_file.discard)
        container.ready = True
        state.prepare(container)
        container.ready = False

    try:
        _accompany(spec, container, pid, ours, first, prepare)
    except HookError as error:
        raise RuntimeFault(
            f"unable to start container process: error during container init: {error}"
        ) from error
    except (LinuxError, LimitError) as error:
        raise RuntimeFault(f"unable to start container process: {error}") from error
    finally:
        ours.close()
    if pid_file is not None:
        pid_file.publish()
    container.ready = True
    state.publish(container)


def _spare(
    request: CreateRequest,
    outline: FirstProcess,
    linux: Linux,
    gate: str,
    joined: list[tuple[int, int]],
    ours: ch.Channel,
) -> Spare | None:
    """Return the process in reserve that may become the container's first one, None if there is none or it can't."""
    if request.spare < 0 or not request.sibling or not goes_alone(linux, joined):
        return None
    from sixhops.runc.lifecycle.spare import Birth, Spare

    return Spare(request.spare, outline, Birth(new_namespaces(linux), gate, joined), ours)


def _devices_first(first: FirstProcess) -> bool:
    """Tell whether the devices can be allowed before the process is in its groups: what it does there needs no others."""
    return not first.meets and not first.on_devices


def _accompany(
    spec: Spec,
    container: state.Container,
    pid: int,
    ours: ch.Channel,
    first: FirstProcess,
    prepare: Callable[[], None],
) -> None:
    """Do the parent's part until the child is READY; `prepare` is called when there is time."""
    process, linux = spec.process, spec.linux
    assert process is not None
    if process.oom_score_adj is not None:
        write_oom_score(pid, process.oom_score_adj)
    if first.own_user and not any(n.type == "user" and n.path for n in linux.namespaces):
        write_maps(
            pid,
            tuple((e.container, e.host, e.size) for e in linux.uid_mappings),
            tuple((e.container, e.host, e.size) for e in linux.gid_mappings),
        )
    try:
        for limit in process.rlimits:
            set_limit(pid, limit.type, limit.soft, limit.hard)
    except LinuxError as error:
        raise RuntimeFault(
            "unable to start container process: error during container init: "
            f"error setting rlimits for ready process: {error}"
        ) from error
    try:
        ours.send(ch.GO)
        # while the child mounts, because it may cost as much as all the mounts together
        if first.filter is not None and linux.seccomp is not None:
            ours.send(ch.FILTER, compile_document(linux.seccomp))
    except BrokenPipeError:
        pass  # the child failed meanwhile, and its report is waiting below
    prepare()
    while True:
        kind, body = ours.receive()
        if kind == ch.READY:
            if not first.meets and not _devices_first(first):
                # between the refusal of all devices and what is allowed of them, the child could not open its terminal
                allow_devices(container.groups, linux.resources)
            return
        if kind == ch.HOOKS:
            if first.meets:
                allow_devices(container.groups, linux.resources)
            set_limits(container.groups, linux.resources)
            _run_early_hooks(spec.hooks, container, pid)
            if first.meets:
                ours.send(ch.HOOKS)
        elif kind == ch.FILTER:
            assert first.filter is not None
            hand_listener(first.filter, container, pid, int(body))
            ours.send(ch.FILTER)
        elif kind == ch.FAILED:
            raise RuntimeFault(f"unable to start container process: {body.decode(errors='replace')}")
        else:
            raise RuntimeFault(f"unable to start container process: {_sudden_end(container.groups)}")


def _sudden_end(groups: dict[str, str]) -> str:
    """Return why the child may have ended without a word."""
    for name, file in (("memory", "memory.oom_control"), ("", "memory.events")):
        try:
            counts = control.read(f"{groups.get(name, '')}/{file}").splitlines()
        except OSError:
            continue
        if any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in counts):
            return "container init was OOM-killed (memory limit too low?)"
    return "waiting for init preliminary setup: EOF"


def _run_early_hooks(hooks: Hooks, container: state.Container, pid: int) -> None:
    early = (*hooks.prestart, *hooks.create_runtime)
    if early:
        run_hooks(hook_values(early), container.describe("creating", pid), container.bundle)


def _kill(pid: int) -> None:
    if not pid:
        return
    try:
        process = open_process(pid)
    except LinuxError:
        return  # our parent has reaped it
    try:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    except ProcessLookupError:
        return
    except ChildProcessError:  # a sibling: our parent reaps it
        poller = select.poll()
        poller.register(process, select.POLLIN)
        poller.poll(_DEATH_PATIENCE * 1000)
    finally:
        os.close(process)
