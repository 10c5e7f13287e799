"""Whether the mount that a bind's source lies on can do what the bind's propagation asks for.

The kernel would not refuse: a shared bind of a private mount would just not be one. So dockerd looks before each start
(moby, `daemon/oci_linux.go`, `ensureShared` and `ensureSharedOrSlave`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.checks.mountspecs import touches
from sixhops.dockerd.errors import system

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.dockerd.containers.model import MountPoint

__all__ = ["root_propagation"]

_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


def root_propagation(points: Iterable[MountPoint], root: str, mountinfo: str | None = None) -> str:
    """Return `linux.rootfsPropagation` for a container's mount points: "", "shared" or "rslave".

    Raises EngineError 500 for a mount point that asks to be shared, or a slave, of a mount that is not shared. What the
    engine made a slave itself, since it mounts the engine's directory `root`, stays quietly private then. `mountinfo`
    is the kernel's list of mounts; this process's unless given.
    """
    found = ""
    for point in points:
        if point.propagation not in _SHARED | _SLAVE:
            continue
        if mountinfo is None:
            mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        place, marks = _mount_of(point.source, mountinfo)
        if point.propagation in _SHARED:
            if "shared" not in marks:
                raise system(f"path {point.source} is mounted on {place} but it is not a shared mount")
            found = "shared"
        elif marks & {"shared", "master"}:
            found = found or "rslave"
        elif point.asked_propagation or not touches(point.source, root):
            raise system(f"path {point.source} is mounted on {place} but it is not a shared or slave mount")
    return found


def _mount_of(path: str, mountinfo: str) -> tuple[str, set[str]]:
    """Return the mount point that `path` is below, and its optional fields without their numbers (proc(5))."""
    resolved = str(Path(path).resolve())
    best, marks = "", set[str]()
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) < 7 or "-" not in fields:
            continue
        place = fields[4].replace("\\040", " ")
        below = place == "/" or resolved == place or resolved.startswith(f"{place}/")
        if below and len(place) >= len(best):
            best = place
            marks = {mark.partition(":")[0] for mark in fields[6 : fields.index("-")]}
    if not best:
        raise system(f"Could not find source mount of {path}")
    return best, marks
