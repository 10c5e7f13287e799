"""Which commands there are, and where: the table names module and attribute, and only the module of the command that was
asked for is imported.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixhops.docker.command import Command

__all__ = ["ABSENT", "COMMANDS", "GROUPS", "HIDDEN", "Group", "load"]

#: A place of a command: the module of `commands` and the attribute there.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Commands behind a common word; `members` holds other names (`list` for `ls`) as well."""

    summary: str
    members: dict[str, Place]


COMMANDS: dict[str, Place] = {
    "attach": ("start", "ATTACH"),
    "commit": ("commit", "COMMIT"),
    "cp": ("cp", "CP"),
    "create": ("run", "CREATE"),
    "diff": ("commit", "DIFF"),
    "events": ("events", "EVENTS"),
    "exec": ("exec", "EXEC"),
    "export": ("archive", "EXPORT"),
    "history": ("images", "HISTORY"),
    "images": ("images", "IMAGES"),
    "import": ("archive", "IMPORT"),
    "info": ("info", "INFO"),
    "inspect": ("inspect", "INSPECT"),
    "kill": ("lifecycle", "KILL"),
    "load": ("archive", "LOAD"),
    "login": ("login", "LOGIN"),
    "logout": ("login", "LOGOUT"),
    "logs": ("logs", "LOGS"),
    "pause": ("lifecycle", "PAUSE"),
    "port": ("look", "PORT"),
    "ps": ("ps", "PS"),
    "pull": ("pull", "PULL"),
    "push": ("pull", "PUSH"),
    "rename": ("lifecycle", "RENAME"),
    "restart": ("lifecycle", "RESTART"),
    "rm": ("lifecycle", "RM"),
    "rmi": ("images", "RMI"),
    "run": ("run", "RUN"),
    "save": ("archive", "SAVE"),
    "search": ("search", "SEARCH"),
    "start": ("start", "START"),
    "stats": ("stats", "STATS"),
    "stop": ("lifecycle", "STOP"),
    "tag": ("images", "TAG"),
    "top": ("look", "TOP"),
    "unpause": ("lifecycle", "UNPAUSE"),
    "update": ("update", "UPDATE"),
    "version": ("version", "VERSION_COMMAND"),
    "wait": ("lifecycle", "WAIT"),
}


def _same(*names: str) -> dict[str, Place]:
    return {name: COMMANDS[name] for name in names}


GROUPS: dict[str, Group] = {
    "container": Group(
        "Manage containers",
        {
            **_same(
                "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port", "rename",
                "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
            ),
            "inspect": ("inspect", "INSPECT_CONTAINER"),
            "prune": ("prune", "PRUNE_CONTAINERS"),
            "ls": ("ps", "LS"),
            "ps": ("ps", "LS"),
            "list": ("ps", "LS"),
        },
    ),
    "context": Group(
        "Manage contexts",
        {
            "create": ("contextwrite", "CREATE"),
            "export": ("contextfile", "EXPORT"),
            "import": ("contextfile", "IMPORT"),
            "inspect": ("context", "INSPECT"),
            "ls": ("context", "LS"),
            "list": ("context", "LS"),
            "rm": ("context", "RM"),
            "remove": ("context", "RM"),
            "update": ("contextwrite", "UPDATE"),
            "use": ("context", "USE"),
        },
    ),
    "image": Group(
        "Manage images",
        {
            **_same("history", "import", "load", "pull", "push", "save", "tag"),
            "inspect": ("inspect", "INSPECT_IMAGE"),
            "prune": ("prune", "PRUNE_IMAGES"),
            "ls": ("images", "LS"),
            "list": ("images", "LS"),
            "rm": ("images", "RM"),
            "rmi": ("images", "RM"),
            "remove": ("images", "RM"),
        },
    ),
    "network": Group(
        "Manage networks",
        {
            "connect": ("network", "CONNECT"),
            "create": ("network", "CREATE"),
            "disconnect": ("network", "DISCONNECT"),
            "inspect": ("inspect", "INSPECT_NETWORK"),
            "ls": ("network", "LS"),
            "list": ("network", "LS"),
            "prune": ("prune", "PRUNE_NETWORKS"),
            "rm": ("network", "RM"),
            "remove": ("network", "RM"),
        },
    ),
    "system": Group(
        "Manage Docker",
        {
            **_same("events", "info"),
            "df": ("df", "DF"),
            "dial-stdio": ("dial", "DIAL_STDIO"),
            "prune": ("prune", "PRUNE_SYSTEM"),
        },
    ),
    "volume": Group(
        "Manage volumes",
        {
            "create": ("volume", "CREATE"),
            "inspect": ("inspect", "INSPECT_VOLUME"),
            "ls": ("volume", "LS"),
            "list": ("volume", "LS"),
            "prune": ("prune", "PRUNE_VOLUMES"),
            "rm": ("volume", "RM"),
            "remove": ("volume", "RM"),
        },
    ),
}  # fmt: skip

#: Members that help does not list: other names, and what people don't call.
HIDDEN = {"ps", "list", "rmi", "remove", "dial-stdio"}

#: What Docker's client does besides, which is about other things than running containers.
ABSENT = {
    "app": "applications", "build": "building images", "builder": "building images", "buildx": "building images",
    "checkpoint": "checkpoints", "completion": "completing what is typed in a shell",
    "compose": "several containers together", "config": "swarms",
    "manifest": "manifest lists", "node": "swarms", "plugin": "the engine's plugins", "scan": "scanning images",
    "secret": "swarms", "service": "swarms", "stack": "swarms", "swarm": "swarms", "trust": "signatures of images",
}  # fmt: skip


def load(place: Place) -> Command:
    """Return the command of a place."""
    module = importlib.import_module(f"sixhops.docker.commands.{place[0]}")
    found: Command = getattr(module, place[1])
    return found
