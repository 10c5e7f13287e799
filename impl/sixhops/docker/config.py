"""The client's settings: config.json in DOCKER_CONFIG (or ~/.docker), and where the engine is.

Keys that mean something here: auths, credsStore, credHelpers, HttpHeaders, detachKeys, psFormat, imagesFormat,
networksFormat, volumesFormat, statsFormat, pruneFilters, currentContext, proxies. Other keys are left alone.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

from sixhops.docker.errors import DockerError
from sixhops.docker.values import os_error

__all__ = ["DEFAULT_HOST", "Settings", "default_directory", "load", "mapping", "proxy_environment", "save"]

DEFAULT_HOST = "unix:///var/run/docker.sock"

_FILE = "config.json"
#: The order of docker's keys in a file that it writes; others follow.
_ORDER = (
    "auths", "HttpHeaders", "psFormat", "imagesFormat", "networksFormat", "pluginsFormat", "volumesFormat",
    "statsFormat", "detachKeys", "credsStore", "credHelpers", "serviceInspectFormat", "servicesFormat", "tasksFormat",
    "secretFormat", "configFormat", "nodesFormat", "pruneFilters", "proxies", "experimental", "stackOrchestrator",
    "kubernetes", "currentContext", "cliPluginsExtraDirs", "plugins", "aliases",
)  # fmt: skip


@dataclass(slots=True)
class Settings:
    """What a command knows of its surroundings. `document` is config.json as read; `host` the engine's address.

    `tls` is None, or the three file names (CA, certificate, key; "" for one that there is not); `verify` whether the
    server's certificate is checked. `context` is the context in use; `default_host`, `default_tls` and
    `default_verify` are those of the context `default`, whichever is in use.
    """

    directory: str
    host: str = DEFAULT_HOST
    context: str = "default"
    default_host: str = DEFAULT_HOST
    default_tls: tuple[str, str, str] | None = None
    default_verify: bool = False
    tls: tuple[str, str, str] | None = None
    verify: bool = False
    debug: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return a text of config.json, "" when it isn't there."""
        value = self.document.get(key)
        return value if isinstance(value, str) else ""

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that config.json adds to every request."""
        value = self.document.get("HttpHeaders")
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def load(directory: str) -> dict[str, Any]:
    """Return config.json of `directory`, {} when there is none; one that can't be read is said on stderr, as docker does."""
    path = f"{directory}/{_FILE}"
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        sys.stderr.write(f"WARNING: Error loading config file: {path}: {error}\n")
        return {}
    if not isinstance(document, dict):
        sys.stderr.write(f"WARNING: Error loading config file: {path}: it holds no object\n")
        return {}
    return document


def save(settings: Settings) -> None:
    """Write config.json: beside the old one, then in its place, with its mode. Raises DockerError."""
    import tempfile  # noqa: PLC0415 - only here

    document = {"auths": {}, **settings.document}
    ranks = {key: index for index, key in enumerate(_ORDER)}
    ordered = dict(sorted(document.items(), key=lambda item: ranks.get(item[0], len(ranks))))
    path = os.path.realpath(f"{settings.directory}/{_FILE}")
    temporary = ""
    try:
        os.makedirs(settings.directory, 0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_FILE, dir=settings.directory)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(ordered, indent="\t", ensure_ascii=False))
        if os.path.exists(path):
            state = os.stat(path)
            os.chmod(temporary, state.st_mode & 0o7777)
            os.chown(temporary, state.st_uid, state.st_gid)
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise DockerError(os_error("open", path, error)) from error


def proxy_environment(settings: Settings, host: str) -> dict[str, str]:
    """Return the variables that config.json's `proxies` give to each container of the engine at `host`."""
    proxies = mapping(settings.document, "proxies")
    chosen = proxies.get(host) or proxies.get("default")
    if not isinstance(chosen, dict):
        return {}
    names = {
        "httpProxy": "HTTP_PROXY",
        "httpsProxy": "HTTPS_PROXY",
        "noProxy": "NO_PROXY",
        "ftpProxy": "FTP_PROXY",
    }
    found: dict[str, str] = {}
    for key, name in names.items():
        if chosen.get(key):
            found[name] = found[name.lower()] = str(chosen[key])
    return found


def default_directory() -> str:
    """Return DOCKER_CONFIG, or .docker in the home directory."""
    return os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping of config.json, {} when it isn't there."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}
