"""Volumes of the `local` driver: DATA_ROOT/volumes/NAME/_data, and beside it what the user said of the volume.

Who uses a volume is asked of the containers (`users`); a container that is being created is not among them yet, so it holds
its volumes here until it is. Threads may call everything here; events are told in the event loop's thread.
Source of messages and of what is told when: moby 20.10, volume/service.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, conflict, invalid, not_found, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.volumes import localdriver
from sixhops.linux import mounts
from sixhops.linux.libc import LinuxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sixhops.dockerd.events import Events

__all__ = ["DRIVER", "Volume", "Volumes"]

#: The one driver that there is.
DRIVER = "local"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
#: What a file system takes for the name of a directory.
_LONGEST_NAME = 255
_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_SAID = "sixhops.json"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: `path` is its directory on the host; labels and options are None when nothing was said."""

    name: str
    path: Path
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = field(default=None)

    def document(self) -> dict[str, Any]:
        """Return the volume as the API prints it."""
        changed = time.localtime(self.path.stat().st_ctime)
        zone = time.strftime("%z", changed)
        return {
            "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%S", changed)
            + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"),
            "Driver": DRIVER,
            "Labels": self.labels,
            "Mountpoint": str(self.path),
            "Name": self.name,
            "Options": self.options,
            "Scope": "local",
        }


