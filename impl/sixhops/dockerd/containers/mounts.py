"""The mounts of a container: which there are by default, and what Binds, Mounts, Tmpfs and the image's Volumes add.

`plan` reads a request (at create); `spec_mounts` writes `mounts` of config.json (at start) in dockerd's order: kernel file
systems and the init, then the user's mounts and the container's own files together, parents before children.
"""

from __future__ import annotations

import posixpath
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.model import MountPoint
from sixhops.dockerd.errors import EngineError, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["plan", "spec_mounts"]

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_IGNORED_MODES = frozenset({"z", "Z", "consistent", "cached", "delegated"})
_DEFAULT_TMPFS = ("noexec", "nosuid", "nodev", "rprivate")
#: An option of a mount point: without the mounts below its source.
_NOT_RECURSIVE = "bind"
#: What a read-only root leaves writable.
_ALWAYS_WRITABLE = frozenset({"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"})


def plan(config: dict[str, Any], host: dict[str, Any], volumes: Path) -> list[MountPoint]:
    """Return the mount points of a new container; volumes lie below `volumes`. Raises EngineError.

    A later source for the same place wins: image volumes, then Binds, then Mounts. Two binds of one place are refused.
    """
    found: dict[str, MountPoint] = {}
    for text in host["Binds"] or []:
        _add(found, _bind(text, volumes))
    for entry in host.get("Mounts") or []:
        _add(found, _mount(entry, volumes))
    tmpfs = {_clean(path) for path in host.get("Tmpfs") or {}}
    for path in config["Volumes"] or {}:
        place = _clean(path)
        if place not in found and place not in tmpfs:
            found[place] = _anonymous(place, volumes)
    for place in tmpfs & found.keys():
        raise invalid(f"Duplicate mount point: {place}")
    return [found[place] for place in sorted(found)]


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
    user = [_user_mount(point) for point in points if point.type != "tmpfs"]
    taken = {entry["destination"] for entry in user}
    own = ["rbind", *([] if not host["ReadonlyRootfs"] else ["ro"]), "rprivate"]
    user += [_entry(place, "bind", source, own) for place, source in files.items() if place not in taken]
    if shm:
        user.append(_entry("/dev/shm", "bind", shm, ["rbind", "rprivate"]))
    for place, text in (host.get("Tmpfs") or {}).items():
        user.append(_tmpfs(_clean(place), [option for option in text.split(",") if option]))
    user += [_tmpfs(point.destination, point.options) for point in points if point.type == "tmpfs"]
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
    return defaults + sorted(
        user, key=lambda entry: entry["destination"].count("/") if entry["destination"] != "/" else 0
    )


def _user_mount(point: MountPoint) -> dict[str, Any]:
    options = [_NOT_RECURSIVE if _NOT_RECURSIVE in point.options else "rbind"]
    options += [] if point.writable else ["ro"]
    options += [point.propagation] if point.propagation else []
    return _entry(point.destination, "bind", point.source, options)


def _tmpfs(place: str, given: Sequence[str]) -> dict[str, Any]:
    """Return a tmpfs with the default options, but for those that `given` turns around or repeats."""
    turned = {word for option in given for word in (option, f"no{option}", option.removeprefix("no"))}
    return _entry(place, "tmpfs", "tmpfs", [*(word for word in _DEFAULT_TMPFS if word not in turned), *given])


