"""An engine that runs already: its address in all spellings, and what of its host can be seen from here.

unix://, tcp:// with or without TLS, ssh://, DOCKER_HOST, docker contexts. Nothing is started but the ssh
connection.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.stack.programs import SYSTEM_PATH
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "client_path", "engine_process", "resolve_endpoint"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"

# Who may stand behind an engine's socket: the engine, or systemd, which listens for it (socket activation).
_ENGINES = ("dockerd", "podman", "systemd", "init")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine is, as the user said and as it was understood.

    `address` is set unless `ssh` (user@host[:port]) has to be connected first; `socket_path` is the engine's
    socket there.
    """

    name: str
    address: Address | None
    ssh: str | None = None
    socket_path: str = "/var/run/docker.sock"


def resolve_endpoint(name: str, environment: Mapping[str, str]) -> Endpoint:
    """Return the endpoint for an address, for `env` (DOCKER_HOST, else the current context) or for
    `context:NAME`.

    `environment` supplies DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH, DOCKER_CONTEXT,
    DOCKER_CONFIG and HOME, with the docker client's meaning. Raises UsageError.
    """
    if name == "env":
        host = environment.get("DOCKER_HOST")
        if host:
            return _from_url(host, host, _environment_tls(environment))
        context = environment.get("DOCKER_CONTEXT") or _current_context(environment)
        return (
            resolve_endpoint(f"context:{context}", environment)
            if context
            else _from_url(DEFAULT_ENGINE, DEFAULT_ENGINE, None)
        )
    if name.startswith("context:"):
        return _from_context(name, name.removeprefix("context:"), environment)
    return _from_url(name, name, _environment_tls(environment) if name.startswith("tcp://") else None)


def engine_process(path: Path) -> int | str:
    """Return the pid of the process that listens on a unix socket, or a sentence why the engine's host can't
    be seen by it.

    The kernel tells who called listen(2) on the socket (SO_PEERCRED), in our own pid namespace's numbers.
    """
    if os.geteuid() != 0:
        return "only root can look into the engine's processes"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError as error:
            return f"can't connect to {path}: {error.strerror or error}"
        pid: int
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid == 0:
        return f"the process behind {path} is outside our pid namespace"
    try:
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"the process that listened on {path} has ended"
    if not comm.startswith(_ENGINES):
        return f"the process behind {path} is {comm}, not an engine, which may be on another machine"
    if comm in {"systemd", "init"} and not _runs_here("dockerd"):
        return f"systemd listens on {path}, and no dockerd runs in our pid namespace"
    return pid


def client_path() -> str | None:
    """Return the docker client on this machine: the system's own before one that a user put on PATH; None
    without any.
    """
    return shutil.which("docker", path=f"/usr/bin:{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def _from_url(name: str, url: str, tls: ssl.SSLContext | None) -> Endpoint:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UsageError(f"{url!r} is not an address; it is unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST")
    if scheme == "unix":
        if not rest.startswith("/"):
            raise UsageError(f"{url!r} has no absolute path after unix://")
        return Endpoint(name, Address(url, unix=Path(rest)))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not an address: {error}") from error
    if scheme in {"tcp", "http", "https"}:
        if not host:
            raise UsageError(f"{url!r} names no host")
        if scheme == "https" and tls is None:
            tls = ssl.create_default_context()
        return Endpoint(name, Address(url, host=host, port=port or (2376 if tls else 2375), tls=tls))
    if scheme == "ssh":
        if not host or host.startswith("-"):
            raise UsageError(f"{url!r} names no host")
        if parts.password is not None:
            raise UsageError(
                f"the address of {host} holds a password; ssh takes keys only, as with the docker client"
            )
        user = f"{parts.username}@" if parts.username else ""
        path = parts.path if parts.path not in {"", "/"} else "/var/run/docker.sock"
        shown = f"[{host}]" if ":" in host else host
        return Endpoint(name, None, ssh=f"{user}{shown}" + (f":{port}" if port else ""), socket_path=path)
    raise UsageError(f"no such kind of address: {url!r}; it is unix://, tcp:// or ssh://")


def _environment_tls(environment: Mapping[str, str]) -> ssl.SSLContext | None:
    # The client's rule: any non-empty DOCKER_TLS_VERIFY verifies the server, and DOCKER_TLS alone only
    # encrypts.
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not verify and not environment.get("DOCKER_TLS"):
        return None
    directory = Path(environment.get("DOCKER_CERT_PATH") or _config_directory(environment))
    return _tls_context(directory, verify=verify)


def _tls_context(directory: Path, *, verify: bool) -> ssl.SSLContext:
    ca, certificate, key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
    try:
        context = ssl.create_default_context(cafile=str(ca) if verify or ca.exists() else None)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate.exists() or key.exists():
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"can't read TLS files (ca.pem, cert.pem, key.pem) in {directory}: {error}"
        ) from error
    return context


def _config_directory(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "/root") / ".docker")


def _current_context(environment: Mapping[str, str]) -> str | None:
    path = _config_directory(environment) / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read the docker client's settings in {path}: {error}") from error
    current = config.get("currentContext") if isinstance(config, dict) else None
    return current if isinstance(current, str) and current else None


def _from_context(name: str, context: str, environment: Mapping[str, str]) -> Endpoint:
    if context == "default":
        host = environment.get("DOCKER_HOST") or DEFAULT_ENGINE
        return _from_url(name, host, _environment_tls(environment))
    contexts = _config_directory(environment) / "contexts"
    # The client names a context's directories by the SHA-256 of its name.
    key = hashlib.sha256(context.encode()).hexdigest()
    path = contexts / "meta" / key / "meta.json"
    try:
        endpoint = json.loads(path.read_text())["Endpoints"]["docker"]
        host = endpoint["Host"]
    except FileNotFoundError:
        known = ", ".join(["default", *_context_names(contexts)])
        raise UsageError(f"no such docker context: {context!r}; there are {known}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"can't read the docker context {context!r} in {path}: {error}") from error
    tls = None
    directory = contexts / "tls" / key / "docker"
    if directory.is_dir():
        tls = _tls_context(directory, verify=not endpoint.get("SkipTLSVerify", False))
    return _from_url(name, host, tls)


def _context_names(contexts: Path) -> list[str]:
    names = []
    for path in sorted(contexts.glob("meta/*/meta.json")):
        try:
            names.append(str(json.loads(path.read_text())["Name"]))
        except (OSError, ValueError, KeyError, TypeError):
            names.append(f"(unreadable: {path})")
    return names


def _runs_here(comm: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == comm:
                return True
        except OSError as error:
            if not isinstance(error, FileNotFoundError | ProcessLookupError):
                raise TargetError(f"can't read {path}: {error}") from error
    return False
