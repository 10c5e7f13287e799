"""`run` and `exec` as commands: options into requests, and, unless detached, waiting with the user's terminal."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the public module would cost 2 ms of import
import os

from sixhops.linux import terminal
from sixhops.linux.libc import call
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.lifecycle import control, notify, state
from sixhops.runc.lifecycle.bundle import read_bundle
from sixhops.runc.lifecycle.create import CreateRequest, create
from sixhops.runc.lifecycle.execprocess import ExecRequest, exec_, stored_spec
from sixhops.values import replace
from sixhops.wire.runtime.document import Capabilities, Process, User
from sixhops.wire.runtime.parse import parse_process
from sixhops.wire.runtime.reader import SpecError

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from sixhops.runc.cli.options import Parsed

__all__ = ["attach", "run_container", "run_exec", "wait"]

# prctl(2): orphans below become children of this process
_PR_SET_CHILD_SUBREAPER = 36
_NOT_FORWARDED = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGPIPE,
}


def run_container(parsed: Parsed, root: str, listen_fds: int, *, systemd_groups: bool) -> int:
    """Create, start and (unless detached) wait for and remove a container; return its exit status."""
    identifier = parsed.arguments[0]
    detach = "detach" in parsed.flags
    wants_terminal, console = attach(parsed)
    container = create(
        CreateRequest(
            root=root,
            identifier=identifier,
            bundle=parsed.values.get("bundle", "."),
            pid_file=parsed.values.get("pid-file", ""),
            console_socket=parsed.values.get("console-socket", "") if detach or not wants_terminal else "",
            console_descriptor=console.theirs,
            pivot="no-pivot" not in parsed.flags,
            keyring="no-new-keyring" not in parsed.flags,
            preserve_fds=parsed.number("preserve-fds"),
            listen_fds=listen_fds,
            systemd_groups=systemd_groups,
            notify_socket=notify.host_socket(),
        )
    )
    console.receive()
    try:
        listener = notify.bind(container) if notify.host_socket() else None
        control.start(root, identifier)
    except RuntimeFault:
        control.delete(root, identifier, force=True)
        raise
    if detach:
        if listener is not None:
            notify.forward(listener, notify.host_socket(), container.pid, container.pid)
        return 0
    try:
        if listener is not None:
            _forward_aside(listener, container.pid)
        return wait(container.pid, console)
    finally:
        if "keep" not in parsed.flags:
            control.delete(root, identifier, force=True)


def attach(parsed: Parsed) -> tuple[bool, Console]:
    """Return whether the bundle's container wants a terminal, and the way on which it comes to us.

    Unless it is to be left alone, what it leaves behind becomes ours. Raises RuntimeFault.
    """
    detach = "detach" in parsed.flags
    _, spec = read_bundle(os.path.abspath(parsed.values.get("bundle") or "."))
    wants_terminal = spec.process is not None and spec.process.terminal
    console = Console(wants=wants_terminal and not detach)
    if not detach and "no-subreaper" not in parsed.flags:
        call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return wants_terminal, console


def _forward_aside(listener: _socket.socket, pid: int) -> None:
    """Hand notifications on in a process of its own: this one is busy with the container's signals and its end."""
    main = os.getpid()
    helper = os.fork()
    if helper:
        listener.close()
        return
    try:
        notify.forward(listener, notify.host_socket(), pid, main)
    except RuntimeFault as error:
        log.warning(str(error))
    finally:
        os._exit(0)


def run_exec(parsed: Parsed, root: str) -> int:
    """Start a process in a container and (unless detached) wait for it; return its exit status."""
    identifier, *arguments = parsed.arguments
    container = state.load(root, identifier)
    process = _exec_process(parsed, container, tuple(arguments))
    detach = "detach" in parsed.flags
    if detach and process.terminal and not parsed.values.get("console-socket"):
        raise RuntimeFault("cannot allocate tty if runc will detach without setting console socket")
    console = Console(wants=process.terminal and not detach)
    if console.host >= 0 and process.console_size is None:
        # there is no moment between the terminal's birth and the program's, as there is for `run`
        process = replace(process, console_size=terminal.size(console.host))
    pid = exec_(
        ExecRequest(
            root=root,
            identifier=identifier,
            process=process,
            pid_file=parsed.values.get("pid-file", ""),
            console_socket=parsed.values.get("console-socket", "") if detach or not process.terminal else "",
            console_descriptor=console.theirs,
            preserve_fds=parsed.number("preserve-fds"),
            groups=_groups(parsed.lists.get("cgroup", [])),
            ignore_paused="ignore-paused" in parsed.flags,
        )
    )
    return 0 if detach else wait(pid, console)


