"""Starting the process that becomes the container, in its namespaces, new ones and given ones.

Plain case: one clone3 with all the new namespaces. Where namespaces are joined, or clocks are shifted, a short-lived
process stands in between: it enters what is given, with the host's rights still, and then clones with CLONE_PARENT, so
that the container's process is the caller's child either way. When the caller ends, its subreaper (the shim) inherits it.
"""

# ruff: noqa: PTH  descriptors, not path objects

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sixhops.linux import namespaces as ns
from sixhops.linux.libc import LinuxError, call
from sixhops.runc.errors import RuntimeFault, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.wire.runtime.document import Linux

__all__ = ["open_joined", "spawn"]

_PR_SET_DUMPABLE = 4


def open_joined(linux: Linux) -> list[tuple[int, int]]:
    """Open the namespaces given by path; return (flag, descriptor) in the order in which they must be entered."""
    joined = []
    for namespace in linux.namespaces:
        if namespace.path:
            try:
                descriptor = ns.open_namespace(namespace.path)
            except OSError as error:
                raise RuntimeFault(f"failed to open {namespace.path}: {reason(error).rpartition(': ')[2]}") from error
            joined.append((ns.FLAGS[namespace.type], descriptor))
    # The user namespace first, for the rights over those that it owns; the mount namespace last, for their paths.
    order = list(ns.FLAGS.values())
    return sorted(joined, key=lambda pair: order.index(pair[0]))


def spawn(linux: Linux, joined: list[tuple[int, int]], child: Callable[[], None]) -> int:
    """Start `child` in the document's namespaces; return its pid here. The child must end by itself (os._exit).

    The cgroup namespace is not made here: the process has to be in its groups before it is cut off from the rest.
    """
    new = 0
    for namespace in linux.namespaces:
        if not namespace.path and namespace.type not in {"cgroup", "time"}:
            new |= ns.FLAGS[namespace.type]
    new_time = any(namespace.type == "time" and not namespace.path for namespace in linux.namespaces)
    if not joined and not new_time:
        pid = ns.clone(new)
        if pid == 0:
            _run(child)
        return pid
    return _spawn_between(linux, joined, new, new_time, child)


def _spawn_between(
    linux: Linux, joined: list[tuple[int, int]], new: int, new_time: bool, child: Callable[[], None]
) -> int:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        try:
            for flag, descriptor in joined:
                ns.set_namespace(descriptor, flag)
            if new_time:
                ns.unshare(ns.CLONE_NEWTIME)
                _write_offsets(linux)
            pid = ns.clone(new | ns.CLONE_PARENT)
            if pid == 0:
                os.close(write_end)
                _run(child)
            os.write(write_end, str(pid).encode())
        except BaseException as error:  # noqa: BLE001  a forked child must not run the parent's code any further
            os.write(write_end, b"!" + str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    answer = b""
    while part := os.read(read_end, 4096):
        answer += part
    os.close(read_end)
    os.waitpid(between, 0)
    if not answer.isdigit():
        raise RuntimeFault(f"error joining namespaces: {answer[1:].decode(errors='replace')}")
    return int(answer)


def _write_offsets(linux: Linux) -> None:
    for clock, offset in linux.time_offsets.items():
        with open("/proc/self/timens_offsets", "w") as file:
            file.write(f"{clock} {offset.seconds} {offset.nanoseconds}")


def _run(child: Callable[[], None]) -> None:
    try:
        # Not to be looked into, nor traced, by processes of the container that it is about to join.
        call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
        child()
    except LinuxError:
        pass
    finally:
        os._exit(70)
