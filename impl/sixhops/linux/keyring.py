"""Session keyrings: each container gets one of its own, so that keys of the host's session stay out of it."""

from __future__ import annotations

from sixhops.linux.libc import syscall

__all__ = ["join_session"]

_KEYCTL_JOIN_SESSION_KEYRING = 1
_KEYCTL_SETPERM = 5
_POSSESSOR_ALL_USER_VIEW_SEARCH = 0x3F0B0000


def join_session(name: str, *, own: bool = True) -> None:
    """Join the session keyring `name`, made if need be. Raises LinuxError.

    `own` is for the process that makes it: its user may then view, read and search it.
    """
    key = syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, name.encode(), operation="join session keyring")
    if own:
        syscall(
            "keyctl",
            _KEYCTL_SETPERM,
            key,
            _POSSESSOR_ALL_USER_VIEW_SEARCH,
            operation="set session keyring permissions",
        )
