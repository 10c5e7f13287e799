"""Carrying out the planned operations, inside the new namespaces, before the root changes.

Every target is resolved inside the rootfs by the kernel at the moment of use and then worked on through its
descriptor. Until `ChangeRoot` the process still has the host's /proc, which is the one that descriptors are
reached through; the container's own is looked at only after it was found to be procfs.
"""

# Contextlib is one more import.
# ruff: noqa: SIM105
# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import stat

from sixhops.linux import mounts as m
from sixhops.linux import terminal
from sixhops.linux.libc import LinuxError, call
from sixhops.linux.paths import make_directories, make_file, open_in_root, via
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.inside import operations as op
from sixhops.runc.inside.bind import Mappings, bind_mount, mount_groups, propagate, with_label

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Execution", "check_proc", "execute", "load_what_operations_import"]

_INSIDE_PROC_ALLOWED = frozenset(
    f"/proc/{name}"
    for name in [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    ]
)
_PLAIN_KINDS = frozenset({"proc", "sysfs", "mqueue", "tmpfs"})


class Execution:
    """What the operations share: the root's descriptor and path, and who is asked at the meeting points."""

    def __init__(
        self,
        rootfs: str,
        parent_step: Callable[[], None],
        container_hooks: Callable[[], None],
        console_socket: int = -1,
        mapped: dict[Mappings, int] | None = None,
    ) -> None:
        self.rootfs = rootfs
        self.root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.parent_step = parent_step
        self.container_hooks = container_hooks
        self.console_socket = console_socket
        self.mapped = mapped or {}

    def open(self, target: str, *, links: bool = True) -> int | None:
        """Return a descriptor of a path in the root, None if there is none."""
        try:
            return open_in_root(self.root, target, links=links)
        except LinuxError as error:
            if error.errno in {2, 20}:
                return None
            if error.errno == 40 and links:
                raise RuntimeFault(f"SecureJoin {self.rootfs}{target}: {error.strerror}") from error
            raise


def execute(operation: op.Operation, run: Execution) -> None:
    """Carry out one operation. Raises LinuxError, OSError or RuntimeFault, worded for the user."""
    _ACTIONS[type(operation)](operation, run)


def _propagate_root(operation: op.PropagateRoot, run: Execution) -> None:
    try:
        m.mount("", "/", flags=operation.flags)
        if not _cuts_off(operation.flags):
            _parent_private(run.rootfs)
    except LinuxError as error:
        raise RuntimeFault(f"error preparing rootfs: {error}") from error


def _cuts_off(flags: int) -> bool:
    """Whether no mount is shared any more: then the list of all, which may be long, need not be read for one."""
    return bool(flags & m.MS_REC and flags & (m.MS_SLAVE | m.MS_PRIVATE))


