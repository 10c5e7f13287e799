"""Network namespaces of containers, kept at a path; and work inside of them, on threads that end afterwards."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sixhops.linux import loopback, mounts
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import FLAGS, set_namespace, unshare

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["inside", "is_used", "make_namespace", "remove_namespace", "set_ipv6"]

T = TypeVar("T")
_BIND = 4096


def make_namespace(path: Path) -> None:
    """Make a network namespace with `lo` up and without IPv6, and keep it at `path`. Raises LinuxError, OSError."""
    path.touch(mode=0o444)

    def make() -> None:
        unshare(FLAGS["network"])
        set_ipv6("all", on=False)
        loopback.bring_up()
        mounts.mount(f"/proc/self/task/{threading.get_native_id()}/ns/net", str(path), "", _BIND)

    try:
        _on_new_thread(make)
    except BaseException:
        path.unlink()
        raise


def remove_namespace(path: Path) -> None:
    """Let a namespace go; what is gone already does not matter. Raises OSError."""
    # EINVAL: not a mount; ENOENT: gone. Both are fine, and anything else shows when the file can't be removed
    with contextlib.suppress(LinuxError):
        mounts.unmount(str(path), mounts.MNT_DETACH)
    path.unlink(missing_ok=True)


def is_used(path: Path) -> bool:
    """Tell whether a process lives in the namespace that is kept at `path`."""
    try:
        wanted = path.stat().st_ino
    except FileNotFoundError:
        return False
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if (process / "ns/net").stat().st_ino == wanted:
                    return True
    return False


def inside(path: str, function: Callable[[], T]) -> T:
    """Call `function` on a thread that is in the network namespace at `path`; "" is the caller's own."""
    if not path:
        return function()
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> T:
        set_namespace(namespace, FLAGS["network"])
        return function()

    try:
        return _on_new_thread(enter)
    finally:
        os.close(namespace)


def set_ipv6(interface: str, *, on: bool) -> None:
    """Switch IPv6 of an interface (or `all`) of the thread's network on or off; there may be no IPv6 in the kernel."""
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("0" if on else "1")


def _on_new_thread(function: Callable[[], T]) -> T:
    """Call `function` on a thread of its own, which then ends: it has left the engine's namespaces."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=run, name="network-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
