"""Pseudo-terminals of a container: made inside it, its master handed out over a unix socket (SCM_RIGHTS)."""

from __future__ import annotations

import _socket
import array
import fcntl
import os
import struct

from sixhops.linux.libc import LinuxError, describe

__all__ = [
    "connect",
    "make_controlling",
    "open_pair",
    "receive_descriptor",
    "send_descriptor",
    "set_size",
    "size",
]

_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_TIOCSCTTY = 0x540E
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_NAME_LIMIT = 4096


def open_pair(devpts: str = "/dev/pts") -> tuple[int, str]:
    """Open a new master of the devpts instance there, unlock its slave; return the master and the slave's path."""
    master = os.open(f"{devpts}/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    (number,) = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, struct.pack("I", 0)))
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return master, f"{devpts}/{number}"


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set the window size in characters."""
    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def size(terminal: int) -> tuple[int, int]:
    """Return the window size in characters: rows, columns."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, _TIOCGWINSZ, bytes(8)))
    return rows, columns


def make_controlling(terminal: int) -> None:
    """Make the terminal the controlling one of the calling session leader."""
    fcntl.ioctl(terminal, _TIOCSCTTY, 0)


def connect(path: str) -> int:
    """Connect to the unix stream socket at `path`; return the descriptor. Raises LinuxError as a dialler words it."""
    peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    try:
        peer.connect(path)
    except OSError as error:
        peer.close()
        number = error.errno or 22
        raise LinuxError(number, f"dial unix {path}: connect") from error
    return peer.detach()


def send_descriptor(socket: int, name: str, descriptor: int) -> None:
    """Send one descriptor with its name as the message's bytes, as OCI consoles expect it."""
    peer = _socket.socket(fileno=os.dup(socket))
    try:
        rights = array.array("i", [descriptor])
        peer.sendmsg([name.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    finally:
        peer.close()


def receive_descriptor(socket: int) -> tuple[str, int]:
    """Receive one descriptor and its name; raises LinuxError(EBADMSG) if none came."""
    peer = _socket.socket(fileno=os.dup(socket))
    try:
        size = array.array("i").itemsize
        data, ancillary, _, _ = peer.recvmsg(_NAME_LIMIT, _socket.CMSG_SPACE(size), _socket.MSG_CMSG_CLOEXEC)
    finally:
        peer.close()
    for level, kind, rights in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(rights) >= size:
            return data.decode(errors="replace"), int.from_bytes(rights[:size], "little")
    raise LinuxError(74, f"receive descriptor ({describe(74)})")
