"""Named volumes of the `local` driver: DATA_ROOT/volumes/NAME/_data, and beside it what the user said of the volume."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, conflict, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sixhops.dockerd.events import Events

__all__ = ["Volumes"]

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_NOT_IMPLEMENTED = 501
_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_OPTIONS = frozenset({"type", "device", "o", "size"})
_SAID = "sixhops.json"


class Volumes:
    """The volumes of one engine."""

    def __init__(self, root: Path, events: Events, users: Callable[[str], Sequence[str]]) -> None:
        """`users` gives the ids of the containers that have a volume mounted."""
        self._root = root
        self._events = events
        self._users = users
        root.mkdir(mode=0o701, parents=True, exist_ok=True)

    def list(self, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return the volumes that pass. Raises EngineError 400 for an unknown filter."""
        for key in filters:
            if key not in _FILTERS:
                raise invalid(f"Invalid filter '{key}'")
        dangling = filters.get("dangling") or ()
        if len(dangling) > 1 or not set(dangling) <= {"0", "1", "false", "true"}:
            raise invalid(f"Invalid filter 'dangling=[{' '.join(dangling)}]'")
        names = sorted(entry.name for entry in self._root.iterdir() if (entry / "_data").is_dir())
        return [document for document in map(self._document, names) if self._passes(document, filters)]

    def inspect(self, name: str) -> dict[str, Any]:
        """Return one volume. Raises EngineError 404."""
        if not _NAME.fullmatch(name) or not (self._root / name / "_data").is_dir():
            raise not_found(f"get {name}: no such volume")
        return self._document(name)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a volume, or return the one that has the name already. Raises EngineError 400, 404, 501."""
        name, driver = body.get("Name") or secrets.token_hex(32), body.get("Driver") or "local"
        if driver != "local":
            raise not_found(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        if len(name) == 1:
            raise invalid(
                f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
            )
        if not _NAME.fullmatch(name):
            raise invalid(
                f'create {name}: "{name}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            )
        for option in body.get("DriverOpts") or {}:
            if option not in _OPTIONS:
                raise invalid(f'create {name}: invalid option: "{option}"')
        if body.get("DriverOpts"):
            raise EngineError(_NOT_IMPLEMENTED, "this engine's local volumes take no options yet")
        directory = self._root / name
        if not (directory / "_data").is_dir():
            directory.mkdir(mode=0o701, exist_ok=True)
            said = {"Labels": body.get("Labels"), "Options": body.get("DriverOpts")}
            (directory / _SAID).write_text(json.dumps(said))
            (directory / "_data").mkdir(mode=0o755)
            self._events.emit("volume", "create", name, {"driver": "local"})
        return self._document(name)

    def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume. Raises EngineError 404 (not with `force`), and 409 when a container has it."""
        try:
            self.inspect(name)
        except EngineError:
            if force:
                return
            raise
        users = self._users(name)
        if users:
            raise conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        shutil.rmtree(self._root / name)
        self._events.emit("volume", "destroy", name, {"driver": "local"})

    def prune(self, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Remove the volumes that no container has. Raises EngineError 400 for an unknown filter."""
        for key in filters:
            if key not in {"label", "label!"}:
                raise invalid(f"Invalid filter '{key}'")
        gone, reclaimed = [], 0
        for document in self.list({"label": filters.get("label", [])}):
            labels = document["Labels"] or {}
            if self._users(document["Name"]) or any(_has(labels, text) for text in filters.get("label!", ())):
                continue
            reclaimed += sum(
                path.lstat().st_size for path in (self._root / document["Name"]).rglob("*") if path.is_file()
            )
            self.remove(document["Name"], force=False)
            gone.append(document["Name"])
        self._events.emit("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return {"VolumesDeleted": gone, "SpaceReclaimed": reclaimed}

    def _document(self, name: str) -> dict[str, Any]:
        directory = self._root / name
        said = {}
        if (directory / _SAID).exists():
            said = json.loads((directory / _SAID).read_text())
        made = (directory / "_data").stat().st_mtime
        return {
            "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made)),
            "Driver": "local",
            "Labels": said.get("Labels"),
            "Mountpoint": str(directory / "_data"),
            "Name": name,
            "Options": said.get("Options"),
            "Scope": "local",
        }

    def _passes(self, document: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
        labels = document["Labels"] or {}
        names, drivers = filters.get("name", ()), filters.get("driver", ())
        dangling = filters.get("dangling", ())
        if dangling and (dangling[0] in {"1", "true"}) is bool(self._users(document["Name"])):
            return False
        return (
            (not names or any(name in document["Name"] for name in names))
            and (not drivers or "local" in drivers)
            and all(_has(labels, text) for text in filters.get("label", ()))
        )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, has_value, value = wanted.partition("=")
    return key in labels and (not has_value or labels[key] == value)
