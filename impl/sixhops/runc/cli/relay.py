"""The user's terminal and the container's, connected: bytes both ways, size changes, raw mode while it lasts."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import tty

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_relay"]

_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_BLOCK = 65536


def start_relay(master: int, host: int) -> Callable[[], None]:
    """Relay in a process of its own until the container's side ends; the returned function waits for that and tidies up.

    A process, because the caller is busy waiting for the container and must notice its end at once.
    """
    before = termios.tcgetattr(host)
    _copy_size(host, master)
    signal.signal(signal.SIGWINCH, lambda *_: _copy_size(host, master))
    tty.setraw(host)
    pid = os.fork()
    if pid == 0:
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGWINCH):
                signal.signal(number, signal.SIG_IGN)
            _relay(master, host)
        finally:
            os._exit(0)

    def finish() -> None:
        try:
            os.close(master)
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # reaped together with the container's other children
        finally:
            termios.tcsetattr(host, termios.TCSADRAIN, before)

    return finish


def _copy_size(source: int, target: int) -> None:
    size = fcntl.ioctl(source, _TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    fcntl.ioctl(target, _TIOCSWINSZ, size)


def _relay(master: int, host: int) -> None:
    poller = select.poll()
    poller.register(master, select.POLLIN)
    poller.register(host, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            try:
                data = os.read(descriptor, _BLOCK)
            except OSError:
                data = b""  # a master whose slaves are all closed answers EIO
            if not data:
                if descriptor == master:
                    return
                poller.unregister(host)
                continue
            target = host if descriptor == master else master
            while data:
                data = data[os.write(target, data) :]
