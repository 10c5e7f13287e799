"""docker-registry's YAML configuration, version 0.1: what this registry does with it, and nothing else.

A key that is not listed in `_KEYS` is an error that names its path: a setting that is silently ignored
would be a promise that is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml

LEVELS: Final = ("error", "warn", "info", "debug")


class ConfigError(ValueError):
    """The configuration can't be used; the message names the key path."""


@dataclass(frozen=True, slots=True)
class Config:
    """How one registry runs.

    `address` is host:port (host may be empty: all), or a socket path when `net` is unix. `headers` are
    added to every answer. `certificate` and `key` are PEM files; both or none.
    """

    root: Path
    address: str = "127.0.0.1:5000"
    net: str = "tcp"
    delete: bool = False
    schema1: bool = False
    read_only: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    level: str = "info"
    access_log: bool = True
    realm: str = ""
    htpasswd: Path | None = None
    service: str = ""
    token_users: Path | None = None
    anonymous_pull: bool = False


def _string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError("expected a string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError("expected true or false")
    return value


def _path(value: object) -> Path:
    return Path(_string(value))


def _level(value: object) -> str:
    if value not in LEVELS:
        raise ConfigError(f"expected one of {', '.join(LEVELS)}")
    return str(value)


def _net(value: object) -> str:
    if value not in {"tcp", "unix"}:
        raise ConfigError("expected tcp or unix")
    return str(value)


def _version(value: object) -> str:
    if str(value) != "0.1":
        raise ConfigError("expected 0.1")
    return "0.1"


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ConfigError("expected a mapping of names to lists of values")
    found = []
    for name, values in value.items():
        for item in values if isinstance(values, list) else [values]:
            text = f"{name}{item}"
            if not isinstance(name, str) or not isinstance(item, str) or any(ord(char) < 32 for char in text):
                raise ConfigError(f"{name!r}: expected strings without control characters")
            found.append((name, item))
    return tuple(found)


_KEYS: Final = {
    "version": ("version", _version),
    "log.level": ("level", _level),
    "log.accesslog.disabled": ("access_log_off", _boolean),
    "storage.filesystem.rootdirectory": ("root", _path),
    "storage.delete.enabled": ("delete", _boolean),
    "storage.maintenance.readonly.enabled": ("read_only", _boolean),
    "http.addr": ("address", _string),
    "http.net": ("net", _net),
    "http.headers": ("headers", _headers),
    "http.tls.certificate": ("certificate", _path),
    "http.tls.key": ("key", _path),
    "auth.htpasswd.realm": ("realm", _string),
    "auth.htpasswd.path": ("htpasswd", _path),
    # Ours: docker-registry only knows token services of others.
    "auth.tokenservice.service": ("service", _string),
    "auth.tokenservice.path": ("token_users", _path),
    "auth.tokenservice.anonymouspull": ("anonymous_pull", _boolean),
    "compatibility.schema1.enabled": ("schema1", _boolean),
}


def parse_config(text: str) -> Config:
    """Return the configuration that YAML `text` describes. Raises ConfigError."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}") from error
    found: dict[str, Any] = {}
    _collect(document, "", found)
    if found.pop("version", None) is None:
        raise ConfigError("version: missing (expected 0.1)")
    if "root" not in found:
        raise ConfigError("storage.filesystem.rootdirectory: missing")
    if ("certificate" in found) != ("key" in found):
        raise ConfigError("http.tls: certificate and key belong together")
    if ("realm" in found) != ("htpasswd" in found):
        raise ConfigError("auth.htpasswd: realm and path belong together")
    if ("service" in found) != ("token_users" in found) or (
        "anonymous_pull" in found and "service" not in found
    ):
        raise ConfigError("auth.tokenservice: service and path belong together")
    if "htpasswd" in found and "token_users" in found:
        raise ConfigError("auth: htpasswd and tokenservice exclude each other")
    if "access_log_off" in found:
        found["access_log"] = not found.pop("access_log_off")
    return Config(**found)


def _collect(value: object, path: str, found: dict[str, Any]) -> None:
    if path in _KEYS:
        name, convert = _KEYS[path]
        try:
            found[name] = convert(value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return
    known = sorted({_next(key, path) for key in _KEYS if not path or key.startswith(f"{path}.")})
    if not isinstance(value, dict):
        raise ConfigError(f"{path or 'configuration'}: expected a mapping with keys of {', '.join(known)}")
    for key, item in value.items():
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; supported here: {', '.join(known)}"
            raise ConfigError(f"{f'{path}.{key}' if path else key}: not supported{hint}")
        _collect(item, f"{path}.{key}" if path else str(key), found)


def _next(key: str, path: str) -> str:
    return key[len(path) :].lstrip(".").split(".")[0]
