"""A process that waits to become a container's first one, so that `create` need not fork it.

Most of what a fork costs is the copying of page tables, and then of the pages that either side writes to. The spare has
been forked and has touched its memory when nobody waited for it. `create` sends it what the first process has to know,
and its successor (`linux.successor`), born in the container's namespaces (some of which the spare is in already), goes
on in that memory as a fork would: it says which pid it has, and from then on all is as `init` and `channel` have it. While
it mounts, the runtime makes its groups of version 1: it shows them when they are MADE, and enters them when it is to JOIN.
The spare itself stands still, and ends when the container's program begins, or when whoever forked it ends it.

What can't be taken back and costs time it does as soon as it is told what it will most likely become: it leaves
capabilities' bounding set to what that container may have (a quarter of a millisecond, as the kernel drops one a call).
"""

from __future__ import annotations

import _socket
import contextlib
import marshal
import os
import pickle

from sixhops.linux import namespaces as ns
from sixhops.linux import passing
from sixhops.linux import successor as s
from sixhops.linux.capabilities import drop_bounding
from sixhops.linux.libc import LinuxError
from sixhops.linux.loopback import bring_up
from sixhops.runc import channel as ch
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.inside.init import FirstProcess, report, run_first
from sixhops.runc.inside.operations import LoopbackUp
from sixhops.runc.lifecycle.spawn import enter, hide
from sixhops.values import Value, replace

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.runc.channel import Channel
    from sixhops.wire.runtime.document import Spec

__all__ = ["Birth", "Spare", "become", "expect", "suits", "tell"]

_LIMIT = 1 << 17  # bytes of a message; for one that is larger the process is forked
_MOST = 64  # descriptors of a message
_STREAMS = 3


# what the spare was told of last
_told: list[FirstProcess] = []
# new namespaces that the spare has before it knows for whom: those of the container that was rehearsed, of these kinds
_ahead = [0]
_AHEAD = ns.CLONE_NEWNET | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC
# the capabilities that the spare has not dropped from its bounding set, by what it was told
_ALL = (1 << 64) - 1
_bounding = [_ALL]


class Birth(Value):
    """How the process is to be born: the flags of its new namespaces, the path of its gate, and the namespaces that it
    enters, by flag and descriptor.
    """

    flags: int
    gate: str
    joined: list[tuple[int, int]]


def suits(first: FirstProcess) -> bool:
    """Tell whether a spare can become this one.

    It can't bring descriptors along that the caller preserves, or enter a user namespace, in which the memory of
    two processes would lie; and what it touches before the program begins is not the container's to pay for, which a
    limit of memory is there to see.
    """
    return s.can_succeed() and not (first.own_user or first.preserved or first.mapped or first.limited)


def expect(spec: Spec) -> None:
    """Expect a container with namespaces like this one's, here and in the spare that is to be forked from us."""
    new = sum(ns.FLAGS[n.type] for n in spec.linux.namespaces if not n.path and n.type in ns.FLAGS)
    _ahead[0] = 0 if new & ns.CLONE_NEWUSER else new & _AHEAD


def tell(spare: int, outline: FirstProcess) -> bool:
    """Let the spare at the descriptor `spare` know what it will become, all but what only its birth decides.

    False if there is no spare any more, or it can't be told of so much.
    """
    if _told and _told[0] is outline:
        return True
    if not _send(spare, pickle.dumps(outline, pickle.HIGHEST_PROTOCOL), ()):
        return False
    _told[:] = [outline]
    _bounding[0] &= _bounded_by(outline)
    return True


def _bounded_by(outline: FirstProcess) -> int:
    """Return the bounding set that does while the container is made. Hooks are programs, which run with all there is."""
    if outline.create_container:
        return _ALL
    return outline.capabilities[-1]


def _send(spare: int, data: bytes, descriptors: tuple[int, ...]) -> bool:
    connection = _socket.socket(fileno=spare)
    try:
        passing.send(connection, data, descriptors)
    except OSError:
        return False
    finally:
        connection.detach()  # our caller's
    return True


