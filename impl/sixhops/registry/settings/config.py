"""docker-registry's YAML configuration, version 0.1: what this registry does with it, and nothing else.

A key that is not listed in `_KEYS` is an error that names its path: a setting that is silently ignored
would be a promise that is not kept. Environment variables override keys, as docker-registry has it:
REGISTRY_HTTP_ADDR stands for http.addr, its value is YAML.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import yaml

from sixhops.registry.settings import values
from sixhops.registry.settings.values import LEVELS, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LEVELS", "Config", "ConfigError", "parse_config"]

_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Config:
    """How one registry runs. Times are seconds.

    `address` is host:port (host may be empty: all), or a socket path when `net` is unix. `headers` are
    added to every answer. `certificate` and `key` are PEM files; both or none; `client_authorities` are who may
    sign clients' certificates. `host` is the URL by which clients reach us, when requests don't say; `prefix` the
    path above /v2/. `remote` makes this a pull-through mirror of another registry.
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
    client_authorities: tuple[Path, ...] = ()
    minimum_tls: str = "tls1.2"
    level: str = "info"
    formatter: str = "text"
    fields: tuple[tuple[str, str], ...] = ()
    access_log: bool = True
    realm: str = ""
    htpasswd: Path | None = None
    service: str = ""
    token_users: Path | None = None
    anonymous_pull: bool = False
    purge: bool = True
    purge_age: float = 7 * _DAY
    purge_interval: float = _DAY
    purge_dry_run: bool = False
    host: str = ""
    prefix: str = ""
    secret: str = ""
    relative_urls: bool = False
    drain_seconds: float = 5.0
    catalog_limit: int = 1000
    watch_storage: bool = False
    watch_interval: float = 10.0
    watch_threshold: int = 3
    remote: str = ""
    remote_user: str = ""
    remote_password: str = ""


#: Key path: where in Config it goes ("" for what only describes what we do anyhow), and how it is read.
_KEYS: Final[dict[str, tuple[str, Any]]] = {
    "version": ("version", values.version),
    "log.level": ("level", values.word(*LEVELS)),
    "log.formatter": ("formatter", values.word("text", "json")),
    "log.fields": ("fields", values.fields),
    "log.accesslog.disabled": ("access_log_off", values.boolean),
    "storage.filesystem.rootdirectory": ("root", values.path),
    # Manifests lie in memory as long as there is room; there is no other cache.
    "storage.cache.blobdescriptor": ("", values.word("inmemory")),
    "storage.delete.enabled": ("delete", values.boolean),
    # A directory has no URL to send clients to, whatever this says.
    "storage.redirect.disable": ("", values.boolean),
    "storage.maintenance.readonly.enabled": ("read_only", values.boolean),
    "storage.maintenance.uploadpurging.enabled": ("purge", values.boolean),
    "storage.maintenance.uploadpurging.age": ("purge_age", values.duration),
    "storage.maintenance.uploadpurging.interval": ("purge_interval", values.duration),
    "storage.maintenance.uploadpurging.dryrun": ("purge_dry_run", values.boolean),
    "http.addr": ("address", values.string),
    "http.net": ("net", values.word("tcp", "unix")),
    "http.host": ("host", values.url),
    "http.prefix": ("prefix", values.prefix),
    "http.secret": ("secret", values.string),
    "http.relativeurls": ("relative_urls", values.boolean),
    "http.draintimeout": ("drain_seconds", values.duration),
    "http.headers": ("headers", values.headers),
    "http.tls.certificate": ("certificate", values.path),
    "http.tls.key": ("key", values.path),
    "http.tls.clientcas": ("client_authorities", values.paths),
    "http.tls.minimumtls": ("minimum_tls", values.word("tls1.2", "tls1.3")),
    "http.http2.disabled": ("", values.always(True)),
    "auth.htpasswd.realm": ("realm", values.string),
    "auth.htpasswd.path": ("htpasswd", values.path),
    # Ours: docker-registry only knows token services of others.
    "auth.tokenservice.service": ("service", values.string),
    "auth.tokenservice.path": ("token_users", values.path),
    "auth.tokenservice.anonymouspull": ("anonymous_pull", values.boolean),
    "health.storagedriver.enabled": ("watch_storage", values.boolean),
    "health.storagedriver.interval": ("watch_interval", values.duration),
    "health.storagedriver.threshold": ("watch_threshold", values.count),
    "catalog.maxentries": ("catalog_limit", values.count),
    "proxy.remoteurl": ("remote", values.url),
    "proxy.username": ("remote_user", values.string),
    "proxy.password": ("remote_password", values.string),
    "compatibility.schema1.enabled": ("schema1", values.boolean),
}
_TOGETHER: Final = (
    ("http.tls: certificate and key", "certificate", "key"),
    ("auth.htpasswd: realm and path", "realm", "htpasswd"),
    ("auth.tokenservice: service and path", "service", "token_users"),
    ("proxy: username and password", "remote_user", "remote_password"),
)
_NEEDS: Final = (
    ("auth.tokenservice: anonymouspull", "anonymous_pull", "service and path", "service"),
    ("http.tls: clientcas", "client_authorities", "certificate and key", "certificate"),
    ("http.tls: minimumtls", "minimum_tls", "certificate and key", "certificate"),
    ("proxy: username", "remote_user", "remoteurl", "remote"),
)
#: What a variable that is meant for a registry begins with; others that begin with REGISTRY_ are somebody else's.
_SECTIONS: Final = tuple(
    f"REGISTRY_{name}_"
    for name in (
        *("AUTH", "CATALOG", "COMPATIBILITY", "HEALTH", "HTTP", "LOG", "MIDDLEWARE", "NOTIFICATIONS"),
        *("POLICY", "PROXY", "REDIS", "REPORTING", "STORAGE", "VALIDATION"),
    )
)


def parse_config(text: str, environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration that YAML `text` describes, as `environment` changes it. Raises ConfigError."""
    found: dict[str, Any] = {}
    _collect(_yaml(text), "", found)
    for name, value in sorted((environment or {}).items()):
        if name.startswith(_SECTIONS):
            _override(name, value, found)
    if found.pop("version", None) is None:
        raise ConfigError("version: missing (expected 0.1)")
    if "root" not in found:
        raise ConfigError("storage.filesystem.rootdirectory: missing")
    for what, one, other in _TOGETHER:
        if (one in found) != (other in found):
            raise ConfigError(f"{what} belong together")
    for what, one, of_what, other in _NEEDS:
        if one in found and other not in found:
            raise ConfigError(f"{what} needs {of_what}")
    if "htpasswd" in found and "token_users" in found:
        raise ConfigError("auth: htpasswd and tokenservice exclude each other")
    if "access_log_off" in found:
        found["access_log"] = not found.pop("access_log_off")
    return Config(**found)


def _yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"not YAML: {error}") from error


def _override(name: str, value: str, found: dict[str, Any]) -> None:
    keys = {f"REGISTRY_{key.upper().replace('.', '_')}": key for key in _KEYS}
    if name not in keys:
        near = get_close_matches(name, keys, n=1)
        raise ConfigError(
            f"{name}: no key of this name is supported{f'; did you mean {near[0]}?' if near else ''}"
        )
    try:
        _collect(_yaml(value), keys[name], found)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _collect(value: object, path: str, found: dict[str, Any]) -> None:
    if path in _KEYS:
        name, convert = _KEYS[path]
        try:
            converted = convert(value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if name:
            found[name] = converted
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
