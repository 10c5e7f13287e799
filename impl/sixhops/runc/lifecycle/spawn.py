"""Starting the process that becomes the container, in its namespaces, new ones and given ones.

Plain case: one clone3 with all the new namespaces; the child enters those that are given. Where that would be too late
(its pid namespace is given), would lack rights (a user namespace is involved) or would lose sight of the host's files
(its mounts are given), or where clocks are shifted, a short-lived process stands in between: it enters what is given,
with the host's rights still, and then clones with CLONE_PARENT, so that the container's process is the caller's child
either way. When the caller ends, its subreaper (the shim) inherits it.

Before any of them is inside, it is made undumpable and closes every descriptor that it doesn't need: processes of the
container may look at it from then on.
"""

from __future__ import annotations

import os

from sixhops.linux import namespaces as ns
from sixhops.linux.clone import fork_plainly
from sixhops.linux.fds import keep_only
from sixhops.linux.libc import call
from sixhops.runc.errors import RuntimeFault, reason

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.wire.runtime.document import Linux

__all__ = ["enter", "goes_alone", "hide", "in_order", "new_namespaces", "open_joined", "spawn"]

_PR_SET_DUMPABLE = 4
_ENTERED_LATE = ns.CLONE_NEWNET | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS


def open_joined(linux: Linux) -> list[tuple[int, int]]:
    """Open the namespaces given by path; return (flag, descriptor) in the order in which they must be entered."""
    joined = []
    for namespace in linux.namespaces:
        if namespace.path:
            try:
                descriptor = ns.open_namespace(namespace.path)
            except OSError as error:
                raise RuntimeFault(
                    f"unable to start container process: namespace path: {reason(error, 'lstat')}"
                ) from error
            joined.append((ns.FLAGS[namespace.type], descriptor))
    return in_order(joined)


def in_order(joined: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return namespaces in the order of entering: user first for its rights, mount last for the others' paths."""
    order = list(ns.FLAGS.values())
    return sorted(joined, key=lambda pair: order.index(pair[0]))


def new_namespaces(linux: Linux) -> int:
    """Return the flags of the new namespaces that the process is born in."""
    return sum(
        ns.FLAGS[namespace.type]
        for namespace in linux.namespaces
        if not namespace.path and namespace.type not in {"cgroup", "time"}
    )


def _new_time(linux: Linux) -> bool:
    return any(namespace.type == "time" and not namespace.path for namespace in linux.namespaces)


def goes_alone(linux: Linux, joined: list[tuple[int, int]]) -> bool:
    """Tell whether the process can enter the namespaces `joined` by itself, once it is born: nobody stands in between."""
    if _new_time(linux):
        return False
    return not joined or (
        all(flag & _ENTERED_LATE for flag, _ in joined) and not new_namespaces(linux) & ns.CLONE_NEWUSER
    )


def spawn(
    linux: Linux,
    joined: list[tuple[int, int]],
    kept: frozenset[int],
    child: Callable[[], None],
    *,
    failed: Callable[[BaseException], None] | None = None,
    group: int = -1,
    sibling: bool = False,
) -> int:
    """Start `child` in the document's namespaces with the descriptors `kept`; return its pid here.

    The child must end by itself (os._exit), and so must `failed`, which is called in its place when it can't enter a
    given namespace; without it, the caller is told. `group` is the version 2 control group that it is born in. The
    cgroup namespace is not made here: the process has to be in its groups before it is cut off from the rest. With
    `sibling` it is a child of our parent, if nobody has to stand in between. Raises RuntimeFault and LinuxError.
    """
    new = new_namespaces(linux)
    if (joined and failed is None) or not goes_alone(linux, joined):
        return _spawn_between(linux, joined, new, _new_time(linux), kept, child, group)
    pid = ns.clone(new | (ns.CLONE_PARENT if sibling else 0), group)
    if pid == 0:
        try:
            hide(kept | {descriptor for _, descriptor in joined})
            try:
                enter(joined)
            except BaseException as error:  # noqa: BLE001  as below
                assert failed is not None
                failed(RuntimeFault(f"error joining namespaces: {reason(error)}"))
            child()
        finally:
            os._exit(70)
    return pid


def hide(kept: frozenset[int]) -> None:
    """Make this process undumpable and close all descriptors but `kept`."""
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0, operation="prctl(PR_SET_DUMPABLE)")
    keep_only(kept)


def enter(joined: list[tuple[int, int]]) -> None:
    """Enter namespaces, given by flag and descriptor; closes these."""
    for flag, descriptor in joined:
        ns.set_namespace(descriptor, flag)
        os.close(descriptor)


def _spawn_between(
    linux: Linux,
    joined: list[tuple[int, int]],
    new: int,
    new_time: bool,
    kept: frozenset[int],
    child: Callable[[], None],
    group: int,
) -> int:
    # Where the hierarchy is mounted with nsdelegate, as systemd does, nobody gets from outside of the caller's cgroup
    # namespace to inside (cgroups(7)), so that namespace is entered by the process that has been born in the group.
    last = [pair for pair in joined if group >= 0 and pair[0] == ns.CLONE_NEWCGROUP]
    first = [pair for pair in joined if pair not in last]
    # Nor does it let somebody do so who, in a user namespace, may not write to the group's files.
    moved = group >= 0 and bool(new & ns.CLONE_NEWUSER or any(flag == ns.CLONE_NEWUSER for flag, _ in joined))
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    between = fork_plainly()
    if between == 0:
        try:
            hide(kept | {write_end, *({group} - {-1})} | {descriptor for _, descriptor in joined})
            if new_time:
                ns.unshare(ns.CLONE_NEWTIME)
                _write_offsets(linux)
            if moved:
                _move_into(group)
            enter(first)
            pid = ns.clone(new | ns.CLONE_PARENT, -1 if moved else group)
            if pid == 0:
                enter(last)
                os.close(write_end)
                if group >= 0:
                    os.close(group)
                child()
                os._exit(70)
            os.write(write_end, str(pid).encode())
        except BaseException as error:  # noqa: BLE001  a forked child must not run the parent's code any further
            os.write(write_end, b"!" + reason(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    answer = b""
    while part := os.read(read_end, 4096):
        answer += part
    os.close(read_end)
    os.waitpid(between, 0)
    if not answer.isdigit():
        raise RuntimeFault(
            f"unable to start container process: error joining namespaces: {answer[1:].decode(errors='replace')}"
        )
    return int(answer)


def _move_into(group: int) -> None:
    """Put the calling process into the version 2 control group whose directory is open as `group`."""
    processes = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=group)
    try:
        os.write(processes, b"0")
    finally:
        os.close(processes)


def _write_offsets(linux: Linux) -> None:
    with open("/proc/self/timens_offsets", "w") as file:
        for clock, offset in linux.time_offsets.items():
            file.write(f"{clock} {offset.seconds} {offset.nanoseconds}\n")
