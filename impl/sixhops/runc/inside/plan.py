"""From the document to the list of kernel operations that make the container. Pure: no file is looked at.

The order is the one that the runtime specification fixes (runtime.md, "Lifecycle") and that users see: namespaces
are there already; keyring and loopback; the root cut off and bound; mounts as listed; devices; the parent's hooks;
createContainer hooks; then everything that makes things read-only or invisible; the root changed last. Whatever
mounts does so before the root changes, because until then the host's /proc can be trusted and the container's
needs not be.
"""

from __future__ import annotations

import os.path

from sixhops.linux import mounts as m
from sixhops.runc.inside import operations as op
from sixhops.runc.inside.mount_options import PROPAGATION, MountOptions, parse

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.linux.cgroups.layout import Layout
    from sixhops.wire.runtime.document import Mount, Spec

__all__ = ["DEFAULT_DEVICES", "plan_container"]

# path, major, minor: config-linux.md#default-devices
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
)
_DEFAULT_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
_KINDS = {"c": "c", "u": "c", "b": "b", "p": "p"}


def plan_container(
    spec: Spec,
    identifier: str,
    rootfs: str,
    layout: Layout,
    groups: dict[str, str],
    *,
    bundle: str = "",
    pivot: bool = True,
    keyring: bool = True,
) -> list[op.Operation]:
    """Return the operations for a validated document.

    `groups` are the container's control group directories; `bundle` is where relative sources of bind mounts begin.
    """
    linux = spec.linux
    kinds = {namespace.type: namespace.path for namespace in linux.namespaces}
    plan: list[op.Operation] = []
    if keyring:
        plan.append(op.JoinKeyring(f"_ses.{identifier}"))
    if kinds.get("network") == "":
        plan.append(op.LoopbackUp())
    if "mount" in kinds or spec.mounts:
        plan += _filesystems(spec, rootfs, bundle, layout, groups, kinds)
    plan += [op.ParentStep(), op.RunContainerHooks()]
    if spec.process is not None and spec.process.terminal:
        rows, columns = spec.process.console_size or (0, 0)
        plan.append(op.OpenConsole(rows, columns))
    plan += _closing(spec)
    plan.append(op.ChangeRoot(("pivot" if pivot else "move") if "mount" in kinds else "chroot"))
    if spec.hostname:
        plan.append(op.SetHostname(spec.hostname))
    if spec.domainname:
        plan.append(op.SetDomainname(spec.domainname))
    return plan


def _filesystems(
    spec: Spec, rootfs: str, bundle: str, layout: Layout, groups: dict[str, str], kinds: dict[str, str]
) -> list[op.Operation]:
    linux = spec.linux
    own_user = "user" in kinds
    propagation = PROPAGATION.get(linux.rootfs_propagation, m.MS_SLAVE | m.MS_REC)
    plan: list[op.Operation] = []
    if "mount" in kinds:
        plan += [op.PropagateRoot(propagation), op.BindRoot(rootfs)]
    else:  # `delete` takes this mount away, and with it all that are made on it
        plan.append(op.BindRoot(rootfs, private=True))
    for entry in spec.mounts:
        if _is_bind(entry):
            plan.append(_bind(entry, bundle, linux.mount_label))
        else:
            plan += _mount(entry, layout, groups, kinds, linux.mount_label)
    if not any(entry.destination.rstrip("/") == "/dev" and _is_bind(entry) for entry in spec.mounts):
        plan += _devices(spec, own_user)
    if spec.process is not None and spec.process.cwd:
        plan.append(op.MakeDirectory(spec.process.cwd))
    return plan


def _is_bind(entry: Mount) -> bool:
    # Whatever the type says: config.md#mounts, "type".
    return "bind" in entry.options or "rbind" in entry.options


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _bind(entry: Mount, bundle: str, label: str) -> op.BindMount:
    options = parse(entry.options)
    mappings = None
    if entry.uid_mappings or options.idmap:
        users = tuple((e.container, e.host, e.size) for e in entry.uid_mappings)
        mappings = (users, tuple((e.container, e.host, e.size) for e in entry.gid_mappings))
    source = os.path.normpath(os.path.join(bundle, entry.source))
    return op.BindMount(source, _absolute(entry.destination), options, label, mappings)


def _mount(
    entry: Mount, layout: Layout, groups: dict[str, str], kinds: dict[str, str], label: str
) -> list[op.Operation]:
    options, target = parse(entry.options), _absolute(entry.destination)
    if entry.type in {"cgroup", "cgroup2"}:
        return _groups(target, options, layout, groups, kinds)
    return [op.MountFilesystem(entry.type, entry.source, target, options, label)]


def _groups(
    target: str, options: MountOptions, layout: Layout, groups: dict[str, str], kinds: dict[str, str]
) -> list[op.Operation]:
    own_groups = "cgroup" in kinds
    if layout.is_unified:
        assert layout.unified is not None
        if own_groups or "user" not in kinds:
            return [op.MountFilesystem("cgroup2", "cgroup", target, options)]
        # another user namespace's groups can't be mounted (EPERM)
        bind = MountOptions(options.flags | m.MS_BIND, options.propagation)
        return [op.BindMount(layout.unified.mountpoint, target, bind)]
    shown = []
    for hierarchy in layout.version1:
        names = hierarchy.controllers
        aliases = names if len(names) > 1 else ()
        data = ",".join(names)
        shown.append((hierarchy.directory, groups[names[0]], data, aliases))
    return [op.MountGroups(target, options, tuple(shown), own_groups)]


def _devices(spec: Spec, own_user: bool) -> list[op.Operation]:
    plan: list[op.Operation] = []
    listed = {device.path for device in spec.linux.devices}
    for path, major, minor in DEFAULT_DEVICES:
        if path not in listed:
            plan.append(op.MakeDevice(path, "c", major, minor, 0o666, 0, 0, own_user))
    for device in spec.linux.devices:
        if device.path == "/dev/ptmx":
            continue  # belongs to the container's own devpts, below
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        kind = _KINDS[device.type]
        plan.append(
            op.MakeDevice(
                _absolute(device.path),
                kind,
                device.major,
                device.minor,
                mode,
                device.uid,
                device.gid,
                own_user,
            )
        )
    plan.append(op.MakeLink("/dev/ptmx", "pts/ptmx", replace=True))
    plan += [op.MakeLink(target, points_to) for target, points_to in _DEFAULT_LINKS]
    plan.append(op.MakeLink("/dev/core", "/proc/kcore", needed="/proc/kcore"))
    return plan


def _closing(spec: Spec) -> list[op.Operation]:
    """Return what restricts: after the hooks, which may still mount and write, and before the root changes."""
    linux = spec.linux
    plan: list[op.Operation] = [op.WriteSysctl(key, value) for key, value in linux.sysctl.items()]
    if not any(namespace.type == "mount" for namespace in linux.namespaces):
        return plan
    for entry in spec.mounts:
        options = parse(entry.options)
        if (
            (entry.type == "tmpfs" or entry.destination == "/dev")
            and options.flags & m.MS_RDONLY
            and not _is_bind(entry)
        ):
            plan.append(op.RemountReadOnly(entry.destination, options.flags))
    plan += [op.ReadOnlyPath(path) for path in linux.readonly_paths]
    plan += [op.MaskPath(path, linux.mount_label) for path in linux.masked_paths]
    if spec.root_readonly:
        plan.append(op.ReadOnlyRoot())
    return plan
