"""`--docker` of `context create` and `update`: NAME=VALUE pairs that say where an engine is and how to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.docker.engine import contexts, endpoint
from sixhops.docker.errors import DockerError
from sixhops.docker.values import boolean, os_error, quote

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_orchestrator", "endpoint_of", "orchestrator", "read"]

_KEYS = ("from", "host", "ca", "cert", "key", "skip-tls-verify")


def endpoint_of(
    given: dict[str, str], find: Callable[[str], dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the endpoint and its TLS files. `find` returns another context. Raises DockerError."""
    wrong = [f"{key}: unrecognized config key" for key in given if key not in _KEYS]
    if wrong:
        raise DockerError("\n".join(wrong))
    if "from" in given:
        other = find(given["from"])
        found = (other.get("Endpoints") or {}).get(contexts.ENDPOINT)
        if found is None:
            raise DockerError(f"unable to get endpoint from context {quote(given['from'])}")
        return found, {}
    files = {
        name: read(given[key])
        for name, key in zip(contexts.TLS_FILES, ("ca", "cert", "key"), strict=True)
        if given.get(key)
    }
    skip = _switch(given, "skip-tls-verify")
    host = given.get("host", "")
    _check(host, files)
    return {**({"Host": host} if host else {}), "SkipTLSVerify": skip}, files


def orchestrator(text: str) -> str:
    """Return --default-stack-orchestrator as contexts keep it. Raises DockerError for one that is none."""
    if text in ("", "swarm", "kubernetes", "all"):
        return text
    raise DockerError(
        f"unable to parse default-stack-orchestrator: specified orchestrator {quote(text)} is invalid, please use "
        "either kubernetes, swarm or all"
    )


def check_orchestrator(context: dict[str, Any]) -> None:
    """Raise DockerError for a context whose stacks are Kubernetes' and that has no Kubernetes."""
    chosen = (context.get("Metadata") or {}).get("StackOrchestrator", "")
    if chosen in ("kubernetes", "all") and "kubernetes" not in (context.get("Endpoints") or {}):
        raise DockerError(
            f"cannot specify orchestrator {quote(chosen)} without configuring a Kubernetes endpoint"
        )


def _check(host: str, files: dict[str, bytes]) -> None:
    """Raise DockerError for an address that no client could use, and for TLS files that hold no key."""
    if not host:
        return
    scheme, found, place = host.partition("://")
    if scheme == "ssh" and found:
        from sixhops.docker.engine import ssh  # noqa: PLC0415 - only there

        try:
            ssh.arguments(host)
        except DockerError as error:
            raise DockerError(f"invalid docker endpoint options: {error}") from error
        return
    if not found:
        raise DockerError(f"unable to apply docker endpoint options: unable to parse docker host `{host}`")
    if scheme == "tcp":
        endpoint.parse_host(f"tcp://{place}")
    for name in contexts.TLS_FILES:
        if name in files and b"-----BEGIN" not in files[name]:
            said = {
                "ca.pem": "failed to retrieve context tls info: ca.pem seems invalid",
                "cert.pem": "failed to retrieve context tls info: tls: failed to find any PEM data in certificate input",
                "key.pem": "no valid private key found",
            }[name]
            raise DockerError(f"invalid docker endpoint options: {said}")


def _switch(given: dict[str, str], key: str) -> bool:
    if key not in given:
        return False
    try:
        return boolean(given[key])
    except ValueError as error:
        raise DockerError(f"{key}: {error}") from error


def read(path: str) -> bytes:
    """Return what is in a file. Raises DockerError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DockerError(os_error("open", path, error)) from error
