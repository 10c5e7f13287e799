"""The kernel operations that make a container, as values: what `plan` produces and `execute` carries out.

Paths called `target` are the container's; they are resolved inside its root at the moment of use, never before.
"""

from __future__ import annotations

from sixhops.values import Value

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.inside.mount_options import MountOptions

__all__ = ["Operation"]


class PropagateRoot(Value):
    """Cut this mount namespace off from the host's (mount("", "/", flags)) so that nothing leaks back."""

    flags: int


class BindRoot(Value):
    """Bind the rootfs on itself: pivot_root needs a mount point.

    Where the mounts of the container are the host's too, `private` keeps them from spreading any further.
    """

    rootfs: str
    private: bool = False


class MountFilesystem(Value):
    """Mount a filesystem of its own type."""

    type: str
    source: str
    target: str
    options: MountOptions
    label: str = ""


class BindMount(Value):
    """Bind a file or directory of the host; `mappings` for an idmapped one (users, groups)."""

    source: str
    target: str
    options: MountOptions
    label: str = ""
    mappings: tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]] | None = None


class MountGroups(Value):
    """Show the container its own version 1 control groups: a tmpfs with one bind (or mount) for each hierarchy."""

    target: str
    options: MountOptions
    # (directory name, host directory, options for a mount of its own in a cgroup namespace, alias links)
    hierarchies: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    own_namespace: bool


class RemountReadOnly(Value):
    """Make a mount that had to be writable until now read-only."""

    target: str
    flags: int


class MakeDevice(Value):
    """Make a device node, or bind the host's where the user namespace forbids making one."""

    target: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    bind: bool


class MakeLink(Value):
    """Make a symbolic link below /dev; an existing one is left alone. `needed` is a path that must exist first."""

    target: str
    points_to: str
    needed: str = ""
    replace: bool = False


class MakeDirectory(Value):
    """Make a directory with its parents."""

    target: str


class ParentStep(Value):
    """Let the parent set limits and run the prestart and createRuntime hooks, and wait for it."""


class RunContainerHooks(Value):
    """Run the createContainer hooks inside the namespaces, before the root changes."""


class ReadOnlyRoot(Value):
    """Make the rootfs mount read-only."""


class ReadOnlyPath(Value):
    """Bind a path on itself read-only; an absent one is no error."""

    target: str


class MaskPath(Value):
    """Hide a file under /dev/null, a directory under an empty read-only tmpfs; an absent one is no error."""

    target: str
    label: str = ""


class WriteSysctl(Value):
    """Write one file of /proc/sys."""

    key: str
    value: str


class ChangeRoot(Value):
    """Make the rootfs the root: `pivot`, `move` (rootfs on an initial ramdisk) or `chroot` (no mount namespace)."""

    manner: str


class SetHostname(Value):
    """Set the hostname of the UTS namespace."""

    name: str


class SetDomainname(Value):
    """Set the NIS domain name of the UTS namespace."""

    name: str


class LoopbackUp(Value):
    """Set the loopback interface of a new network namespace up."""


class JoinKeyring(Value):
    """Leave the caller's session keyring for one of this container's own."""

    name: str


class OpenConsole(Value):
    """Make the terminal on the container's devpts, hand its master out, take its slave as standard streams.

    The slave is bound over the container's /dev/console too.
    """

    rows: int
    columns: int


Operation = (
    PropagateRoot
    | BindRoot
    | MountFilesystem
    | BindMount
    | MountGroups
    | RemountReadOnly
    | MakeDevice
    | MakeLink
    | MakeDirectory
    | ParentStep
    | RunContainerHooks
    | ReadOnlyRoot
    | ReadOnlyPath
    | MaskPath
    | WriteSysctl
    | ChangeRoot
    | SetHostname
    | SetDomainname
    | LoopbackUp
    | JoinKeyring
    | OpenConsole
)