def _parent_private(rootfs: str) -> None:
    """Make the mount that the rootfs lies on private, if shared: pivot_root refuses a shared parent."""
    with open("/proc/self/mountinfo") as file:
        best, shared = "", False
        for line in file:
            fields = line.split(" ")
            point = fields[4].replace("\\040", " ")
            if (rootfs == point or rootfs.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, shared = (
                    point,
                    any(field.startswith("shared:") for field in fields[6 : fields.index("-")]),
                )
    if shared:
        m.mount("", best, flags=m.MS_PRIVATE)


def _bind_root(operation: op.BindRoot, run: Execution) -> None:
    try:
        m.mount(operation.rootfs, operation.rootfs, "bind", m.MS_BIND | m.MS_REC)
        if operation.private:
            m.mount("", operation.rootfs, flags=m.MS_PRIVATE | m.MS_REC)
    except LinuxError as error:
        raise RuntimeFault(f"error preparing rootfs: {error}") from error
    os.close(run.root)
    run.root = os.open(operation.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount_filesystem(operation: op.MountFilesystem, run: Execution) -> None:
    try:
        _mount_new(operation, run)
    except (LinuxError, RuntimeFault) as error:
        raise RuntimeFault(
            f'error mounting "{operation.source}" to rootfs at "{operation.target}": {error}'
        ) from error


def _mount_new(operation: op.MountFilesystem, run: Execution) -> None:
    options = operation.options
    check_proc(operation.target, run.rootfs, operation.type)
    # What tells the runtime and its user about processes and the kernel may be nowhere else than where it seems to be.
    links = operation.type not in {"proc", "sysfs"}
    found = _look(operation, run, links=links)
    if found is not None and operation.type == "tmpfs":
        place = open_in_root(run.root, operation.target)  # if it is no directory, the kernel will say so
    else:
        os.close(make_directories(run.root, operation.target, prefix=run.rootfs))
        place = open_in_root(run.root, operation.target, links=links)
    flags = options.flags
    if operation.type == "tmpfs" or operation.target.rstrip("/") == "/dev":
        flags &= ~m.MS_RDONLY  # device nodes and mount points have to be made in it first
    data = with_label(
        options.data, operation.label if operation.type not in {"proc", "sysfs", "mqueue"} else ""
    )
    lower = _copy_source(run, operation) if options.copy_up else None
    try:
        m.mount(operation.source, via(place), operation.type or "none", flags, data, shown=operation.target)
    finally:
        os.close(place)
    place = open_in_root(run.root, operation.target)
    try:
        if operation.type == "tmpfs" and found is not None:
            os.chmod(via(place), stat.S_IMODE(found.st_mode))
        if lower is not None:
            from sixhops.runc.inside.copyup import copy_tree

            copy_tree(lower, place)
        propagate(place, options)
    finally:
        os.close(place)
        if lower is not None:
            os.close(lower)


def _look(operation: op.MountFilesystem, run: Execution, *, links: bool) -> os.stat_result | None:
    """Return what is at a mount's place before anything is mounted there; None if nothing."""
    refusal = f'filesystem "{operation.type}" must be mounted on ordinary directory'
    try:
        existing = run.open(operation.target, links=links)
    except LinuxError as error:
        if error.errno == 40:
            raise RuntimeFault(refusal) from error
        raise
    if existing is None:
        return None
    try:
        found = os.fstat(existing)
    finally:
        os.close(existing)
    if not links and not stat.S_ISDIR(found.st_mode):
        raise RuntimeFault(refusal)
    return found


def _copy_source(run: Execution, operation: op.MountFilesystem) -> int | None:
    """Return the directory that a tmpfs with tmpcopyup covers, opened before it is covered."""
    try:
        return open_in_root(run.root, operation.target, os.O_RDONLY | os.O_DIRECTORY)
    except LinuxError as error:
        if error.errno == 2:
            return None
        raise


def check_proc(target: str, rootfs: str, kind: str, source: str = "") -> None:
    """Refuse mounts inside /proc, but for the harmless files that container managers replace. Raises RuntimeFault."""
    clean = os.path.normpath(target)
    shown = f"{rootfs}{clean}"
    if clean == "/proc":
        if kind == "proc":
            return
        if kind == "bind":
            with_source = os.open(source, os.O_PATH | os.O_CLOEXEC)
            try:
                if m.filesystem_type(with_source) == m.PROC_SUPER_MAGIC:
                    return
            finally:
                os.close(with_source)
        raise RuntimeFault(f'"{shown}" cannot be mounted because it is not of type proc')
    if clean.startswith("/proc/") and kind == "bind" and clean not in _INSIDE_PROC_ALLOWED:
        raise RuntimeFault(f'"{shown}" cannot be mounted because it is inside /proc')


def _bind(operation: op.BindMount, run: Execution) -> None:
    try:
        try:
            found = os.stat(operation.source)
        except OSError as error:
            raise RuntimeFault(reason(error, "stat")) from error
        existing = run.open(operation.target)
        existing_there = existing is not None
        if existing is not None:
            os.close(existing)
        check_proc(operation.target, run.rootfs, "bind", operation.source)
        if existing_there:  # a directory over a file, or the reverse, is the kernel's to refuse
            place = open_in_root(run.root, operation.target)
        else:
            make = make_directories if stat.S_ISDIR(found.st_mode) else make_file
            place = make(run.root, operation.target, prefix=run.rootfs)
        bind_mount(operation, run.root, place, run.mapped)
    except (LinuxError, RuntimeFault) as error:
        raise RuntimeFault(
            f'error mounting "{operation.source}" to rootfs at "{operation.target}": {error}'
        ) from error


def _groups(operation: op.MountGroups, run: Execution) -> None:
    try:
        mount_groups(operation, run.root)
    except (LinuxError, RuntimeFault) as error:
        raise RuntimeFault(f'error mounting "cgroup" to rootfs at "{operation.target}": {error}') from error


def _remount_read_only(operation: op.RemountReadOnly, run: Execution) -> None:
    place = open_in_root(run.root, operation.target)
    try:
        flags = operation.flags | m.mount_flags(via(place)) | m.MS_REMOUNT | m.MS_BIND | m.MS_RDONLY
        m.mount("", via(place), flags=flags, shown=operation.target)
    finally:
        os.close(place)


def _make_device(operation: op.MakeDevice, run: Execution) -> None:
    if operation.bind:
        place = make_file(run.root, operation.target, 0o666)
        try:
            m.mount(operation.target, via(place), "bind", m.MS_BIND, shown=operation.target)
        finally:
            os.close(place)
        return
    parent, _, name = operation.target.rpartition("/")
    above = make_directories(run.root, parent or "/")
    kind = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[operation.type]
    try:
        number = os.makedev(operation.major, operation.minor) if operation.type != "p" else 0
        try:
            os.mknod(name, kind | operation.mode, number, dir_fd=above)
        except FileExistsError:
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != kind or found.st_rdev != number:
                raise
        # The process's umask took bits off; a link in the device's place is never followed.
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            os.chmod(via(node), operation.mode)
            os.chown(name, operation.uid, operation.gid, dir_fd=above, follow_symlinks=False)
        finally:
            os.close(node)
    except OSError as error:
        raise RuntimeFault(
            f"error creating device nodes: mknod {operation.target}: {reason(error)}"
        ) from error
    finally:
        os.close(above)


def _make_link(operation: op.MakeLink, run: Execution) -> None:
    if operation.needed and not os.path.exists(operation.needed):
        return
    parent, _, name = operation.target.rpartition("/")
    above = make_directories(run.root, parent)
    try:
        if operation.replace:
            try:
                os.unlink(name, dir_fd=above)
            except FileNotFoundError:
                pass
        try:
            os.symlink(operation.points_to, name, dir_fd=above)
        except FileExistsError:
            pass  # the image brought its own
    finally:
        os.close(above)


def _make_directory(operation: op.MakeDirectory, run: Execution) -> None:
    os.close(make_directories(run.root, operation.target))


def _read_only_root(_: op.ReadOnlyRoot, run: Execution) -> None:
    flags = m.MS_BIND | m.MS_REMOUNT | m.MS_RDONLY | m.mount_flags(via(run.root))
    m.mount("", via(run.root), flags=flags, shown="/")


def _read_only_path(operation: op.ReadOnlyPath, run: Execution) -> None:
    place = run.open(operation.target)
    if place is None:
        return
    try:
        m.mount(via(place), via(place), flags=m.MS_BIND | m.MS_REC, shown=operation.target)
    finally:
        os.close(place)
    place = open_in_root(run.root, operation.target)  # again: the bind is a mount of its own on top
    try:
        flags = m.MS_BIND | m.MS_REMOUNT | m.MS_RDONLY | m.mount_flags(via(place))
        m.mount("", via(place), flags=flags, shown=operation.target)
    finally:
        os.close(place)


def _mask_path(operation: op.MaskPath, run: Execution) -> None:
    place = run.open(operation.target)
    if place is None:
        return
    try:
        if stat.S_ISDIR(os.fstat(place).st_mode):
            m.mount(
                "tmpfs",
                via(place),
                "tmpfs",
                m.MS_RDONLY,
                with_label("", operation.label),
                shown=operation.target,
            )
            return
        null = open_in_root(run.root, "/dev/null")
        try:
            if not stat.S_ISCHR(os.fstat(null).st_mode) or os.fstat(null).st_rdev != os.makedev(1, 3):
                raise RuntimeFault(
                    f"mask path {operation.target}: the container's /dev/null is not the null device"
                )
            m.mount(via(null), via(place), flags=m.MS_BIND, shown=operation.target)
        finally:
            os.close(null)
    finally:
        os.close(place)


def _write_sysctl(operation: op.WriteSysctl, run: Execution) -> None:
    path = "/proc/sys/" + operation.key.replace(".", "/")
    try:
        file = open_in_root(run.root, path, os.O_WRONLY)
    except LinuxError as error:
        raise LinuxError(error.number, f"open {path}") from error
    try:
        if m.filesystem_type(file) != m.PROC_SUPER_MAGIC:
            raise RuntimeFault(f"open {path}: not on procfs")
        os.write(file, operation.value.encode())
    except OSError as error:
        raise LinuxError(error.errno or 5, f"write {path}") from error
    finally:
        os.close(file)


def _change_root(operation: op.ChangeRoot, run: Execution) -> None:
    os.fchdir(run.root)
    if operation.manner == "chroot":
        os.chroot(".")
    elif operation.manner == "move":
        m.mount(run.rootfs, "/", flags=m.MS_MOVE)
        os.chroot(".")
    else:
        old = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Both on one spot: the old root is mounted over the new one and then taken off.
            m.pivot_root(".", ".")
            os.fchdir(old)
        finally:
            os.close(old)
        # Slave, so that taking the old tree apart here takes nothing apart on the host.
        m.mount("", ".", flags=m.MS_SLAVE | m.MS_REC)
        m.unmount(".", m.MNT_DETACH)
    os.chdir("/")
    os.close(run.root)
    run.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _set_hostname(operation: op.SetHostname, _: Execution) -> None:
    name = operation.name.encode()
    call("sethostname", name, len(name), operation="sethostname")


def _set_domainname(operation: op.SetDomainname, _: Execution) -> None:
    name = operation.name.encode()
    call("setdomainname", name, len(name), operation="setdomainname")


def load_what_operations_import() -> None:
    """Import what operations import when they need it; for who may be unable to read this program's files by then."""
    import sixhops.linux.keyring
    import sixhops.linux.loopback
    import sixhops.runc.inside.copyup  # noqa: F401


def _loopback_up(_: op.LoopbackUp, __: Execution) -> None:
    from sixhops.linux.loopback import bring_up

    bring_up()


def _join_keyring(operation: op.JoinKeyring, _: Execution) -> None:
    from sixhops.linux.keyring import join_session

    try:
        join_session(operation.name)
    except LinuxError as error:
        if error.errno != 38:  # a kernel without keyrings has none to leak
            raise


def _open_console(operation: op.OpenConsole, run: Execution) -> None:
    if run.console_socket < 0:
        raise RuntimeFault("failed to allocate a terminal: no console socket")
    place = open_in_root(run.root, "/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
    try:
        master, slave = terminal.open_pair(via(place))
        try:
            take_terminal(run.console_socket, master, slave, operation.rows, operation.columns)
            console = make_file(run.root, "/dev/console", 0o666)
            try:
                m.mount(slave, via(console), "bind", m.MS_BIND, shown="/dev/console")
            finally:
                os.close(console)
        finally:
            os.close(master)
    finally:
        os.close(place)


def take_terminal(console_socket: int, master: int, slave: str, rows: int, columns: int) -> None:
    """Hand the master out and make the slave the controlling terminal and the standard streams."""
    if rows or columns:
        terminal.set_size(master, rows, columns)
    terminal.send_descriptor(console_socket, "/dev/ptmx", master)
    os.close(console_socket)
    descriptor = os.open(slave, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    terminal.make_controlling(descriptor)
    for stream in range(3):
        os.dup2(descriptor, stream)
    os.close(descriptor)


_ACTIONS: dict[type, Callable[..., None]] = {
    op.PropagateRoot: _propagate_root,
    op.BindRoot: _bind_root,
    op.MountFilesystem: _mount_filesystem,
    op.BindMount: _bind,
    op.MountGroups: _groups,
    op.RemountReadOnly: _remount_read_only,
    op.MakeDevice: _make_device,
    op.MakeLink: _make_link,
    op.MakeDirectory: _make_directory,
    op.ParentStep: lambda _, run: run.parent_step(),
    op.RunContainerHooks: lambda _, run: run.container_hooks(),
    op.ReadOnlyRoot: _read_only_root,
    op.ReadOnlyPath: _read_only_path,
    op.MaskPath: _mask_path,
    op.WriteSysctl: _write_sysctl,
    op.ChangeRoot: _change_root,
    op.SetHostname: _set_hostname,
    op.SetDomainname: _set_domainname,
    op.LoopbackUp: _loopback_up,
    op.JoinKeyring: _join_keyring,
    op.OpenConsole: _open_console,
}
