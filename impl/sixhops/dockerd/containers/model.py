"""A container as values: what was asked for never changes, what happens to it is in one mutable `ContainerState`.

`config` and `host_config` are the API's own documents, complete with defaults (see `config`), because inspect prints
them as they are. The document in the engine's state is `to_document`; `from_document` is its inverse.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.containers.times import rfc3339

__all__ = ["Container", "ContainerState", "MountPoint", "from_document", "to_document"]


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A volume, bind or tmpfs of one container. `source` is a path of the host, "" for tmpfs.

    `asked_propagation` says that the user chose the propagation; `anonymous`, that nobody gave the volume its name.
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    anonymous: bool = False
    copy_up: bool = True
    options: tuple[str, ...] = ()
    asked_propagation: bool = False

    def document(self) -> dict[str, Any]:
        """Return the entry of `Mounts` in an inspect."""
        found: dict[str, Any] = {"Type": self.type}
        if self.name:
            found["Name"] = self.name
        found |= {"Source": self.source, "Destination": self.destination}
        if self.driver:
            found["Driver"] = self.driver
        return found | {"Mode": self.mode, "RW": self.writable, "Propagation": self.propagation}


@dataclass(slots=True)
class ContainerState:
    """What happens to a container; times in nanoseconds since 1970, 0 for never."""

    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    health: dict[str, Any] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is, or shortly will be again, a process."""
        return self.status in {Status.RUNNING, Status.PAUSED, Status.RESTARTING}

    @property
    def has_process(self) -> bool:
        """Whether there is a process now."""
        return self.status in {Status.RUNNING, Status.PAUSED}

    def document(self) -> dict[str, Any]:
        """Return `State` of an inspect."""
        return {
            "Status": str(self.status),
            "Running": self.is_running,
            "Paused": self.status is Status.PAUSED,
            "Restarting": self.status is Status.RESTARTING,
            "OOMKilled": self.oom_killed,
            "Dead": self.status is Status.DEAD,
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": rfc3339(self.started_at),
            "FinishedAt": rfc3339(self.finished_at),
        } | ({"Health": self.health} if self.health is not None else {})


@dataclass(slots=True)
class Container:
    """One container. `layer` is the cache id of its writable layer; `endpoint` what its network saved at the last start.

    `is_unnamed`: the engine made its name up, and nobody has given it another one.
    `files_of`: id of the container whose hostname, hosts and resolv.conf it uses, "" for its own.
    """

    id: str
    name: str
    created: int
    image: str
    path: str
    arguments: tuple[str, ...]
    config: dict[str, Any]
    host_config: dict[str, Any]
    networking: dict[str, Any]
    layer: str
    mounts: tuple[MountPoint, ...] = ()
    state: ContainerState = field(default_factory=ContainerState)
    endpoint: dict[str, Any] | None = None
    files_of: str = ""
    is_unnamed: bool = False

    @property
    def tty(self) -> bool:
        """Whether the program has a terminal."""
        return bool(self.config["Tty"])

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes that every event of the container carries."""
        return {**(self.config["Labels"] or {}), "image": self.config["Image"], "name": self.name}


def to_document(container: Container) -> dict[str, Any]:
    """Return all of a container as JSON data."""
    # the API's documents go as they are: copying them member by member would cost more than writing them
    document = {entry.name: getattr(container, entry.name) for entry in fields(container)}
    return document | {
        "state": asdict(container.state),
        "mounts": [asdict(point) for point in container.mounts],
    }


def from_document(document: dict[str, Any]) -> Container:
    """Undo `to_document`."""
    state = document["state"]
    mounts = (MountPoint(**{**mount, "options": tuple(mount["options"])}) for mount in document["mounts"])
    return Container(
        **{
            **document,
            "arguments": tuple(document["arguments"]),
            "mounts": tuple(mounts),
            "state": ContainerState(**{**state, "status": Status(state["status"])}),
        }
    )
