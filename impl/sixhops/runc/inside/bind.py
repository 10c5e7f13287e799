"""Bind mounts and what is built from them: attributes that need a second step, idmaps, the view on control groups."""

# Imported when needed, because the program starts often.

from __future__ import annotations

import os

from sixhops.linux import mounts as m
from sixhops.linux import namespaces
from sixhops.linux.idmaps import IdMap, write_maps
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import make_directories, open_in_root, via
from sixhops.runc.errors import RuntimeFault

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.inside.mount_options import MountOptions
    from sixhops.runc.inside.operations import BindMount, MountGroups

__all__ = ["Mappings", "bind_mount", "mapped_namespace", "mount_groups", "propagate", "with_label"]

Mappings = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]

_DEFAULT_FLAGS = m.MS_NOEXEC | m.MS_NOSUID | m.MS_NODEV
# Flags that a user namespace may not take off again, once the mount came from outside with them.
_LOCKED = (
    m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC | m.MS_NOATIME | m.MS_NODIRATIME | m.MS_RELATIME
)


def with_label(data: str, label: str) -> str:
    """Return mount data with an SELinux context added."""
    if not label:
        return data
    context = f'context="{label}"'
    return f"{data},{context}" if data else context


def propagate(place: int, options: MountOptions) -> None:
    """Apply propagation changes and recursive attributes to the mount behind `place`."""
    for flag in options.propagation:
        m.mount("", via(place), flags=flag)
    if options.recursive_set or options.recursive_clear:
        try:
            m.set_attributes(place, options.recursive_set, options.recursive_clear, recursive=True)
        except LinuxError as error:
            raise RuntimeFault(f"failed to apply recursive mount attributes: {error}") from error


def bind_mount(operation: BindMount, root: int, place: int, mapped: dict[Mappings, int]) -> None:
    """Bind onto the open mount point `place` (closed here), then set what mount(2) ignores while binding.

    `mapped` has the user namespace of each idmapped mount.
    """
    options = operation.options
    try:
        if operation.mappings is not None:
            _bind_mapped(operation, place, mapped[operation.mappings])
        else:
            flags = options.flags & (m.MS_BIND | m.MS_REC)
            m.mount(operation.source, via(place), "bind", flags, shown=operation.target)
    finally:
        os.close(place)
    place = open_in_root(root, operation.target)
    try:
        wanted = options.flags & ~(m.MS_BIND | m.MS_REC | m.MS_REMOUNT)
        if wanted:
            _remount(operation, place, wanted)
        propagate(place, options)
    finally:
        os.close(place)


def _remount(operation: BindMount, place: int, wanted: int) -> None:
    flags = wanted | m.MS_BIND | m.MS_REMOUNT
    try:
        m.mount(operation.source, via(place), "bind", flags, shown=operation.target)
    except LinuxError as error:
        if error.errno != 1:
            raise
        locked = m.mount_flags(via(place)) & _LOCKED
        m.mount(operation.source, via(place), "bind", flags | locked, shown=operation.target)


def mapped_namespace(mappings: Mappings) -> int:
    """Return a descriptor of a user namespace with these maps (users, groups), made by a short-lived child.

    For the runtime's own process, outside: only there are pids those of /proc, and the rights are the host's.
    """
    users, groups = mappings
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    pid = namespaces.clone(namespaces.CLONE_NEWUSER)
    if pid == 0:
        os.close(gate_write)
        os.read(gate_read, 1)
        os._exit(0)
    os.close(gate_read)
    try:
        write_maps(pid, users, groups or users)
        return namespaces.open_namespace(f"/proc/{pid}/ns/user")
    finally:
        os.close(gate_write)
        os.waitpid(pid, 0)


def _bind_mapped(operation: BindMount, place: int, user: int) -> None:
    recursive = bool(operation.options.flags & m.MS_REC)
    tree = m.clone_tree(operation.source, recursive=recursive)
    try:
        below = operation.options.idmap == "ridmap"
        m.set_attributes(tree, m.MOUNT_ATTR_IDMAP, recursive=below, user_namespace=user)
        m.move_to(tree, place)
    finally:
        os.close(tree)


def mount_groups(operation: MountGroups, root: int) -> None:
    """Show version 1 control groups: a tmpfs that has one directory for each hierarchy."""
    options = operation.options
    base = make_directories(root, operation.target)
    permissions = os.fstat(base).st_mode & 0o7777
    try:
        m.mount("tmpfs", via(base), "tmpfs", _DEFAULT_FLAGS, "mode=755", shown=operation.target)
    finally:
        os.close(base)
    base = open_in_root(root, operation.target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # As on any tmpfs of a container, the directory keeps the permissions of the one that it covers.
        os.fchmod(base, permissions)
        for name, source, data, aliases in operation.hierarchies:
            os.mkdir(name, 0o755, dir_fd=base)
            place = f"{via(base)}/{name}"  # which is what we made: nobody else has this tmpfs
            shown = f"{operation.target}/{name}"
            if operation.own_namespace:
                flags = _DEFAULT_FLAGS | options.flags & m.MS_RDONLY
                kind = "systemd" if data.startswith("name=") else "cgroup"
                m.mount(kind, place, "cgroup", flags, data, shown=shown)
            else:
                m.mount(source, place, "bind", m.MS_BIND | m.MS_REC, shown=shown)
                _restrict(place, source, options, shown)
            for alias in aliases:
                os.symlink(name, alias, dir_fd=base)
        propagate(base, options)
    finally:
        os.close(base)


def _restrict(place: str, source: str, options: MountOptions, shown: str) -> None:
    if options.flags:
        m.mount(source, place, "bind", options.flags | m.MS_BIND | m.MS_REMOUNT, shown=shown)
    for flag in options.propagation:
        m.mount("", place, flags=flag)