def _entry(place: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": source, "options": options}


def _add(found: dict[str, MountPoint], point: MountPoint) -> None:
    if point.destination in found:
        raise invalid(f"Duplicate mount point: {point.destination}")
    found[point.destination] = point


def _clean(path: str) -> str:
    return posixpath.normpath(path) if path else path


def _anonymous(place: str, volumes: Path) -> MountPoint:
    name = secrets.token_hex(32)
    return MountPoint("volume", place, str(volumes / name / "_data"), name, "local", anonymous=True)


def _place(text: str, whole: str) -> str:
    prefix = f"invalid volume specification: '{whole}': invalid mount config for type \"bind\":"
    if not text.startswith("/"):
        raise invalid(f"{prefix} invalid mount path: '{text}' mount path must be absolute")
    place = _clean(text)
    if place == "/":
        raise invalid(f"{prefix} invalid specification: destination can't be '/'")
    return place


def _bind(text: str, volumes: Path) -> MountPoint:
    parts = text.split(":")
    if len(parts) == 1:
        return _anonymous(_place(parts[0], text), volumes)
    if len(parts) > 3 or not all(parts):
        raise invalid(f"invalid volume specification: '{text}'")
    source, place, mode = parts[0], _place(parts[1], text), parts[2] if len(parts) == 3 else ""
    writable, propagation, copy_up = _mode(mode, text)
    if source.startswith("/"):
        return MountPoint(
            "bind",
            place,
            _clean(source),
            mode=mode,
            writable=writable,
            propagation=propagation or "rprivate",
            options=("create",),
        )
    if propagation:
        raise invalid(f"invalid mode: {mode}")
    return _volume(source, place, volumes, mode=mode or "z", writable=writable, copy_up=copy_up)


def _mode(mode: str, text: str) -> tuple[bool, str, bool]:
    writable, propagation, copy_up = True, "", True
    for word in filter(None, mode.split(",")):
        if word in {"rw", "ro"}:
            writable = word == "rw"
        elif word in _PROPAGATIONS:
            propagation = word
        elif word == "nocopy":
            copy_up = False
        elif word not in _IGNORED_MODES:
            raise invalid(f"invalid volume specification: '{text}': invalid mode: {mode}")
    return writable, propagation, copy_up


def _volume(name: str, place: str, volumes: Path, *, mode: str, writable: bool, copy_up: bool) -> MountPoint:
    if not _VOLUME_NAME.fullmatch(name):
        raise invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )
    return MountPoint(
        "volume",
        place,
        str(volumes / name / "_data"),
        name,
        "local",
        mode,
        writable=writable,
        copy_up=copy_up,
    )


def _mount(entry: dict[str, Any], volumes: Path) -> MountPoint:
    kind = str(entry.get("Type") or "")
    target, source = str(entry.get("Target") or ""), str(entry.get("Source") or "")
    prefix = f'invalid mount config for type "{kind}"'
    if not target:
        raise invalid(f"{prefix}: field Target must not be empty")
    if not target.startswith("/"):
        raise invalid(f"{prefix}: invalid mount path: '{target}' mount path must be absolute")
    place, writable = _clean(target), not entry.get("ReadOnly")
    if kind == "bind":
        return _bind_entry(entry, prefix, source, place, writable=writable)
    if kind == "tmpfs":
        if source:
            raise invalid(f"{prefix}: field Source must not be specified")
        wanted = entry.get("TmpfsOptions") or {}
        options = [] if writable else ["ro"]
        options += [f"mode={wanted['Mode']:o}"] if wanted.get("Mode") else []
        options += [f"size={_size(wanted['SizeBytes'])}"] if wanted.get("SizeBytes") else []
        return MountPoint("tmpfs", place, writable=writable, options=tuple(options))
    if kind == "volume":
        wanted = entry.get("VolumeOptions") or {}
        driver = wanted.get("DriverConfig") or {}
        if driver.get("Name") not in {None, "", "local"} or driver.get("Options"):
            raise EngineError(
                501, f"{prefix}: volume drivers other than local are not supported by this engine yet"
            )
        if not source:
            return _anonymous(place, volumes)
        return _volume(source, place, volumes, mode="z", writable=writable, copy_up=not wanted.get("NoCopy"))
    raise invalid(f'mount type unknown: "{kind}"' if kind else 'mount type unknown: ""')


def _bind_entry(entry: dict[str, Any], prefix: str, source: str, place: str, *, writable: bool) -> MountPoint:
    if not source.startswith("/"):
        reason = (
            "field Source must not be empty"
            if not source
            else f"invalid mount path: '{source}' mount path must be absolute"
        )
        raise invalid(f"{prefix}: {reason}")
    if not Path(source).exists():
        raise invalid(f"{prefix}: bind source path does not exist: {source}")
    wanted = entry.get("BindOptions") or {}
    propagation = wanted.get("Propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise invalid(f"{prefix}: invalid propagation mode: {propagation}")
    options = (_NOT_RECURSIVE,) if wanted.get("NonRecursive") else ()
    return MountPoint(
        "bind", place, _clean(source), writable=writable, propagation=propagation, options=options
    )


def _size(number: int) -> str:
    """Return a size of a tmpfs with the largest suffix that loses nothing, as dockerd writes it."""
    for suffix in ("", "k", "m"):
        if number % 1024:
            return f"{number}{suffix}"
        number //= 1024
    return f"{number}g"
