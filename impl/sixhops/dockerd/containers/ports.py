"""What the containers room needs of its neighbours, as interfaces: the networks."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Endpoint", "Networks"]


class Endpoint(Protocol):
    """A container's place on a network, from start to exit."""

    @property
    def netns(self) -> str:
        """The path of the network namespace for the runtime; "" for the host's own (mode `host`)."""
        ...

    @property
    def address(self) -> str:
        """The IPv4 address for /etc/hosts, "" when there is none."""
        ...

    @property
    def saved(self) -> dict[str, Any]:
        """All of it as JSON, kept in the container's document so that `Networks.recover` can find it after a restart."""
        ...


class Networks(Protocol):
    """Network modes `default`, `bridge`, `host`, `none` and names. `container:ID` is resolved by the containers room.

    `allocate` and `release` also emit the `network` events connect and disconnect.
    """

    async def allocate(self, container_id: str, mode: str, hostname: str, config: dict[str, Any]) -> Endpoint:
        """Make the namespace and the interface. `config` is the request's NetworkingConfig with Config and HostConfig:
        {"EndpointsConfig": {...}, "HostConfig": {...}, "Config": {...}}.

        Raises EngineError (404 `network X not found`), and leaves nothing behind then.
        """
        ...

    async def release(self, container_id: str, endpoint: Endpoint) -> None:
        """Take down what `allocate` made; never raises for what is gone already."""
        ...

    async def recover(self, container_id: str, saved: dict[str, Any]) -> Endpoint:
        """Give back the endpoint of a container that still runs after a restart of the engine."""
        ...

    def settings(
        self, mode: str, config: dict[str, Any], endpoint: Endpoint | None, last: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return `NetworkSettings` of an inspect: with addresses for a live endpoint, emptied without one.

        `last` is `Endpoint.saved` of the last run when the container has run (SandboxID and SandboxKey stay), else None.
        """
        ...
