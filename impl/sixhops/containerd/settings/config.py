"""config.toml (version 2, as containerd 1.6 reads it, and the older one by short names) and the flags that override it.

A file is laid over the defaults, and the files that it imports over that: values replace, lists are joined. What
remains of a document after everything that is known here was taken out of it is reported, for a warning.
"""

from __future__ import annotations

import copy
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["DEFAULTS", "Config", "ConfigError", "Schedule", "load", "merged"]

OURS = "io.containerd.sixhops"
SHIM_MODES = ("auto", "embedded", "exec")
FORMATS = ("text", "json")
POLICIES = ("shared", "isolated")
GC = "io.containerd.gc.v1.scheduler"
METADATA = "io.containerd.metadata.v1.bolt"
URI_PARTS = 4
PAUSE_LIMIT = 0.5
DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ns|us|ms|s|m|h)")
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

DEFAULTS: dict[str, Any] = {
    "disabled_plugins": [],
    "imports": [],
    "oom_score": 0,
    "required_plugins": [],
    "root": "/var/lib/containerd",
    "state": "/run/containerd",
    "version": 2,
    "debug": {"format": "", "level": ""},
    "grpc": {
        "address": "/run/containerd/containerd.sock",
        "gid": 0,
        "max_recv_message_size": 16 << 20,
        "max_send_message_size": 16 << 20,
        "uid": 0,
    },
    "plugins": {
        GC: {
            "deletion_threshold": 0,
            "mutation_threshold": 100,
            "pause_threshold": 0.02,
            "schedule_delay": "0s",
            "startup_delay": "100ms",
        },
        METADATA: {"content_sharing_policy": "shared"},
        OURS: {"runtime": "runc", "shim": "auto"},
    },
    "ttrpc": {"address": "", "gid": 0, "uid": 0},
}


class ConfigError(Exception):
    """The file can't be read or says something that makes no sense."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When garbage is collected: after so many deletions (0: one, but no sooner than `pause` allows) or changes, and so
    many seconds later; first so many seconds after the start. `pause` is the share of the time that it may take.
    """

    deletions: int = 0
    mutations: int = 100
    pause: float = 0.02
    delay: float = 0.0
    startup: float = 0.1


@dataclass(frozen=True, slots=True)
class Config:
    """All settings.

    `shim`: "auto" forks our loaded shim for io.containerd.sixhops.v1 and starts a program for any other runtime; "embedded"
    forks it for io.containerd.runc.v2 too; "exec" always starts a program. `runtime`: the runtime binary of
    a task that names none. `sharing`: whether a namespace has a blob for naming its digest. `disabled` and `required`
    are names of plugins (`sixhops.containerd.settings.plugins`). `ignored`: keys of the file that have no meaning
    here, for a warning.
    """

    root: Path = Path("/var/lib/containerd")
    state: Path = Path("/run/containerd")
    address: Path = Path("/run/containerd/containerd.sock")
    ttrpc_address: Path | None = None
    uid: int = 0
    gid: int = 0
    ttrpc_uid: int = 0
    ttrpc_gid: int = 0
    receive_limit: int = 16 << 20
    send_limit: int = 16 << 20
    level: str = "info"
    format: str = "text"
    oom_score: int = 0
    shim: str = "auto"
    runtime: str = "runc"
    sharing: bool = True
    schedule: Schedule = Schedule()
    disabled: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def ttrpc(self) -> Path:
        """The socket for shims: that of gRPC with `.ttrpc` behind unless the file names another."""
        return self.ttrpc_address or Path(f"{self.address}.ttrpc")


def load(path: Path | None, flags: dict[str, str | None]) -> Config:
    """Return the settings of the file (defaults without one), overridden by `flags`.

    Flags are root, state, address, log_level. ConfigError names the file and the key.
    """
    config = Config() if path is None else _Reader(path, merged(path)).config()
    if flags.get("root"):
        config = replace(config, root=Path(str(flags["root"])))
    if flags.get("state"):
        config = replace(config, state=Path(str(flags["state"])))
    if flags.get("address"):
        config = replace(config, address=Path(str(flags["address"])))
    if flags.get("log_level"):
        config = replace(config, level=str(flags["log_level"]))
    return config


def merged(path: Path) -> dict[str, Any]:
    """Return the document that a file and its imports make of the defaults; its `imports` are all files that were read.

    ConfigError names the file that can't be read.
    """
    document = copy.deepcopy(DEFAULTS)
    document["version"] = 1  # a file that names no version is of the first
    pending, seen = [path], []
    while pending:
        current = pending.pop(0)
        if current in seen:
            continue
        own = _parse(current)
        wanted = own.pop("imports", [])
        if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
            raise ConfigError(f"{current}: imports must be a list of strings")
        _merge(document, own)
        seen.append(current)
        pending += [found for item in wanted for found in _resolve(current, item)]
    document["imports"] = [str(item) for item in seen]
    return document


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"failed to load TOML: {path}: open {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"failed to load TOML: {path}: {error}") from error


def _resolve(parent: Path, item: str) -> list[Path]:
    """Return the files that an import names: a path, or a pattern, beside the file that says it unless absolute."""
    path = Path(item) if item.startswith("/") else parent.parent / item
    if "*" in path.name:
        return sorted(path.parent.glob(path.name))
    return [path]


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = into[key] + value
        else:
            into[key] = value


