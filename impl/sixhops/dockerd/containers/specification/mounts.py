"""The mounts of a container: the default ones, and what Binds, Mounts, VolumesFrom, Tmpfs and the image's Volumes add.

`plan` reads a request (at create); `spec_mounts` writes `mounts` of config.json (at start) in dockerd's order: kernel file
systems and the init, then the user's mounts and the container's own files together, parents before children.
Source: moby 20.10, `registerMountPoints` in daemon/volumes.go, `WithMounts` in daemon/oci_linux.go.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks import mountspecs
from sixhops.dockerd.containers.model import MountPoint
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.linux.mountlist import FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.volumes import Volumes

__all__ = ["NETWORK_FILES", "add_volumes", "plan", "spec_mounts"]

#: Files of the container's own; a mount of the user's over one of these takes its place.
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
_DEFAULT_TMPFS = ("noexec", "nosuid", "nodev", "rprivate")
_TMPFS_DATA = frozenset({"", "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
#: What a read-only root leaves writable.
_ALWAYS_WRITABLE = frozenset({"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"})


def plan(
    host: dict[str, Any],
    volumes: Volumes,
    *,
    holder: str,
    root: str,
    find: Callable[[str], Container],
) -> list[MountPoint]:
    """Return the mount points that a HostConfig asks for, and make its volumes, which `holder` holds then.

    A later source for the same place wins: VolumesFrom, Binds, Mounts; two of the last two are refused. `root` is the
    engine's own directory: a mount of it never hands its mounts on to the container. Raises EngineError.
    """
    found: dict[str, MountPoint] = {}
    for text in host["VolumesFrom"] or []:
        found |= _volumes_from(text, volumes, find)
    taken: set[str] = set()
    for text in host["Binds"] or []:
        point = _below_root(mountspecs.parse_bind(text, host["VolumeDriver"]), root)
        if point.destination in taken or point.destination in (host.get("Tmpfs") or {}):
            raise invalid(f"Duplicate mount point: {point.destination}")
        taken.add(point.destination)
        found[point.destination] = _with_volume(point, volumes, holder, {})
    for entry in host.get("Mounts") or []:
        point = _below_root(mountspecs.parse_mount(entry), root)
        if point.destination in taken:
            raise invalid(f"Duplicate mount point: {entry['Target']}")
        taken.add(point.destination)
        found[point.destination] = _with_volume(point, volumes, holder, entry.get("VolumeOptions") or {})
    return list(found.values())


def add_volumes(
    points: Sequence[MountPoint], config: dict[str, Any], host: dict[str, Any], volumes: Volumes, holder: str
) -> list[MountPoint]:
    """Return `points` with an anonymous volume for each place of Config's Volumes where nothing is mounted yet."""
    found = {point.destination: point for point in points}
    for path in config["Volumes"] or {}:
        place = posixpath.normpath(path) if path else "."
        if place not in found and place not in (host.get("Tmpfs") or {}):
            volume = volumes.make("", host["VolumeDriver"], holder=holder)
            found[place] = MountPoint(
                "volume", place, str(volume.path), volume.name, "local", anonymous=True, copy_up=True
            )
    return [found[place] for place in sorted(found)]


def _volumes_from(text: str, volumes: Volumes, find: Callable[[str], Container]) -> dict[str, MountPoint]:
    """Return the mount points of another container, as this one sees them."""
    name, writable = mountspecs.parse_volumes_from(text)
    try:
        other = find(name)
    except EngineError as error:
        raise invalid(error.message) from error
    found = {}
    for point in other.mounts:
        if not point.source:
            volumes.get(point.name)  # what has no source must be a volume, for dockerd; a tmpfs is none
        options = point.options
        if point.type == "bind" and mountspecs.MAKE not in options:
            options = (*options, mountspecs.MAKE)
        found[point.destination] = replace(
            point, mode="", writable=point.writable and writable, copy_up=False, options=options
        )
    return found


def _with_volume(point: MountPoint, volumes: Volumes, holder: str, options: dict[str, Any]) -> MountPoint:
    """Return a mount point with its volume made."""
    if point.type != "volume":
        return point
    driver_options = (options.get("DriverConfig") or {}).get("Options")
    volume = volumes.make(point.name, point.driver, driver_options, options.get("Labels"), holder=holder)
    return replace(point, source=str(volume.path), driver="local", mode=point.mode or "z")


