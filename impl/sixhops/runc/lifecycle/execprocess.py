"""`exec`: another process in a running container: its namespaces, its groups, its filter, an identity of its own."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os

from sixhops.linux import namespaces as ns
from sixhops.linux import terminal
from sixhops.linux.capabilities import last_capability
from sixhops.linux.cgroups import control
from sixhops.linux.keyring import join_session
from sixhops.linux.libc import LinuxError, call
from sixhops.linux.rlimits import set_limit
from sixhops.runc import channel as ch
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.inside.execute import take_terminal
from sixhops.runc.inside.filters import check_filter, compile_document
from sixhops.runc.inside.identity import environment, masks
from sixhops.runc.inside.init import FirstProcess, finish, open_label, report, write_label
from sixhops.runc.inside.validate import validate_process
from sixhops.runc.lifecycle import state
from sixhops.runc.lifecycle.outside import check_preserved, hand_listener, write_oom_score, write_pid_file
from sixhops.runc.lifecycle.spawn import in_order, spawn
from sixhops.values import Value, replace
from sixhops.wire.runtime.document import Linux
from sixhops.wire.runtime.parse import parse_spec

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Process, Spec

__all__ = ["ExecRequest", "exec_", "stored_spec"]


class ExecRequest(Value):
    """What `exec` is asked for; standard streams and preserved descriptors are the caller's own."""

    root: str
    identifier: str
    process: Process
    pid_file: str = ""
    console_socket: str = ""
    console_descriptor: int = -1
    preserve_fds: int = 0
    # sub-groups: controller ("" for all) -> path below the container's group
    groups: tuple[tuple[str, str], ...] = ()
    ignore_paused: bool = False


def stored_spec(container: state.Container) -> Spec:
    """Return the document that the container was made from."""
    with open(container.config, encoding="utf-8") as file:
        return parse_spec(file.read())


def exec_(request: ExecRequest) -> int:
    """Start the process and return its pid; it is the caller's child. Raises RuntimeFault, leaving nothing."""
    container = state.load(request.root, request.identifier)
    status = container.status()
    if status == "stopped":
        raise RuntimeFault("cannot exec in a stopped container")
    if status == "paused" and not request.ignore_paused:
        raise RuntimeFault("cannot exec in a paused container (use --ignore-paused to override)")
    validate_process(request.process)
    check_preserved(3, request.preserve_fds)
    has_console = bool(request.console_socket) or request.console_descriptor >= 0
    if request.process.terminal and not has_console:
        raise RuntimeFault("cannot allocate tty if runc will detach without setting console socket")
    if has_console and not request.process.terminal:
        raise RuntimeFault("cannot use console socket if runc will not detach or allocate tty")
    spec = stored_spec(container)
    process = _with_defaults(request.process, spec)
    groups = _groups(container.groups, request.groups)
    try:
        entries = control.open_entries(groups)
        unified = control.open_unified(groups)
    except LinuxError as error:
        raise RuntimeFault(f"unable to start container process: {error}") from error
    first, ours = _prepare(request, spec, process, entries)
    joined = _open_namespaces(container, spec)
    pid = spawn(
        Linux(), joined, first.descriptors(), lambda: _run(first, container.identifier), group=unified
    )
    try:
        for descriptor in (first.console_socket, unified, *entries, *(d for _, d in joined)):
            if descriptor >= 0:
                os.close(descriptor)
        first.channel.close()
        moved = {"": groups[""]} if "" in groups and unified < 0 else {}
        _accompany(spec, first, container, pid, ours, moved)
        if request.pid_file:
            write_pid_file(request.pid_file, pid)
    except BaseException:
        try:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it ended by itself, after its report
        raise
    finally:
        ours.close()
    return pid


def _with_defaults(process: Process, spec: Spec) -> Process:
    """Return the process with what it leaves open taken from the container's own."""
    own = spec.process
    if own is None:
        return process
    return replace(
        process,
        capabilities=process.capabilities or own.capabilities,
        apparmor_profile=process.apparmor_profile or own.apparmor_profile,
        selinux_label=process.selinux_label or own.selinux_label,
        oom_score_adj=own.oom_score_adj,
        user=replace(
            process.user, umask=process.user.umask if process.user.umask is not None else own.user.umask
        ),
    )