class Volumes:
    """The volumes of one engine."""

    def __init__(self, root: Path, events: Events, users: Callable[[str], Sequence[str]]) -> None:
        """`users` gives the ids of the containers that have a volume mounted. What a crash left mounted is unmounted."""
        self._root = root
        self._events = events
        self._users = users
        self._turn = threading.RLock()
        self._held: dict[str, set[str]] = {}
        self._mounted: dict[str, set[str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
        root.mkdir(mode=0o701, parents=True, exist_ok=True)
        for volume in self._all():
            if localdriver.needs_mount(volume.options or {}):
                self._unmount(volume)

    # -- the API's operations

    def list_all(self, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return the volumes that pass. Raises EngineError 400 for an unknown filter."""
        for key in filters:
            if key not in _FILTERS:
                raise invalid(f"Invalid filter '{key}'")
        dangling = _dangling(filters.get("dangling", ()))
        return [
            volume.document()
            for volume in self._all()
            if _passes(volume, filters)
            and (dangling is None or dangling is not bool(self.users_of(volume.name)))
        ]

    def inspect(self, name: str) -> dict[str, Any]:
        """Return one volume. Raises EngineError 404."""
        return self.get(name).document()

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a volume, or return the one that has the name already. Raises EngineError 400, 404."""
        return self.make(
            body.get("Name") or "", body.get("Driver") or "", body.get("DriverOpts"), body.get("Labels")
        ).document()

    def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume. Raises EngineError 404 (not with `force`), and 409 when a container has it."""
        with self._turn:
            try:
                volume = self.get(name)
            except EngineError:
                if force:
                    return
                raise
            self._remove(volume)
        self._emit(name, "destroy", {"driver": DRIVER})

    def prune(self, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Remove the volumes that no container has, but for those with options. Raises EngineError 400 for a bad filter."""
        for key in filters:
            if key not in {"label", "label!"}:
                raise invalid(f"Invalid filter '{key}'")
        gone, reclaimed = [], 0
        for volume in self._all():
            if volume.options or not _passes(volume, filters) or self.users_of(volume.name):
                continue
            size = self.size_of(volume)
            try:
                with self._turn:
                    self._remove(volume)
            except EngineError:
                continue  # a container has taken it meanwhile
            gone.append(volume.name)
            reclaimed += size
        self._emit("", "prune", {"reclaimed": str(reclaimed)})
        return {"VolumesDeleted": gone, "SpaceReclaimed": reclaimed}

    def usage(self) -> list[dict[str, Any]]:
        """Return the volumes without options with the bytes that they hold and how many containers use them (/system/df)."""
        return [
            volume.document()
            | {"UsageData": {"RefCount": len(self.users_of(volume.name)), "Size": self.size_of(volume)}}
            for volume in self._all()
            if not volume.options
        ]

    # -- for containers

    def get(self, name: str) -> Volume:
        """Return a volume. Raises EngineError 404."""
        is_name = _NAME.fullmatch(name) and len(name) <= _LONGEST_NAME
        if not is_name or not (self._root / name / "_data").is_dir():
            raise not_found(f"get {name}: no such volume" if name else "get: no such volume")
        return self._read(name)

    def make(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        holder: str = "",
    ) -> Volume:
        """Make a volume ("" gets a name), or return the one that has the name already; `holder` holds it then.

        Raises EngineError 400, and 404 for a driver that there is not.
        """
        name = name or secrets.token_hex(32)
        with self._turn:
            volume = self._make(name, driver, options, labels)
            if holder:
                self._held.setdefault(name, set()).add(holder)
        self._emit(name, "create", {"driver": DRIVER})
        return volume

    def let_go(self, holder: str) -> None:
        """End what `make` began with `holder`."""
        with self._turn:
            for holders in self._held.values():
                holders.discard(holder)

    def users_of(self, name: str) -> list[str]:
        """Return the ids of the containers that have a volume."""
        with self._turn:
            return sorted({*self._users(name), *self._held.get(name, ())})

    def mount(self, name: str, holder: str) -> Path:
        """Make a volume ready for a container; mounts what its options ask for. Raises EngineError 404, 500."""
        with self._turn:
            volume = self.get(name)
            if localdriver.needs_mount(volume.options or {}):
                holders = self._mounted.setdefault(name, set())
                if not holders:
                    localdriver.mount(volume.options or {}, volume.path)
                holders.add(holder)
        return volume.path

    def adopt(self, name: str, holder: str) -> None:
        """Note that a container which outlived the last engine has a volume mounted."""
        with self._turn:
            self._mounted.setdefault(name, set()).add(holder)

    def unmount(self, name: str, holder: str) -> None:
        """Undo `mount`; the last one unmounts. Does nothing for who has not mounted it."""
        with self._turn:
            holders = self._mounted.get(name, set())
            if holder not in holders:
                return
            holders.discard(holder)
            if not holders:
                self._unmount(self.get(name))

    def remove_unused(self, name: str) -> None:
        """Remove a container's anonymous volume, unless another container has it."""
        with self._turn:
            try:
                self._remove(self.get(name))
            except EngineError as error:
                if error.status not in {404, 409}:
                    raise
                return
        self._emit(name, "destroy", {"driver": DRIVER})

    def tell(self, name: str, action: str, attributes: Mapping[str, str]) -> None:
        """Tell of what a container does with a volume."""
        self._emit(name, action, {"driver": DRIVER, **attributes})

    def size_of(self, volume: Volume) -> int:
        """Return the bytes of all files in a volume; a file with several names counts once."""
        sizes = {}
        for directory, folders, files in os.walk(volume.path):
            for entry in (*folders, *files):
                with contextlib.suppress(OSError):
                    status = os.lstat(f"{directory}/{entry}")
                    if entry in files:
                        sizes[status.st_dev, status.st_ino] = status.st_size
        return sum(sizes.values())

    # -- inside

    def _make(
        self, name: str, driver: str, options: Mapping[str, str] | None, labels: Mapping[str, str] | None
    ) -> Volume:
        if driver not in {"", DRIVER}:
            raise not_found(
                f"create {name}: error looking up volume plugin {driver}: plugin {quote(driver)} not found"
            )
        directory = self._root / name
        is_short = len(name) <= _LONGEST_NAME
        if is_short and _NAME.fullmatch(name) and (directory / "_data").is_dir():
            return self._read(name)
        if len(name.encode(errors="replace")) == 1:
            raise invalid(
                f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
            )
        if not _NAME.fullmatch(name):
            raise invalid(
                f"create {name}: {quote(name)} includes invalid characters for a local volume name, only "
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            )
        try:
            localdriver.check_options(options or {})
        except EngineError as error:
            raise EngineError(error.status, f"create {name}: {error.message}") from error
        if not is_short:
            raise system(
                f"create {name}: error while creating volume root path '{directory}': mkdir {directory}: file name too long"
            )
        # the words come before the data, by whose presence a volume is known
        directory.mkdir(mode=0o701, exist_ok=True)
        said = {"Labels": labels, "Options": options}
        (directory / _SAID).write_text(json.dumps(said))
        (directory / "_data").mkdir(mode=0o755)
        return self._read(name)

    def _read(self, name: str) -> Volume:
        said: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError):
            said = json.loads((self._root / name / _SAID).read_text())
        return Volume(name, self._root / name / "_data", said.get("Labels"), said.get("Options"))

    def _all(self) -> list[Volume]:
        names = sorted(entry.name for entry in self._root.iterdir() if (entry / "_data").is_dir())
        return [self._read(name) for name in names]

    def _remove(self, volume: Volume) -> None:
        users = self.users_of(volume.name)
        if users:
            raise conflict(f"remove {volume.name}: volume is in use - [{', '.join(users)}]")
        if localdriver.needs_mount(volume.options or {}):
            self._unmount(volume)
        shutil.rmtree(self._root / volume.name)
        self._held.pop(volume.name, None)

    def _unmount(self, volume: Volume) -> None:
        if volume.path.is_mount():
            with contextlib.suppress(LinuxError):
                mounts.unmount(str(volume.path))

    def _emit(self, name: str, action: str, attributes: Mapping[str, str]) -> None:
        """Tell at once in the loop's thread, and as soon as it has time from another."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._events.emit, "volume", action, name, attributes)
                return
        self._events.emit("volume", action, name, attributes)


def _dangling(values: Sequence[str]) -> bool | None:
    if not values:
        return None
    if set(values) & {"1", "true"}:
        return True
    if set(values) & {"0", "false"}:
        return False
    raise invalid(f"Invalid filter 'dangling=[{' '.join(values)}]'")


def _passes(volume: Volume, filters: Mapping[str, Sequence[str]]) -> bool:
    labels = volume.labels or {}
    names, drivers = filters.get("name", ()), filters.get("driver", ())
    return (
        (not names or any(_matches(name, volume.name) for name in names))
        and (not drivers or DRIVER in drivers)
        and all(_has(labels, text) for text in filters.get("label", ()))
        and not any(_has(labels, text) for text in filters.get("label!", ()))
    )


def _matches(pattern: str, name: str) -> bool:
    """A filter by name is a regular expression; what is none passes nothing but itself."""
    try:
        return pattern == name or re.search(pattern, name) is not None
    except re.error:
        return False


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, has_value, value = wanted.partition("=")
    return key in labels and (not has_value or labels[key] == value)
