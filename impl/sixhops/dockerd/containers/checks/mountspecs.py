"""How users write mounts: Binds (`source:place:mode`), the entries of Mounts, and VolumesFrom, read as dockerd does.

Source: moby 20.10, volume/mounts/linux_parser.go.
"""

from __future__ import annotations

import posixpath
import secrets
from pathlib import Path
from typing import Any

from sixhops.dockerd.containers.model import MountPoint
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote

__all__ = [
    "MAKE",
    "NOT_RECURSIVE",
    "PROPAGATIONS",
    "check_mount",
    "check_place",
    "parse_bind",
    "parse_mount",
    "parse_volumes_from",
    "touches",
]

#: An option of a mount point: without the mounts below its source.
NOT_RECURSIVE = "bind"
#: An option of a mount point: the source is made when it is not there.
MAKE = "create"
PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_NO_COPY = "nocopy"
#: Each word of a mode belongs to one of these; two of a kind are refused.
_KINDS = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({_NO_COPY}),
    frozenset({"consistent", "cached", "delegated"}),
)
_PREFIX = "invalid mount config for type {}: {}"


def check_place(place: str) -> None:
    """Check where something is to be mounted. Raises EngineError 400."""
    if posixpath.normpath(place.replace("\\", "/") or ".") in {"/", "//"}:
        raise invalid("invalid specification: destination can't be '/'")
    _check_absolute(place)


def check_mount(entry: dict[str, Any], *, source_exists: bool = True) -> None:
    """Check an entry of Mounts; with `source_exists` a bind's source must be there. Raises EngineError 400."""
    kind = entry.get("Type") or ""
    try:
        _check(kind, entry, source_exists=source_exists)
    except EngineError as error:
        raise invalid(_PREFIX.format(quote(kind), error.message)) from error


def parse_mount(entry: dict[str, Any]) -> MountPoint:
    """Return an entry of Mounts as a mount point; that of a volume has no source yet. Raises EngineError 400."""
    check_mount(entry)
    return _point(entry, mode="")


def parse_bind(text: str, driver: str = "") -> MountPoint:
    """Return an entry of Binds as a mount point; `driver` is HostConfig's VolumeDriver.

    Raises EngineError 500: dockerd counts what it finds here as its own failure.
    """
    parts = text.split(":")
    nonsense = f"invalid volume specification: '{text}'"
    if len(parts) > 3 or not parts[0] or (len(parts) == 2 and _is_mode(parts[1])):
        raise system(nonsense)
    source, place, mode = ("", parts[0], "") if len(parts) == 1 else (*parts, "")[:3]
    if not _is_mode(mode):
        raise system(f"invalid mode: {mode}")
    words = mode.split(",")
    kind = "bind" if source.startswith("/") else "volume"
    entry: dict[str, Any] = {"Type": kind, "Source": source, "Target": place, "ReadOnly": "ro" in words}
    if kind == "volume" and driver:
        entry["VolumeOptions"] = {"DriverConfig": {"Name": driver}}
    if _NO_COPY in words:
        entry.setdefault("VolumeOptions", {})["NoCopy"] = True
    propagation = [word for word in words if word in PROPAGATIONS]
    if propagation:
        entry["BindOptions"] = {"Propagation": propagation[0]}
    try:
        check_mount(entry, source_exists=False)
    except EngineError as error:
        raise system(f"{nonsense}: {error.message}") from error
    return _point(entry, mode=mode, options=(MAKE,) if kind == "bind" else ())


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """Return which container's mounts an entry of VolumesFrom takes, and whether to write there. Raises EngineError 400."""
    if not text:
        raise invalid("volumes-from specification cannot be an empty string")
    name, colon, mode = text.partition(":")
    words = set(mode.split(","))
    if colon and (not _is_mode(mode) or words & (PROPAGATIONS | {_NO_COPY})):
        raise invalid(f"invalid mode: {mode}")
    return name, "ro" not in words


def touches(source: str, root: str) -> bool:
    """Whether a bind's source lies below the engine's directory `root` or above it, by their texts as dockerd has it."""
    return source.startswith(root) or root.startswith(source)


def _point(entry: dict[str, Any], *, mode: str, options: tuple[str, ...] = ()) -> MountPoint:
    kind, source = entry["Type"], entry.get("Source") or ""
    place, writable = posixpath.normpath(entry["Target"]), not entry.get("ReadOnly")
    if kind == "bind":
        wanted = entry.get("BindOptions") or {}
        return MountPoint(
            kind,
            place,
            posixpath.normpath(source),
            mode=mode,
            writable=writable,
            propagation=wanted.get("Propagation") or "rprivate",
            options=options + ((NOT_RECURSIVE,) if wanted.get("NonRecursive") else ()),
            asked_propagation=bool(wanted.get("Propagation")),
        )
    if kind == "tmpfs":
        return MountPoint(kind, place, writable=writable, options=tuple(_tmpfs_options(entry)))
    wanted = entry.get("VolumeOptions") or {}
    return MountPoint(
        kind,
        place,
        name=source or secrets.token_hex(32),
        driver=(wanted.get("DriverConfig") or {}).get("Name") or "",
        anonymous=not source,
        mode=mode,
        writable=writable,
        copy_up=not wanted.get("NoCopy"),
    )


def _check(kind: str, entry: dict[str, Any], *, source_exists: bool) -> None:
    target, source = entry.get("Target") or "", entry.get("Source") or ""
    if not target:
        raise invalid("field Target must not be empty")
    check_place(target)
    match kind:
        case "bind":
            if not source:
                raise invalid("field Source must not be empty")
            propagation = (entry.get("BindOptions") or {}).get("Propagation")
            if propagation and propagation not in PROPAGATIONS:
                raise invalid(f"invalid propagation mode: {propagation}")
            _check_absent(entry, "VolumeOptions")
            _check_absolute(source)
            if source_exists and not Path(source).exists():
                raise invalid(f"bind source path does not exist: {source}")
        case "volume":
            _check_absent(entry, "BindOptions")
            if not source and entry.get("ReadOnly"):
                raise invalid("must not set ReadOnly mode when using anonymous volumes")
        case "tmpfs":
            _check_absent(entry, "BindOptions")
            if source:
                raise invalid("field Source must not be specified")
        case _:
            raise invalid("mount type unknown")


def _check_absent(entry: dict[str, Any], member: str) -> None:
    if entry.get(member) is not None:
        raise invalid(f"field {member} must not be specified")


def _check_absolute(path: str) -> None:
    if not path.replace("\\", "/").startswith("/"):
        raise invalid(f"invalid mount path: '{path}' mount path must be absolute")


def _is_mode(text: str) -> bool:
    words = text.split(",") if text else []
    return all(any(word in kind for kind in _KINDS) for word in words) and all(
        sum(word in kind for word in words) <= 1 for kind in _KINDS
    )


def _tmpfs_options(entry: dict[str, Any]) -> list[str]:
    wanted = entry.get("TmpfsOptions") or {}
    found = ["ro"] if entry.get("ReadOnly") else []
    found += [f"mode={wanted['Mode']:o}"] if wanted.get("Mode") else []
    return found + ([f"size={_size(wanted['SizeBytes'])}"] if wanted.get("SizeBytes") else [])


def _size(number: int) -> str:
    """Return a size with the largest suffix that loses nothing, as dockerd writes it."""
    for shift, suffix in ((30, "g"), (20, "m"), (10, "k")):
        if number % (1 << shift) == 0:
            return f"{number >> shift}{suffix}"
    return str(number)
