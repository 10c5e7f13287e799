"""Where the engine is: options, environment, config.json and contexts, in docker's order of precedence.

--context; else --host or DOCKER_HOST, which mean the context `default`; else DOCKER_CONTEXT; else `currentContext` of
config.json; else `default`, at /var/run/docker.sock. TLS options and DOCKER_TLS, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH belong
to the context `default`; another one has its own files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sixhops.docker import config
from sixhops.docker.engine import contexts
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.values import os_error, quote

if TYPE_CHECKING:
    from sixhops.docker.flags import Options

__all__ = ["parse_host", "settings"]

_TCP = "tcp://localhost:2375"
_TLS_TCP = "tcp://localhost:2376"

# the client itself logs nothing, whatever the level; a level that is none is refused as docker refuses it
_LOG_LEVELS = frozenset({"trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"})


def settings(options: Options) -> config.Settings:
    """Return the settings that options, environment and files give together. Raises DockerError, ExitError."""
    directory = options["config"] or config.default_directory()
    if options["log-level"] not in _LOG_LEVELS:
        raise ExitError(1, f"Unable to parse logging level: {options['log-level']}")
    found = config.Settings(directory=directory, debug=options["debug"], document=config.load(directory))
    found.context = _context_name(options, found)
    found.default_host, found.default_tls, found.default_verify = _default(options, directory)
    if found.context == contexts.DEFAULT:
        found.host, found.tls, found.verify = found.default_host, found.default_tls, found.default_verify
    else:
        _from_context(found)
    return found


def parse_host(text: str, *, tls: bool = False) -> str:
    """Return an engine's address with everything that may be left out. Raises DockerError for one that is none."""
    text = text.strip()
    if not text:
        return _TLS_TCP if tls else config.DEFAULT_HOST
    scheme, found, place = text.partition("://")
    if not found:
        scheme, place = "tcp", text
    if scheme == "tcp":
        return _tcp(place)
    if scheme in ("unix", "npipe"):
        if "://" in place:
            raise DockerError(f"Invalid proto, expected {scheme}: {place}")
        default = "/var/run/docker.sock" if scheme == "unix" else "//./pipe/docker_engine"
        return f"{scheme}://{place or default}"
    if scheme in ("fd", "ssh"):
        return text
    raise DockerError(f"Invalid bind address format: {text}")


def _tcp(place: str) -> str:
    if not place:
        return _TCP
    if "://" in place:
        raise DockerError(f"Invalid proto, expected tcp: {place}")
    parts = urlsplit(f"tcp://{place}")
    host, colon, port = parts.netloc.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = parts.netloc, ""
    if port and not port.isdigit():
        raise DockerError(f'parse "tcp://{place}": invalid port ":{port}" after host')
    if host.startswith("[") and not port:
        raise DockerError(
            f"Invalid bind address format: {place}"
        )  # docker adds brackets before a port that it adds
    if ":" in host and not host.startswith("["):
        host, port = f"[{parts.netloc}]", ""
    return f"tcp://{host or 'localhost'}:{port or '2375'}{parts.path}"


def _context_name(options: Options, found: config.Settings) -> str:
    if options["context"] and options["host"]:
        raise DockerError("Conflicting options: either specify --host or --context, not both")
    if options["context"]:
        return str(options["context"])
    if options["host"] or "DOCKER_HOST" in os.environ:
        return contexts.DEFAULT
    if "DOCKER_CONTEXT" in os.environ:
        return os.environ["DOCKER_CONTEXT"]
    current = found.text("currentContext")
    if current and not contexts.Store(found.directory).exists(current):
        raise DockerError(
            f"Current context {quote(current)} is not found on the file system, please check your config file at "
            f"{found.directory}/config.json"
        )
    return current or contexts.DEFAULT


def _default(options: Options, directory: str) -> tuple[str, tuple[str, str, str] | None, bool]:
    """Return address, TLS files and whether the engine's certificate is checked, for the context `default`."""
    if len(options["host"]) > 1:
        raise ExitError(1, "unable to resolve docker endpoint: Please specify only one -H")
    certificates = os.environ.get("DOCKER_CERT_PATH") or directory
    verify = options["tlsverify"] or (
        "tlsverify" not in options.given and bool(os.environ.get("DOCKER_TLS_VERIFY"))
    )
    wanted = verify or "tlsverify" in options.given or options["tls"]
    wanted = wanted or ("tls" not in options.given and bool(os.environ.get("DOCKER_TLS")))
    tls = None
    if wanted:
        chosen = [options["tlscacert"] or f"{certificates}/ca.pem"]
        for name, file in (("tlscert", "cert.pem"), ("tlskey", "key.pem")):
            path = options[name] or f"{certificates}/{file}"
            chosen.append(path if options[name] or os.path.exists(path) else "")
        tls = (chosen[0], chosen[1], chosen[2])
    try:
        host = options["host"][0] if options["host"] else os.environ.get("DOCKER_HOST", "")
        return parse_host(host, tls=tls is not None), tls, verify
    except DockerError as error:
        raise ExitError(1, f"unable to resolve docker endpoint: {error}") from error


def _from_context(found: config.Settings) -> None:
    """Take address and TLS files from a context of the store."""
    store = contexts.Store(found.directory)
    try:
        context = store.get(found.context)
        endpoint: dict[str, Any] | None = (context.get("Endpoints") or {}).get(contexts.ENDPOINT)
        if endpoint is None:
            raise DockerError("cannot find docker endpoint in context")
        found.host = parse_host(str(endpoint.get("Host") or ""))
        files = store.tls_files(found.context).get(contexts.ENDPOINT, [])
    except DockerError as error:
        raise DockerError(f"unable to resolve docker endpoint: {error}") from error
    skip = bool(endpoint.get("SkipTLSVerify"))
    if files or skip:
        paths = [
            store.tls_path(found.context, contexts.ENDPOINT, name) if name in files else ""
            for name in contexts.TLS_FILES
        ]
        found.tls = (paths[0], paths[1], paths[2])
        found.verify = not skip


def check_tls(found: config.Settings) -> None:
    """Raise DockerError for a TLS file that was named and can't be read."""
    for path in found.tls or ():
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                reason = os_error("open", path, error)
                raise DockerError(f"unable to resolve docker endpoint: {reason}") from error
