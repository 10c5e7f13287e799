"""What of a container CRIU leaves to us: mounts of the host's files, and namespaces that others made.

CRIU writes a key for each into the image, and at restore is told what stands behind the key. Mounts have their place as
the key, and masked files `/dev/null`, so that images of runc and of this runtime are the same; so are the namespaces'.
"""

from __future__ import annotations

import os
import stat

from sixhops.linux import mounts as m
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import make_directories, make_file, open_in_root, via
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.inside.execute import check_proc
from sixhops.runc.inside.operations import BindMount, MountFilesystem, MountGroups
from sixhops.runc.inside.plan import DEFAULT_DEVICES
from sixhops.wire.proto import criu_pb2

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.runc.inside.operations import Operation
    from sixhops.wire.runtime.document import Linux, Spec

__all__ = [
    "NAMESPACE_VERSIONS",
    "MountPoints",
    "dumped_mounts",
    "dumped_namespaces",
    "namespace_key",
    "restored_mounts",
]

#: The kinds of namespaces whose inside CRIU can leave alone, with its names for them and the version that can.
NAMESPACE_VERSIONS = {"network": ("net", 31100), "pid": ("pid", 31500)}


def namespace_key(name: str) -> str:
    """Return how a namespace is called in the image; `name` is CRIU's for its kind."""
    return f"extRoot{name.title()}NS"


def dumped_namespaces(linux: Linux, version: int) -> list[str]:
    """Return `TYPE[INODE]:KEY` for each joined namespace that CRIU leaves alone. Raises OSError: it is gone."""
    found = []
    for namespace in linux.namespaces:
        name, least = NAMESPACE_VERSIONS.get(namespace.type, ("", 0))
        if name and namespace.path and version >= least:
            found.append(f"{name}[{os.stat(namespace.path).st_ino}]:{namespace_key(name)}")
    return found


def dumped_mounts(
    spec: Spec, plan: Sequence[Operation], rootfs: str, pid: int
) -> list[criu_pb2.ExternalMount]:
    """Return the mounts whose content the image must not have, of a container whose first process is `pid`."""
    places = [target for target, _ in _binds(plan, rootfs)]
    found = [criu_pb2.ExternalMount(key=place, val=place) for place in places]
    for path in spec.linux.masked_paths:
        try:
            mode = os.stat(f"/proc/{pid}/root/{path}").st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(mode):
            found.append(criu_pb2.ExternalMount(key=path, val="/dev/null"))
    return found + [criu_pb2.ExternalMount(key=path, val=path) for path in _devices(spec)]


def restored_mounts(spec: Spec, plan: Sequence[Operation], rootfs: str) -> list[criu_pb2.ExternalMount]:
    """Return what of the host stands behind the keys of an image."""
    pairs = _binds(plan, rootfs)
    if spec.linux.masked_paths:
        pairs.append(("/dev/null", "/dev/null"))
    pairs += [(path, path) for path in _devices(spec)]
    return [criu_pb2.ExternalMount(key=target, val=source) for target, source in pairs]


def _binds(plan: Sequence[Operation], rootfs: str) -> list[tuple[str, str]]:
    """Return (place in the container, source on the host) for what was bound, places as links in the rootfs lead."""
    found: list[tuple[str, str]] = []
    for operation in plan:
        if isinstance(operation, BindMount):
            if operation.mappings is not None:
                raise RuntimeFault(
                    f"idmapped mounts can't be checkpointed or restored: {operation.target} is one"
                )
            found.append((_resolved(rootfs, operation.target), operation.source))
        elif isinstance(operation, MountGroups) and not operation.own_namespace:
            place = _resolved(rootfs, operation.target)
            found += [(f"{place}/{name}", source) for name, source, _, _ in operation.hierarchies]
    return found


def _resolved(rootfs: str, target: str) -> str:
    """Return a path with the links in it followed inside the rootfs, as far as it is there."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    rest: list[str] = []
    path = os.path.normpath(target)
    try:
        while path != "/":
            try:
                found = open_in_root(root, path)
            except LinuxError:
                path, name = os.path.split(path)
                rest.insert(0, name)
                continue
            try:
                base = os.readlink(via(found)).removeprefix(os.readlink(via(root)))
            finally:
                os.close(found)
            return os.path.join(base or "/", *rest)
    finally:
        os.close(root)
    return os.path.join("/", *rest)


def _devices(spec: Spec) -> list[str]:
    listed = [device.path for device in spec.linux.devices]
    return [*listed, *(path for path, _, _ in DEFAULT_DEVICES if path not in listed)]


class MountPoints:
    """The places of a container's mounts, made in its rootfs, because CRIU mounts and makes no places.

    A context: binds, below which other places may have to be made, are really mounted inside it. What lies on a tmpfs
    is in the image. Raises RuntimeFault, LinuxError.
    """

    def __init__(self, plan: Sequence[Operation], rootfs: str) -> None:
        self._plan = plan
        self._rootfs = rootfs
        self._root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._mounted: list[str] = []

    def __enter__(self) -> MountPoints:
        """Make the places."""
        try:
            kept = [
                f"{o.target}/" for o in self._plan if isinstance(o, MountFilesystem) and o.type == "tmpfs"
            ]
            for operation in self._plan:
                if not isinstance(operation, (MountFilesystem, BindMount)):
                    continue  # what shows control groups is on a tmpfs, or appears with /sys
                if operation.target.startswith(tuple(kept)):
                    continue
                if isinstance(operation, BindMount):
                    self._bind(operation)
                elif operation.type != "cgroup2":
                    check_proc(operation.target, self._rootfs, operation.type)
                    os.close(make_directories(self._root, operation.target, prefix=self._rootfs))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _bind(self, operation: BindMount) -> None:
        try:
            is_directory = stat.S_ISDIR(os.stat(operation.source).st_mode)
        except OSError as error:
            raise RuntimeFault(reason(error, "stat")) from error
        check_proc(operation.target, self._rootfs, "bind", operation.source)
        make = make_directories if is_directory else make_file
        place = make(self._root, operation.target, prefix=self._rootfs)
        try:
            m.mount(operation.source, via(place), flags=m.MS_BIND | m.MS_REC, shown=operation.target)
        finally:
            os.close(place)
        self._mounted.append(operation.target)

    def __exit__(self, *_: object) -> None:
        """Unmount what was mounted."""
        for target in reversed(self._mounted):
            try:
                place = open_in_root(self._root, target)
                try:
                    m.unmount(via(place), m.MNT_DETACH)
                finally:
                    os.close(place)
            except LinuxError as error:
                log.warning(f"Error during cleanup unmounting of {self._rootfs}{target}: {error}")
        self._mounted.clear()
        os.close(self._root)
