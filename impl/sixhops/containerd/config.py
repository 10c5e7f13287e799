"""config.toml (version 2, as containerd 1.6 reads it) and the flags that override it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["Config", "ConfigError", "load"]

OURS = "io.containerd.sixhops"
SHIM_MODES = ("auto", "embedded", "exec")


class ConfigError(Exception):
    """The file can't be read or says something that makes no sense."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings.

    `shim`: "auto" forks our loaded shim for io.containerd.sixhops.v1 and starts a program for any other runtime; "embedded"
    forks it for io.containerd.runc.v2 too; "exec" always starts a program. `runtime`: the runtime binary of
    a task that names none. `ignored`: keys of the file that have no meaning here, for a warning.
    """

    root: Path = Path("/var/lib/containerd")
    state: Path = Path("/run/containerd")
    address: Path = Path("/run/containerd/containerd.sock")
    ttrpc_address: Path | None = None
    uid: int = 0
    gid: int = 0
    level: str = "info"
    oom_score: int = 0
    shim: str = "auto"
    runtime: str = "runc"
    ignored: tuple[str, ...] = ()

    @property
    def ttrpc(self) -> Path:
        """The socket for shims: that of gRPC with `.ttrpc` behind unless the file names another."""
        return self.ttrpc_address or Path(f"{self.address}.ttrpc")


def load(path: Path | None, flags: dict[str, str | None]) -> Config:
    """Return the settings of the file (defaults without one), overridden by `flags`.

    Flags are root, state, address, log_level. ConfigError names the file and the key.
    """
    config = Config()
    if path is not None:
        config = _read(path)
    if flags.get("root"):
        config = replace(config, root=Path(str(flags["root"])))
    if flags.get("state"):
        config = replace(config, state=Path(str(flags["state"])))
    if flags.get("address"):
        config = replace(config, address=Path(str(flags["address"])))
    if flags.get("log_level"):
        config = replace(config, level=str(flags["log_level"]))
    return config


def _read(path: Path) -> Config:
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"open {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"failed to load TOML: {path}: {error}") from error
    version = document.pop("version", 1)
    if version not in (0, 1, 2):  # dockerd 20.10 writes 0
        raise ConfigError(f"{path}: expected containerd config version 1 or 2, got `{version}`")
    values: dict[str, Any] = {}
    for name in ("root", "state"):
        if name in document:
            values[name] = Path(_text(path, name, document.pop(name)))
    if "oom_score" in document:
        values["oom_score"] = _number(path, "oom_score", document.pop("oom_score"))
    grpc = _table(path, "grpc", document.pop("grpc", {}))
    if "address" in grpc:
        values["address"] = Path(_text(path, "grpc.address", grpc.pop("address")))
    for name in ("uid", "gid"):
        if name in grpc:
            values[name] = _number(path, f"grpc.{name}", grpc.pop(name))
    ttrpc = _table(path, "ttrpc", document.pop("ttrpc", {}))
    if ttrpc.get("address"):
        values["ttrpc_address"] = Path(_text(path, "ttrpc.address", ttrpc.pop("address")))
    debug = _table(path, "debug", document.pop("debug", {}))
    if debug.get("level"):
        values["level"] = _text(path, "debug.level", debug.pop("level"))
    plugins = _table(path, "plugins", document.pop("plugins", {}))
    ours = _table(path, f'plugins."{OURS}"', plugins.pop(OURS, {}))
    if "shim" in ours:
        values["shim"] = _text(path, "shim", ours.pop("shim"))
        if values["shim"] not in SHIM_MODES:
            raise ConfigError(f'{path}: plugins."{OURS}".shim must be one of {", ".join(SHIM_MODES)}')
    if "runtime" in ours:
        values["runtime"] = _text(path, "runtime", ours.pop("runtime"))
    left = [f"grpc.{key}" for key in grpc] + [f"debug.{key}" for key in debug]
    left += [f"ttrpc.{key}" for key in ttrpc] + [f"plugins.{key}" for key in plugins] + list(document)
    return Config(**values, ignored=tuple(left))


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {key} must be a string")
    return value


def _number(path: Path, key: str, value: object) -> int:
    if not isinstance(value, int):
        raise ConfigError(f"{path}: {key} must be a number")
    return value


def _table(path: Path, key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {key} must be a table")
    return value