def _prepare(
    request: ExecRequest, spec: Spec, process: Process, entries: tuple[int, ...]
) -> tuple[FirstProcess, ch.Channel]:
    last = last_capability()
    wanted, unknown = masks(process, last)
    if unknown:
        log.warning(f"ignoring unknown or unavailable capabilities: [{' '.join(unknown)}]")
    checked = check_filter(spec.linux.seccomp, early=not process.no_new_privileges)
    console = request.console_descriptor
    if request.console_socket:
        console = terminal.connect(request.console_socket)
    ours, theirs = ch.open_channel()
    first = FirstProcess(
        process=process,
        plan=[],
        rootfs="",
        channel=theirs,
        gate=-1,
        console_socket=console,
        preserved=request.preserve_fds,
        capabilities=wanted,
        last_capability=last,
        filter=checked,
        own_user=any(namespace.type == "user" for namespace in spec.linux.namespaces),
        own_groups=False,
        personality=spec.linux.personality,
        create_container=[],
        start_container=[],
        state={},
        entries=entries,
    )
    return first, ours


def _open_namespaces(container: state.Container, spec: Spec) -> list[tuple[int, int]]:
    """Open the container's namespaces by its first process, and make sure that it still is that process."""
    try:
        joined = [
            (ns.FLAGS[n.type], ns.open_namespace(f"/proc/{container.pid}/ns/{ns.FILES[n.type]}"))
            for n in spec.linux.namespaces
        ]
    except FileNotFoundError as error:
        raise RuntimeFault("cannot exec in a stopped container") from error
    if not container.alive():
        for _, descriptor in joined:
            os.close(descriptor)
        raise RuntimeFault("cannot exec in a stopped container")
    return in_order(joined)


def _run(first: FirstProcess, identifier: str) -> None:
    """Be the process; never returns."""
    try:
        affinity = first.process.exec_cpu_affinity
        if affinity is not None and affinity.initial:
            _bind_to(affinity.initial)
        control.enter_self(first.entries)
        if affinity is not None and affinity.final:
            _bind_to(affinity.final)
        call("prctl", 15, b"runc:[2:INIT]", 0, 0, 0)
        os.setsid()
        first.channel.expect(ch.GO)
        if first.own_user:
            # As in `init`: its root may not come to this program's files, so what is imported later is imported now.
            import sixhops.linux.scheduling  # noqa: F401

            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        _join_keyring(identifier)
        label = open_label(first.process)
        if first.process.terminal:
            rows, columns = first.process.console_size or (0, 0)
            master, slave = terminal.open_pair()
            take_terminal(first.console_socket, master, slave, rows, columns)
            os.close(master)
        if label >= 0:
            write_label(label, first.process)
        if first.personality:
            call("personality", 8 if first.personality == "LINUX32" else 0, operation="personality")
        os.umask(0o022 if first.process.user.umask is None else first.process.user.umask)
        finish(first, environment(first.process.env))
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent must hear of it and this process must end
        report(first.channel, error, "")


def _bind_to(processors: str) -> None:
    from sixhops.linux.scheduling import parse_processors, set_affinity

    set_affinity(parse_processors(processors))


def _join_keyring(identifier: str) -> None:
    try:
        join_session(f"_ses.{identifier}", own=False)
    except LinuxError as error:
        if error.errno not in {13, 38}:  # made by another user; no keyrings in this kernel
            raise


def _accompany(
    spec: Spec,
    first: FirstProcess,
    container: state.Container,
    pid: int,
    ours: ch.Channel,
    moved: dict[str, str],
) -> None:
    """Do the parent's part until the process is READY; `moved` are the groups that it can't enter by itself."""
    process, filtered = first.process, first.filter
    try:
        control.enter(moved, pid)
        if process.oom_score_adj is not None:
            write_oom_score(pid, process.oom_score_adj)
        for limit in process.rlimits:
            set_limit(pid, limit.type, limit.soft, limit.hard)
    except LinuxError as error:
        raise RuntimeFault(f"unable to start container process: {error}") from error
    try:
        ours.send(ch.GO)
        if filtered and spec.linux.seccomp is not None:
            ours.send(ch.FILTER, compile_document(spec.linux.seccomp))
    except BrokenPipeError:
        pass  # the child failed meanwhile, and its report is waiting below
    kind, body = ours.receive()
    if kind == ch.FILTER:
        assert filtered is not None
        hand_listener(filtered, container, pid, int(body))
        ours.send(ch.FILTER)
        kind, body = ours.receive()
    if kind == ch.FAILED:
        raise RuntimeFault(f"unable to start container process: {body.decode(errors='replace')}")
    if kind != ch.READY:
        raise RuntimeFault("unable to start container process: EOF")


def _groups(groups: dict[str, str], below: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the directories to enter, with the sub-groups asked for."""
    result = dict(groups)
    for controller, path in below:
        names = [controller] if controller else list(groups)
        for name in names:
            if name not in result:
                raise RuntimeFault(
                    f"unable to create new parent process: unknown controller {name} in SubCgroupPaths"
                )
            result[name] = os.path.normpath(f"{groups[name]}/{path}")
            if not f"{result[name]}/".startswith(f"{groups[name]}/"):
                raise RuntimeFault(f"unable to create new parent process: {path} is not a sub cgroup path")
    return result