class _Reader:
    """Takes what is known out of a document; what is left then has no meaning here."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._path = path
        self._left = document
        self._version = document.pop("version")
        document.pop("imports")
        if self._version not in (0, 1, 2):  # dockerd 20.10 writes 0
            raise self._error(
                f"expected containerd config version equal to or less than `2`, got `{self._version}`"
            )

    def config(self) -> Config:
        """Return the settings; ConfigError names the key that makes no sense."""
        names = {}
        for key in ("disabled_plugins", "required_plugins"):
            names[key] = self._names(key)
        if self._version == 2:
            for key in self._left.get("plugins", {}):
                if key != OURS:
                    self._check_uri("plugin key", key)
        address = self._text("ttrpc", "address")
        owner = self._number("grpc", "uid"), self._number("grpc", "gid")
        shims_owner = self._number("ttrpc", "uid"), self._number("ttrpc", "gid")
        if not address:
            shims_owner = owner
        scheduler = GC if self._version == 2 else "scheduler"
        metadata = METADATA if self._version == 2 else "bolt"
        for short, full in ((scheduler, GC), (metadata, METADATA)):
            if short != full:
                own = self._left["plugins"].pop(short, {})
                _merge(self._left["plugins"][full], own if isinstance(own, dict) else {})
        return Config(
            root=Path(self._text("root")),
            state=Path(self._text("state")),
            address=Path(self._text("grpc", "address")),
            ttrpc_address=Path(address) if address else None,
            uid=owner[0],
            gid=owner[1],
            ttrpc_uid=shims_owner[0],
            ttrpc_gid=shims_owner[1],
            receive_limit=self._number("grpc", "max_recv_message_size"),
            send_limit=self._number("grpc", "max_send_message_size"),
            level=self._text("debug", "level") or "info",
            format=self._one_of(("", *FORMATS), "debug", "format") or "text",
            oom_score=self._number("oom_score"),
            shim=self._one_of(SHIM_MODES, "plugins", OURS, "shim"),
            runtime=self._text("plugins", OURS, "runtime"),
            sharing=self._one_of(POLICIES, "plugins", METADATA, "content_sharing_policy") == "shared",
            schedule=Schedule(
                deletions=self._number("plugins", GC, "deletion_threshold"),
                mutations=self._number("plugins", GC, "mutation_threshold"),
                pause=min(self._fraction("plugins", GC, "pause_threshold"), PAUSE_LIMIT),
                delay=self._duration("plugins", GC, "schedule_delay"),
                startup=self._duration("plugins", GC, "startup_delay"),
            ),
            disabled=names["disabled_plugins"],
            required=names["required_plugins"],
            ignored=tuple(_keys(self._left)),
        )

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"{self._path}: {problem}")

    def _take(self, *keys: str) -> object:
        table: Any = self._left
        for depth, key in enumerate(keys[:-1]):
            table = table[key]
            if not isinstance(table, dict):
                raise self._error(f"{_shown(keys[: depth + 1])} must be a table")
        return table.pop(keys[-1])

    def _names(self, key: str) -> tuple[str, ...]:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(f"{key} must be a list of strings")
        if self._version == 2:
            for item in value:
                self._check_uri(key.removesuffix("_plugins") + " plugin", item)
        return tuple(value)

    def _check_uri(self, what: str, name: str) -> None:
        if len(name.split(".")) < URI_PARTS:
            raise self._error(f'invalid {what} URI "{name}" expect io.containerd.x.vx')

    def _text(self, *keys: str) -> str:
        value = self._take(*keys)
        if not isinstance(value, str):
            raise self._error(f"{_shown(keys)} must be a string")
        return value

    def _number(self, *keys: str) -> int:
        value = self._take(*keys)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._error(f"{_shown(keys)} must be a number")
        return value

    def _fraction(self, *keys: str) -> float:
        value = self._take(*keys)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise self._error(f"{_shown(keys)} must be a number from 0 on")
        return float(value)

    def _one_of(self, known: tuple[str, ...], *keys: str) -> str:
        value = self._text(*keys)
        if value not in known:
            shown = ", ".join(item for item in known if item)
            raise self._error(f"{_shown(keys)} must be one of {shown}")
        return value

    def _duration(self, *keys: str) -> float:
        text = self._text(*keys)
        parts = list(DURATION.finditer(text))
        if text != "0" and (not parts or "".join(part[0] for part in parts) != text):
            raise self._error(f'{_shown(keys)} must be a time such as 100ms, not "{text}"')
        return sum(float(part["number"]) * UNITS[part["unit"]] for part in parts)


def _shown(keys: tuple[str, ...]) -> str:
    return ".".join(f'"{key}"' if "." in key else key for key in keys)


def _keys(document: dict[str, Any], above: tuple[str, ...] = ()) -> list[str]:
    """Return the keys of what is left; an empty value says nothing and is left out."""
    found: list[str] = []
    for key, value in document.items():
        if isinstance(value, dict):
            found += _keys(value, (*above, key))
        elif value not in ("", [], 0):
            found.append(_shown((*above, key)))
    return found