class Spare:
    """The runtime's side of one birth; the spare itself is at the other end of the descriptor `spare`."""

    def __init__(self, spare: int, outline: FirstProcess, birth: Birth, ours: Channel) -> None:
        """`outline` is what it may have been told of (`tell`); `ours` is the parent's side of the process's channel."""
        self._descriptor = spare
        self._outline = outline
        self._birth = birth
        self._ours = ours
        self._begun = False

    def begin(self, first: FirstProcess, group: int = -1) -> None:
        """Let it become `first`, if it is there still and can; it waits for `hand` when it needs its groups.

        `group` is the descriptor of the version 2 group that it is to be born in, -1 for none. Once it has begun, the
        child's side of the channel is closed here.
        """
        if not suits(first):
            return
        birth = self._birth
        entered = sum(flag for flag, _ in birth.joined)
        if _ahead[0] & ~(birth.flags | entered):
            return  # it has left a namespace in which this one is to stay
        if not tell(self._descriptor, self._outline):
            return
        if _bounded_by(first) & ~_bounding[0]:
            return  # it was to become another, which may do less
        console = (first.console_socket,) if first.console_socket >= 0 else ()
        born_in = (group,) if group >= 0 else ()
        joined = [descriptor for _, descriptor in birth.joined]
        descriptors = (*range(_STREAMS), first.channel.fileno(), *console, *born_in, *joined)
        rest = (bool(console), bool(born_in), [flag for flag, _ in birth.joined])
        words = (birth.flags & ~_ahead[0], birth.gate, os.getcwd(), first.state, rest)
        self._begun = _send(self._descriptor, marshal.dumps(words), descriptors)
        if self._begun:
            first.channel.close()

    def made(self) -> None:
        """Tell one that has begun that its groups are there."""
        if self._begun:
            with contextlib.suppress(BrokenPipeError):
                self._ours.send(ch.MADE)

    def hand(self, entries: tuple[int, ...]) -> bool:
        """Let one that has begun have its version 1 groups; False if none has begun."""
        if self._begun:
            with contextlib.suppress(BrokenPipeError):  # it failed meanwhile, and its report is waiting
                self._ours.hand(ch.JOIN, entries)
        return self._begun

    def pid(self) -> int:
        """Return, once, the pid of the process that it becomes; 0 if it does not. Raises RuntimeFault."""
        if not self._begun:
            return 0
        self._begun = False
        kind, body = self._ours.receive()
        if kind == ch.BORN:
            return int(body)
        text = "the process that was to become it has gone"
        if kind == ch.FAILED:
            text = body.decode(errors="replace")
        raise RuntimeFault(f"unable to start container process: {text}")


def become(connection: int, begin: Callable[[], None]) -> int:
    """Wait on the socket `connection` to be told of a container, and become it. Returns only if nothing comes, with 0.

    `begin` is called when something does.
    """
    told = _socket.socket(fileno=connection)
    ns.unshare(_ahead[0])
    if _ahead[0] & ns.CLONE_NEWNET:
        bring_up()
    outline: FirstProcess | None = None
    descriptors: list[int] = []
    while not descriptors:
        data, descriptors = passing.receive(told, _LIMIT, _MOST)
        if not data:
            return 0
        if outline is None:
            begin()
        if not descriptors:
            outline = pickle.loads(data)
            with contextlib.suppress(LinuxError):  # which will be said when it has become it
                drop_bounding(_bounded_by(outline), outline.last_capability)
    told.close()
    assert outline is not None
    flags, gate, directory, state, (console, group, kinds) = marshal.loads(data)
    for number in range(_STREAMS):
        os.dup2(descriptors[number], number)
        os.close(descriptors[number])
    talk, *rest = descriptors[_STREAMS:]
    first = replace(
        outline,
        channel=ch.Channel(_socket.socket(fileno=talk)),
        console_socket=rest.pop(0) if console else -1,
        state=state,
        early=True,
    )
    born_in = rest.pop(0) if group else -1
    # the one of the namespace that we are in and that will be the container's is up already
    is_up = _ahead[0] & ns.CLONE_NEWNET and not flags & ns.CLONE_NEWNET
    plan = [o for o in first.plan if not (is_up and isinstance(o, LoopbackUp))]
    first = replace(first, plan=plan)
    joined = list(zip(kinds, rest, strict=True))
    try:
        os.chdir(directory)
        pid = s.succeed(flags, born_in)
    except OSError as error:
        report(first.channel, error, "")
    _go_on(first, gate, joined, pid)
    return 70


def _go_on(first: FirstProcess, gate: str, joined: list[tuple[int, int]], pid: int) -> None:
    """Be the successor: what a fork does in `spawn`."""
    prefix = ""
    try:
        # opened here, because the one that stands still must not have it: its closing says that the program has begun
        first = replace(first, gate=os.open(gate, os.O_RDWR | os.O_CLOEXEC))
        first.channel.send(ch.BORN, str(pid).encode())
        prefix = "error joining namespaces: "
        hide(first.descriptors() | {descriptor for _, descriptor in joined})
        enter(joined)
    except BaseException as error:  # noqa: BLE001  whatever it is, the runtime must hear of it and this process must end
        report(first.channel, error, prefix)
    run_first(first)
