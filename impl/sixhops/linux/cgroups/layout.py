"""Where this machine's control groups are mounted, and where in them a container belongs.

A container's groups are a mapping from a controller's name to a directory: `{"memory": "/sys/fs/cgroup/memory/docker/x",
..., "": "/sys/fs/cgroup/unified/docker/x"}`. The empty name is the unified hierarchy; on a pure version 2 machine it is
the only entry. The mapping is what state files hold and what `control`, `limits` and `stats` work on.
"""

from __future__ import annotations

import os

from sixhops.values import Value

__all__ = ["Hierarchy", "Layout", "container_groups", "parse_layout", "read_layout"]


class Hierarchy(Value):
    """One mounted hierarchy; `root` is the directory of the hierarchy that the mount shows, `own` the caller's group."""

    controllers: tuple[str, ...]
    mountpoint: str
    root: str
    own: str

    @property
    def directory(self) -> str:
        """The last component of the mount point: what a container sees below its /sys/fs/cgroup."""
        return os.path.basename(self.mountpoint)

    def place(self, path: str) -> str:
        """Return the directory of `path`: absolute from the mount, relative from the caller's own group."""
        if not path.startswith("/"):
            inside = os.path.relpath(self.own, self.root) if self.own.startswith(self.root) else self.own
            path = f"{inside}/{path}"
        # Made absolute first, so that no number of `..` leaves the hierarchy.
        return (self.mountpoint + os.path.normpath(f"/{path.lstrip('/')}")).rstrip("/")


class Layout(Value):
    """All hierarchies: those of version 1 in the order of mounting, and the unified one if mounted."""

    version1: tuple[Hierarchy, ...]
    unified: Hierarchy | None

    @property
    def is_unified(self) -> bool:
        """Whether version 2 is all there is."""
        return not self.version1


# the layout that was read last, with what shows that it is true still
_known: list[tuple[str, list[tuple[int, int]], Layout]] = []


def read_layout() -> Layout:
    """Return this machine's layout as the calling process sees it.

    The list of mounts is long where many containers run. It is read once, and again when the caller is in other groups,
    when there is a hierarchy more or less, or when something else is mounted in the place of one.
    """
    with open("/proc/self/cgroup") as groups:
        membership = groups.read()
    for known, places, layout in _known:
        if known == membership and places == _places(layout):
            return layout
    with open("/proc/self/mountinfo") as mounts:
        layout = parse_layout(mounts.read(), membership)
    _known[:] = [(membership, _places(layout), layout)]
    return layout


def _places(layout: Layout) -> list[tuple[int, int]]:
    """Return which directories are at the layout's mount points now, by device and number; (-1, -1) where there is none."""
    unified = [] if layout.unified is None else [layout.unified]
    return [_place(hierarchy.mountpoint) for hierarchy in (*layout.version1, *unified)]


def _place(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino


def parse_layout(mountinfo: str, membership: str) -> Layout:
    """Return the layout from the text of /proc/self/mountinfo and /proc/self/cgroup (cgroups(7)). Pure."""
    own: dict[str, str] = {}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            own[name] = path
    version1: list[Hierarchy] = []
    unified = None
    seen: set[tuple[str, ...]] = set()
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue  # of hundreds, where many containers run
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        fields = before.split(" ")
        if kind == "cgroup2" and unified is None:
            unified = Hierarchy((), fields[4], fields[3], own.get("", "/"))
        elif kind == "cgroup":
            controllers = tuple(option for option in options.split(",") if option in own and option)
            if controllers and controllers not in seen:
                seen.add(controllers)
                version1.append(Hierarchy(controllers, fields[4], fields[3], own[controllers[0]]))
    return Layout(tuple(version1), unified)


def container_groups(layout: Layout, path: str) -> dict[str, str]:
    """Return the mapping from controller to directory for a container's cgroupsPath."""
    groups = {name: hierarchy.place(path) for hierarchy in layout.version1 for name in hierarchy.controllers}
    if layout.unified is not None:
        # a group with processes can't hand controllers down, so where there is no other hierarchy it is the one beside
        beside = layout.is_unified and not path.startswith("/")
        groups[""] = layout.unified.place(f"../{path}" if beside else path)
    return groups
