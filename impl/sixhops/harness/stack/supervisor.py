"""The first process of a stack, and the reaper that outlives it. Run as `python -m
sixhops.harness.stack.supervisor`.

Rules:
1. One thread, no import beyond the standard library and sixhops.linux: it forks, and it must be up at once.
2. The stack lives exactly as long as its first process. That ends when the owner's end of the control socket
closes, when the
   reaper dies, or when told to; then the kernel kills every process in the pid namespace and drops the mount
   and network namespaces.
3. What the kernel doesn't remove (control groups, the directory) the reaper removes, which does nothing else.

    owner (harness) ── control socket ──┐
      └─ reaper (this program)          │       outside, in the host's namespaces
           └─ first process ────────────┘       own pid, mount and network namespace
                ├─ containerd, dockerd, registry
                └─ adopted: shims

Control messages are JSON objects, one to a packet (SOCK_SEQPACKET keeps the boundaries, and carries
descriptors both ways). Requests have `id` and `do`; the answer has the same `id`, and `error` when it failed.
`{"event": "exited", ...}` comes by itself.
"""

from __future__ import annotations

import contextlib

# Looking up any address needs it, and where a tree is the root it can't be imported any more.
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from sixhops.harness.stack.remains import remove_cgroups, remove_directory, remove_extra, thaw
from sixhops.linux import loopback, mounts, namespaces, prctl
from sixhops.linux.signals import reset_signals

__all__ = ["DESCRIPTOR_LIMIT", "MESSAGE_LIMIT", "main"]

#: Bytes in one control message.
MESSAGE_LIMIT = 128 * 1024

#: Descriptors in one control message.
DESCRIPTOR_LIMIT = 9

# A name server that exists nowhere (TEST-NET-1, RFC 5737): with no route to it, a look-up fails at once. A
# local address would not do, because dockerd leaves those out of a container's resolv.conf and puts public
# servers in.
# of containerd and dockerd, below the directory of the stack
STATE = ("containerd-state", "docker-exec")
_RESOLV_CONF = "nameserver 192.0.2.53\n"


