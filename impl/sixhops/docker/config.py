"""The client's settings: config.json in DOCKER_CONFIG (or ~/.docker), and where the engine is.

Keys that mean something here: auths, credsStore, credHelpers, HttpHeaders, detachKeys, psFormat, imagesFormat,
proxies. Other keys belong to other commands and are left alone.
"""

# ruff: noqa: PTH111, PTH123 - pathlib would cost every start of the client several milliseconds

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

from sixhops.docker.errors import DockerError

__all__ = ["Settings", "credentials", "load", "proxy_environment"]

DEFAULT_HOST = "unix:///var/run/docker.sock"

#: config.json and the key under which Docker Hub's credentials are kept
_FILE = "config.json"
_HUB = "https://index.docker.io/v1/"


@dataclass(slots=True)
class Settings:
    """What a command knows of its surroundings. `document` is config.json as read; `host` the engine's address.

    `tls` is None, or the three file names (CA, certificate, key); `verify` whether the server's certificate is checked.
    """

    directory: str
    host: str = DEFAULT_HOST
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


def credentials(settings: Settings, registry: str) -> dict[str, str]:
    """Return what X-Registry-Auth says for `registry` ("docker.io" for the Hub): {} when nobody is logged in.

    Credential helpers are asked (docker-credential-NAME get). Raises DockerError when one fails.
    """
    key = _HUB if registry == "docker.io" else registry
    helper = _mapping(settings.document, "credHelpers").get(key) or settings.text("credsStore")
    if helper:
        return _ask_helper(str(helper), key)
    for name, entry in _mapping(settings.document, "auths").items():
        if isinstance(entry, dict) and (name == key or (key != _HUB and _host_of(name) == key)):
            return _from_entry(entry, key)
    return {}


def proxy_environment(settings: Settings, host: str) -> dict[str, str]:
    """Return the variables that config.json's `proxies` give to each container of the engine at `host`."""
    proxies = _mapping(settings.document, "proxies")
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


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _host_of(name: str) -> str:
    return name.removeprefix("http://").removeprefix("https://").split("/")[0]


def _from_entry(entry: dict[str, Any], server: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        user, _, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DockerError(f"Invalid auth configuration file: {error}") from error
    if user:
        found = {"username": user, "password": password.rstrip("\0")}
    if entry.get("identitytoken"):
        found["identitytoken"] = str(entry["identitytoken"])
        found.pop("password", None)
    if entry.get("registrytoken"):
        found["registrytoken"] = str(entry["registrytoken"])
    return {**found, "serveraddress": server} if found else {}


def _ask_helper(helper: str, key: str) -> dict[str, str]:
    import subprocess  # noqa: PLC0415 - only with helpers

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, "get"], input=key.encode(), capture_output=True, check=False)
    except OSError as error:
        raise DockerError(
            f'error getting credentials - err: exec: "{program}": executable file not found in $PATH, out: ``'
        ) from error
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        if "credentials not found" in output:
            return {}
        raise DockerError(f"error getting credentials - err: exit status {done.returncode}, out: `{output}`")
    answer = json.loads(output)
    if answer["Username"] == "<token>":
        return {"identitytoken": answer["Secret"], "serveraddress": key}
    return {"username": answer["Username"], "password": answer["Secret"], "serveraddress": key}
