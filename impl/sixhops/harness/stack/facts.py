"""What a target says of itself: GET /version and GET /info, turned into `TargetFacts`; and a client to ask
with.
"""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING, Any

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.target import TargetFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.exchange import Json
    from sixhops.harness.scenario.model import Hop
    from sixhops.harness.target import Address

__all__ = ["engine_client", "read_facts"]


def engine_client(address: Address, timeout: float) -> httpx.Client:
    """Return a client for the engine at `address`, for the harness's own requests (they are not recorded).

    `timeout` in seconds holds for each request. Proxy settings of the environment don't apply. Without TLS there is
    nothing to verify, and loading the machine's certificates, httpx's default, takes 30 ms.
    """
    if address.unix is not None:
        transport = httpx.HTTPTransport(uds=str(address.unix), verify=False)
        return httpx.Client(
            transport=transport,
            base_url="http://engine",
            timeout=timeout,
            trust_env=False,
            event_hooks={"request": [_Probe(str(address.unix))]},
        )
    scheme = "https" if address.tls is not None else "http"
    host = f"[{address.host}]" if address.host and ":" in address.host else address.host
    transport = httpx.HTTPTransport(verify=address.tls or False)
    return httpx.Client(
        transport=transport, base_url=f"{scheme}://{host}:{address.port}", timeout=timeout, trust_env=False
    )


class _Probe:
    """Connects before a request does: httpcore 1.0 leaves its unix socket open when it can't be connected."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, request: httpx.Request) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self._path)
            except OSError as error:
                raise httpx.ConnectError(error.strerror or str(error), request=request) from error


def read_facts(
    client: httpx.Client,
    address: Address,
    name: str,
    programs: Mapping[str, str],
    hops: Mapping[Hop, str | None],
    variables: Mapping[str, Json],
) -> TargetFacts:
    """Ask the engine what it is; raises TargetError, in one line, when it can't be reached or isn't a Docker
    engine.
    """
    version, info = (_get(client, address, path) for path in ("/version", "/info"))
    try:
        facts = TargetFacts(
            name=name,
            engine_version=version["Version"],
            api_minimum=_api(version.get("MinAPIVersion") or "1.12"),
            api_maximum=_api(version["ApiVersion"]),
            root=not any("rootless" in option for option in info.get("SecurityOptions") or []),
            cgroup_version=int(info.get("CgroupVersion") or 1),
            operating_system=info.get("OperatingSystem") or version.get("Os", ""),
            architecture=version["Arch"],
            experimental=bool(version.get("Experimental")),
            programs=dict(programs),
            hops=dict(hops),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TargetError(
            f"{address.text} does not answer as a Docker engine does: /version or /info lacks {error}"
        ) from error
    known: dict[str, Json] = {
        "name": name,
        "version": facts.engine_version,
        "api": version["ApiVersion"],
        "api_minimum": version.get("MinAPIVersion") or "1.12",
        "architecture": facts.architecture,
        "operating_system": facts.operating_system,
        "kernel": version.get("KernelVersion", ""),
        "cgroup_version": facts.cgroup_version,
        "cgroup_driver": info.get("CgroupDriver", ""),
        "data_root": info.get("DockerRootDir", ""),
        **variables,
    }
    return dataclasses.replace(facts, variables=known)


def _get(client: httpx.Client, address: Address, path: str) -> dict[str, Any]:
    try:
        answer = client.get(path)
    except httpx.TimeoutException as error:
        raise TargetError(
            f"{address.text} did not answer GET {path} within {client.timeout.read:g} s"
        ) from error
    except httpx.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TargetError(f"can't reach {address.text}: {reason}") from error
    try:
        value = answer.json()
    except ValueError as error:
        raise TargetError(
            f"{address.text} answered GET {path} with {answer.status_code} and no JSON: is it an engine?"
        ) from error
    if answer.status_code != 200 or not isinstance(value, dict):
        raise TargetError(f"{address.text} answered GET {path} with {answer.status_code}: {str(value)[:200]}")
    return value


def _api(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