def _groups(words: list[str]) -> tuple[tuple[str, str], ...]:
    result = []
    for word in words:
        names, separator, path = word.rpartition(":")
        if ":" in names:
            raise RuntimeFault(f"invalid --cgroup argument: {word}")
        if not separator and len(words) > 1:
            raise RuntimeFault(f"invalid --cgroup argument: {word} (missing <controller>: prefix)")
        result += [(name, path) for name in names.split(",")] if separator else [("", path)]
    return tuple(result)


def _exec_process(parsed: Parsed, container: state.Container, arguments: tuple[str, ...]) -> Process:
    """Return the process to run: the file's, or the container's own with the options over it."""
    path = parsed.values.get("process")
    if path:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return parse_process(file.read())
        except OSError as error:
            raise RuntimeFault(reason(error, "open")) from error
        except SpecError as error:
            raise RuntimeFault(str(error)) from error
    if not arguments:
        raise RuntimeFault("process args cannot be empty")
    base = stored_spec(container).process or Process()
    values = parsed.values
    process = replace(
        base,
        args=arguments,
        terminal="tty" in parsed.flags,
        cwd=values.get("cwd") or base.cwd,
        env=(*base.env, *parsed.lists.get("env", [])),
        apparmor_profile=values.get("apparmor") or base.apparmor_profile,
        selinux_label=values.get("process-label") or base.selinux_label,
        no_new_privileges="no-new-privs" not in parsed.denied
        and (base.no_new_privileges or "no-new-privs" in parsed.flags),
        user=_user(base.user, values.get("user", ""), parsed.lists.get("additional-gids", [])),
    )
    added = tuple(parsed.lists.get("cap", []))
    if added:
        old = base.capabilities or Capabilities()
        process = replace(
            process,
            capabilities=replace(
                old,
                bounding=old.bounding + added,
                effective=old.effective + added,
                permitted=old.permitted + added,
                ambient=old.ambient + added,
            ),
        )
    return process


def _user(base: User, text: str, groups: list[str]) -> User:
    uid, gid = base.uid, base.gid
    if text:
        name, _, group = text.partition(":")
        uid = _id(name, "uid")
        gid = _id(group, "gid") if group else gid
    extra = tuple(_additional(group) for group in groups)
    return replace(base, uid=uid, gid=gid, additional_gids=base.additional_gids + extra)


def _id(text: str, kind: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RuntimeFault(
            f'parsing {text} as int for {kind} failed: strconv.Atoi: parsing "{text}": invalid syntax'
        ) from None


def _additional(text: str) -> int:
    number = int(text, 0)
    if number < 0:
        raise RuntimeFault(f"additional-gids must be a positive number {number}")
    return number


class Console:
    """The user's terminal and the way on which the container's comes; `theirs` is -1 when none is wanted."""

    def __init__(self, *, wants: bool) -> None:
        self.host = self.ours = self.theirs = -1
        if wants:
            import _socket

            self.host = _host_terminal()
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            self.ours, self.theirs = ours.detach(), theirs.detach()
        self.master = -1

    def receive(self) -> None:
        """Take the container's terminal, if one was wanted, and give it the size of the user's."""
        if self.ours >= 0:
            _, self.master = terminal.receive_descriptor(self.ours)
            os.close(self.ours)
            self.ours = -1
            rows, columns = terminal.size(self.host)
            terminal.set_size(self.master, rows, columns)


def _host_terminal() -> int:
    for stream in range(3):
        if os.isatty(stream):
            return stream
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeFault(reason(error, "open")) from error


def wait(pid: int, console: Console) -> int:
    """Wait for a child, forwarding signals to it and, with a terminal, bytes both ways; return its exit status."""

    def forward(number: int, _: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    for number in signal.valid_signals() - _NOT_FORWARDED:
        try:
            signal.signal(number, forward)
        except OSError:
            continue  # the C library's own
    finish: Callable[[], None] | None = None
    console.receive()
    if console.master >= 0:
        from sixhops.runc.cli.relay import start_relay

        finish = start_relay(console.master, console.host)
    status = _reap(pid)
    if finish is not None:
        finish()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _reap(pid: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return status
