"""The kernel operations that make a container, as values: what `plan` produces and `execute` carries out.

Paths called `target` are the container's; they are resolved inside its root at the moment of use, never before.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.mount_options import MountOptions

__all__ = ["Operation"]


@dataclass(frozen=True)
class PropagateRoot:
    """Cut this mount namespace off from the host's (mount("", "/", flags)) so that nothing leaks back."""

    flags: int


@dataclass(frozen=True)
class BindRoot:
    """Bind the rootfs on itself: pivot_root needs a mount point."""

    rootfs: str


@dataclass(frozen=True)
class MountFilesystem:
    """Mount a filesystem of its own type."""

    type: str
    source: str
    target: str
    options: MountOptions
    label: str = ""


@dataclass(frozen=True)
class BindMount:
    """Bind a file or directory of the host; `mappings` for an idmapped one (users, groups)."""

    source: str
    target: str
    options: MountOptions
    label: str = ""
    mappings: tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]] | None = None


@dataclass(frozen=True)
class MountGroups:
    """Show the container its own version 1 control groups: a tmpfs with one bind (or mount) for each hierarchy."""

    target: str
    options: MountOptions
    # (directory name, host directory, options for a mount of its own in a cgroup namespace, alias links)
    hierarchies: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    own_namespace: bool


@dataclass(frozen=True)
class RemountReadOnly:
    """Make a mount that had to be writable until now read-only."""

    target: str
    flags: int


@dataclass(frozen=True)
class MakeDevice:
    """Make a device node, or bind the host's where the user namespace forbids making one."""

    target: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    bind: bool


@dataclass(frozen=True)
class MakeLink:
    """Make a symbolic link below /dev; an existing one is left alone. `needed` is a path that must exist first."""

    target: str
    points_to: str
    needed: str = ""
    replace: bool = False


@dataclass(frozen=True)
class MakeDirectory:
    """Make a directory with its parents."""

    target: str


@dataclass(frozen=True)
class ParentStep:
    """Let the parent set limits and run the prestart and createRuntime hooks, and wait for it."""


@dataclass(frozen=True)
class RunContainerHooks:
    """Run the createContainer hooks inside the namespaces, before the root changes."""


@dataclass(frozen=True)
class ReadOnlyRoot:
    """Make the rootfs mount read-only."""


@dataclass(frozen=True)
class ReadOnlyPath:
    """Bind a path on itself read-only; an absent one is no error."""

    target: str


@dataclass(frozen=True)
class MaskPath:
    """Hide a file under /dev/null, a directory under an empty read-only tmpfs; an absent one is no error."""

    target: str
    label: str = ""


@dataclass(frozen=True)
class WriteSysctl:
    """Write one file of /proc/sys."""

    key: str
    value: str


@dataclass(frozen=True)
class ChangeRoot:
    """Make the rootfs the root: `pivot`, `move` (rootfs on an initial ramdisk) or `chroot` (no mount namespace)."""

    manner: str


@dataclass(frozen=True)
class SetHostname:
    """Set the hostname of the UTS namespace."""

    name: str


@dataclass(frozen=True)
class SetDomainname:
    """Set the NIS domain name of the UTS namespace."""

    name: str


@dataclass(frozen=True)
class LoopbackUp:
    """Set the loopback interface of a new network namespace up."""


@dataclass(frozen=True)
class JoinKeyring:
    """Leave the caller's session keyring for one of this container's own."""

    name: str


@dataclass(frozen=True)
class OpenConsole:
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
