"""User namespace mappings, written from outside in the order that the kernel demands."""

from __future__ import annotations

from sixhops.linux.libc import LinuxError

__all__ = ["IdMap", "write_maps"]

# (first id inside, first id outside, count)
IdMap = tuple[int, int, int]


def write_maps(pid: int, users: tuple[IdMap, ...], groups: tuple[IdMap, ...]) -> None:
    """Map users and groups of the new user namespace that process `pid` is in.

    A privileged writer may leave setgroups alone; an unprivileged one must deny it before the group map,
    or the kernel refuses the map (user_namespaces(7)). Each map can be written once, whole.
    """
    _write(f"/proc/{pid}/uid_map", users)
    try:
        _write(f"/proc/{pid}/gid_map", groups)
    except LinuxError as error:
        if error.errno != 1:
            raise
        with open(f"/proc/{pid}/setgroups", "w") as file:
            file.write("deny")
        _write(f"/proc/{pid}/gid_map", groups)


def _write(path: str, maps: tuple[IdMap, ...]) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write("".join(f"{inside} {outside} {size}\n" for inside, outside, size in maps).encode())
    except OSError as error:
        raise LinuxError(error.errno or 5, f"write {path}") from error