def _below_root(point: MountPoint, root: str) -> MountPoint:
    """Make a bind of the engine's directory, or of one above it, a slave of the host's."""
    if point.type != "bind" or not mountspecs.touches(point.source, root):
        return point
    if not point.asked_propagation:
        return replace(point, propagation="rslave")
    if point.propagation not in {"rslave", "rshared"}:
        raise invalid(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the '
            f'daemon root, daemon root: "{root}", bind mount source: "{point.source}", propagation: "{point.propagation}"'
        )
    return point


def spec_mounts(
    host: dict[str, Any],
    points: Collection[MountPoint],
    files: dict[str, str],
    shm: str,
    init: tuple[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return `mounts` of config.json; the same on either version of cgroups and with any network, since the runtime sees
    to what that changes.

    `files`: place in the container -> file of the host, bound over it. `shm`: directory of the host for /dev/shm, "" for
    a tmpfs of the container's own. `init`: place and file of the init program.
    """
    privileged = host["Privileged"]
    read_only = [] if privileged else ["ro"]
    found = [
        _entry("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _entry(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _entry("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *read_only]),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", [*read_only, "nosuid", "noexec", "nodev"]),
        _entry("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ]
    if host["IpcMode"] != "none" and not shm:
        options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={host['ShmSize']}"]
        found.append(_entry("/dev/shm", "tmpfs", "shm", options))
    if init:
        found.append(_entry(init[0], "bind", init[1], ["bind", "ro"]))
    tmpfs = dict(host.get("Tmpfs") or {})
    shown = {point.destination: point for point in points if point.destination not in tmpfs}
    user = [
        _user_mount(point)
        for place, point in shown.items()
        if point.type != "tmpfs" and place not in NETWORK_FILES
    ]
    for place in NETWORK_FILES:
        # a mount of the user's over one of these is dockerd's own mount then, whatever its propagation
        point = shown.get(place)
        if point is None and place not in files:
            continue
        writable = point.writable if point else not host["ReadonlyRootfs"]
        source = point.source if point else files[place]
        user.append(_entry(place, "bind", source, ["rbind", *([] if writable else ["ro"]), "rprivate"]))
    if shm and "/dev/shm" not in shown | tmpfs:
        user.append(_entry("/dev/shm", "bind", shm, ["rbind", "rprivate"]))
    user += [_tmpfs(place, text.split(",") if text else []) for place, text in tmpfs.items()]
    user += [_tmpfs(place, point.options) for place, point in shown.items() if point.type == "tmpfs"]
    # what the user mounts replaces what the engine would, and a /dev of the user's all that is below it
    places = {entry["destination"] for entry in user}
    defaults = [
        entry
        for entry in found
        if entry["destination"] not in places
        and not ("/dev" in places and entry["destination"].startswith("/dev/"))
    ]
    if host["ReadonlyRootfs"]:
        for entry in defaults:
            if entry["destination"] not in _ALWAYS_WRITABLE and "ro" not in entry["options"]:
                entry["options"].append("ro")
    return defaults + sorted(user, key=lambda entry: posixpath.normpath(entry["destination"]).count("/"))


def _user_mount(point: MountPoint) -> dict[str, Any]:
    options = [mountspecs.NOT_RECURSIVE if mountspecs.NOT_RECURSIVE in point.options else "rbind"]
    options += [] if point.writable else ["ro"]
    options += [point.propagation] if point.propagation else []
    return _entry(point.destination, "bind", point.source, options)


def _tmpfs(place: str, given: Iterable[str]) -> dict[str, Any]:
    """Return a tmpfs with the default options, but for those that `given` turns around or repeats: the last one wins.

    Raises EngineError 500 for an option that a tmpfs does not have.
    """
    kept: list[str] = []
    seen: set[object] = set()
    for option in reversed([*_DEFAULT_TMPFS, *given]):
        if option == "defaults":
            continue
        name, equals, _value = option.partition("=")
        if option in mountspecs.PROPAGATIONS or option in {"unbindable", "runbindable"}:
            key: object = "propagation"
        elif option in FLAGS and FLAGS[option][0]:
            key = FLAGS[option][0]
        elif equals and name in _TMPFS_DATA:
            key = name
        else:
            shown = " ".join(f'"{part}"' for part in option.split("=", 1))
            raise system(f"invalid tmpfs option [{shown}]")
        if key not in seen:
            seen.add(key)
            kept.insert(0, option)
    return _entry(place, "tmpfs", "tmpfs", kept)


def _entry(place: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": source, "options": options}