def main() -> int:
    """Start a stack's private machine from the JSON settings in argv[1]; return the reaper's exit status.

    Settings: `id`, `directory`, `control` (descriptor: a connected socket, or with `detached` a listening
    one), `lock` (descriptor to keep open), `detached`, `owner` (descriptor of a pipe whose end of file ends
    the stack, until it is released; -1 for none), `keep` (leave the directory), `extra` (files elsewhere that
    go with the stack), `tree` (the root file system of another release, "" for the host's own).
    """
    settings = json.loads(sys.argv[1])
    # The terminal's Ctrl-C is for the owner, who then stops the stack in order.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    # They came through exec; what the stack starts must not get them, or the lock would outlive us in a
    # daemon.
    for inherited in (settings["control"], settings["lock"], settings["owner"]):
        if inherited >= 0:
            os.set_inheritable(inherited, False)
    life_read, life_write = os.pipe()
    reaper_read, reaper_write = os.pipe()
    namespaces.unshare(namespaces.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        os.close(life_read)
        os.close(reaper_write)
        _run_first_process(settings, reaper_read)
    os.close(life_write)
    os.close(reaper_read)
    os.close(settings["control"])
    return _reap(settings, pid, life_read)


def _reap(settings: dict[str, Any], pid: int, life: int) -> int:
    """Wait for the stack's end, then remove what is left; `life` reads end of file as soon as the first
    process begins to end.
    """
    prctl.set_name("sixhops-reaper")
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
    os.read(life, 1)
    # The first process is gone for good only when all others are, and a paused one would keep it for ever.
    thaw(settings["id"])
    os.waitpid(pid, 0)
    left = remove_cgroups(settings["id"])
    if not settings["keep"]:
        left += remove_directory(Path(settings["directory"]))
    left += remove_extra(map(Path, settings["extra"]))
    for line in left:
        sys.stderr.write(f"left behind: {line}\n")
    return 1 if left else 0


def _run_first_process(settings: dict[str, Any], reaper: int) -> None:
    status = 1
    try:
        prctl.die_with_parent(signal.SIGKILL)
        prctl.set_name("sixhops-init")
        control = socket.socket(fileno=settings["control"])
        try:
            _make_machine(Path(settings["directory"]), settings["tree"])
        except OSError as error:
            if not settings["detached"]:
                control.send(json.dumps({"event": "failed", "error": str(error)}).encode())
            raise
        Supervisor(control, reaper, settings["owner"], detached=settings["detached"]).run()
        status = 0
    finally:
        # Not sys.exit: the parent's clean-up handlers are not ours, and the kernel does the rest.
        os._exit(status)


def _make_machine(directory: Path, tree: str) -> None:
    """Give this process, pid 1 already, file systems and a network that are its own."""
    namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    if tree:
        _change_root(directory, tree)
    safe = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    mounts.mount("proc", "/proc", "proc", safe)
    mounts.mount("tmpfs", "/run", "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=755")
    Path("/run/lock").mkdir()
    _make_state(directory)
    if tree:
        _make_resolver()
    else:
        _make_etc(directory)
    loopback.bring_up()


def _make_state(directory: Path) -> None:
    """Keep what is gone after a reboot in memory, where /run/containerd and /run/docker are on any machine.

    On a disk, each of the dozen files that a container takes there would cost the file system a search for a place among
    those that were removed in the last minutes (ext4, recently_deleted).
    """
    for name in STATE:
        place = directory / name
        place.mkdir(mode=0o711, exist_ok=True)
        mounts.mount("tmpfs", str(place), "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=711")


def _change_root(directory: Path, tree: str) -> None:
    """Make a copy-on-write view of `tree` the root; the stack's directory, /dev and /sys are where they were."""
    root = directory / "root"
    upper, work = directory / "root.upper", directory / "root.work"
    for made in (root, upper, work):
        made.mkdir(mode=0o755)
    mounts.mount("overlay", str(root), "overlay", 0, f"lowerdir={tree},upperdir={upper},workdir={work}")
    for name in ("dev", "sys"):
        mounts.mount(f"/{name}", str(root / name), flags=mounts.MS_BIND | mounts.MS_REC)
    same = root / directory.relative_to("/")
    same.mkdir(parents=True, exist_ok=True)  # the tree may be the host itself
    mounts.mount(str(directory), str(same), flags=mounts.MS_BIND)
    os.chdir(root)
    # The old root is stacked upon the new one and taken away; pivot_root(2) describes it.
    mounts.pivot_root(".", ".")
    mounts.unmount(".", mounts.MNT_DETACH)
    os.chdir("/")


def _make_etc(directory: Path) -> None:
    """Lay a private copy-on-write /etc over the host's, without the host's Docker settings and resolvers.

    dockerd writes to /etc/docker (key.json) and reads daemon.json there; neither may reach, or come from, the
    host.
    """
    upper, work = directory / "etc", directory / "etc.work"
    upper.mkdir()
    upper.chmod(0o755)
    work.mkdir()
    mounts.mount("overlay", "/etc", "overlay", 0, f"lowerdir=/etc,upperdir={upper},workdir={work}")
    for name in ("docker", "containerd"):
        empty = directory / f"etc.{name}"
        empty.mkdir(mode=0o755)
        place = Path("/etc") / name
        place.mkdir(exist_ok=True)
        mounts.mount(str(empty), str(place), flags=mounts.MS_BIND)
    _make_resolver()


def _make_resolver() -> None:
    resolver = Path("/etc/resolv.conf")
    resolver.unlink(missing_ok=True)  # it may be a link into the /run that was just hidden
    resolver.write_text(_RESOLV_CONF)


class Supervisor:
    """The loop of the first process: control messages in, programs started, exits reported."""

    def __init__(self, control: socket.socket, reaper: int, owner: int, *, detached: bool) -> None:
        self._selector = selectors.DefaultSelector()
        self._owners: list[socket.socket] = []
        self._programs: dict[str, dict[str, Any]] = {}
        self._going = True
        self._detached = detached
        if detached:
            control.setblocking(False)
            self._selector.register(control, selectors.EVENT_READ, self._accept)
        else:
            self._add_owner(control)
        self._reaper = reaper
        self._selector.register(reaper, selectors.EVENT_READ, self._stop)
        self._owner = owner
        if owner >= 0:
            self._selector.register(owner, selectors.EVENT_READ, self._stop)
        # A byte in this pipe for each signal: the selector wakes up, and the handler itself has nothing to
        # do.
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        self._selector.register(self._woken, selectors.EVENT_READ, self._reap)

    def run(self) -> None:
        """Serve until the owner, the reaper or a request ends it."""
        for owner in self._owners:
            self._send(owner, {"event": "ready"})
        self._reap()
        while self._going:
            for key, _ in self._selector.select():
                if key.fileobj in self._owners:
                    self._receive(key.data)
                else:
                    key.data()

    def _stop(self) -> None:
        self._going = False

    def _accept(self) -> None:
        listener = next(key.fileobj for key in self._selector.get_map().values() if key.data == self._accept)
        assert isinstance(listener, socket.socket)
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            owner, _ = listener.accept()
            self._add_owner(owner)
            self._send(owner, {"event": "ready"})

    def _add_owner(self, owner: socket.socket) -> None:
        self._owners.append(owner)
        self._selector.register(owner, selectors.EVENT_READ, owner)

    def _drop_owner(self, owner: socket.socket) -> None:
        if owner in self._owners:
            self._selector.unregister(owner)
            self._owners.remove(owner)
            owner.close()
        if not self._detached:
            self._going = False

    def _receive(self, owner: socket.socket) -> None:
        try:
            packet, received, _, _ = socket.recv_fds(owner, MESSAGE_LIMIT, DESCRIPTOR_LIMIT)
            for number in received:
                os.set_inheritable(number, False)
        except OSError:
            packet, received = b"", []
        if not packet:
            self._drop_owner(owner)
            return
        request = json.loads(packet)
        descriptor: socket.socket | None = None
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            descriptor = self._perform(request, answer, received)
        except (OSError, KeyError, ValueError) as error:
            answer["error"] = (
                f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else str(error)
            )
        finally:
            for number in received:
                os.close(number)
        self._send(owner, answer, descriptor)
        if descriptor is not None:
            descriptor.close()

    def _perform(
        self, request: dict[str, Any], answer: dict[str, Any], received: list[int]
    ) -> socket.socket | None:
        match request["do"]:
            case "start":
                answer["pid"] = self._start(request, received)
            case "signal":
                target = request["target"]
                pid = self._programs[target]["pid"] if isinstance(target, str) else target
                os.kill(pid, request["signal"])
            case "programs":
                answer["programs"] = self._programs
            case "listen":
                listener = socket.create_server((request["host"], request["port"]), backlog=128)
                answer["port"] = listener.getsockname()[1]
                return listener
            case "connect":
                return socket.create_connection(
                    (request["host"], request["port"]), timeout=request["timeout"]
                )
            case "release":
                if self._owner >= 0:
                    self._selector.unregister(self._owner)
                    os.close(self._owner)
                    self._owner = -1
            case "stop":
                self._stop()
            case unknown:
                raise ValueError(f"no such request: {unknown}")
        return None

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        name = request["name"]
        known = self._programs.get(name)
        if known is not None and known["status"] is None:
            raise ValueError(f"{name} runs already")
        outcome_read, outcome_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become(request, outcome_write, descriptors)
        os.close(outcome_write)
        with os.fdopen(outcome_read, "rb") as outcome:
            failure = outcome.read()
        if failure:
            os.waitpid(pid, 0)
            number = int(failure)
            raise OSError(number, os.strerror(number), request["argv"][0])
        self._programs[name] = {"pid": pid, "status": None}
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, program in self._programs.items():
                if program["pid"] == pid and program["status"] is None:
                    program["status"] = os.waitstatus_to_exitcode(status)
                    for owner in list(self._owners):
                        self._send(
                            owner, {"event": "exited", "name": name, "pid": pid, "status": program["status"]}
                        )

    def _send(
        self, owner: socket.socket, message: dict[str, Any], descriptor: socket.socket | None = None
    ) -> None:
        try:
            packet = json.dumps(message).encode()
            socket.send_fds(owner, [packet], [descriptor.fileno()] if descriptor is not None else [])
        except OSError:
            self._drop_owner(owner)


def _become(request: dict[str, Any], outcome: int, descriptors: list[int]) -> None:
    """In the child: become the program, whose output goes to the first of `descriptors` and which gets the others as
    3, 4 ...; the error number goes to `outcome`, which exec closes.
    """
    try:
        # Out of the way of the numbers that the program is to have.
        high = 3 + DESCRIPTOR_LIMIT
        outcome, log, *descriptors = (
            fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, high) for given in (outcome, *descriptors)
        )
        os.setsid()
        signal.set_wakeup_fd(-1)
        reset_signals()
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for place, given in enumerate(descriptors, 3):
            os.dup2(given, place)
        os.chdir(request["cwd"])
        os.umask(0o022)
        os.execve(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        os.write(outcome, str(error.errno).encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    sys.exit(main())
