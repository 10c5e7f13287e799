"""The engine that two clients are compared on: how it is put back between two command lines."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Engine"]

_BUILT_IN = {"bridge", "host", "none"}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


class Engine:
    """An engine at a unix socket. `clean` brings it back to the images that it had in the beginning and nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _Connection(path)
        self._images = self._names()

    def ask(self, method: str, path: str) -> Any:
        """Send a request without a body and return the answer's JSON (None for no body)."""
        self._connection.request(method, path)
        answer = self._connection.getresponse()
        body = answer.read()
        try:
            return json.loads(body) if body.strip() else None
        except ValueError:
            return body

    def clean(self) -> None:
        """Remove containers, volumes, networks and images that were not there in the beginning."""
        for container in self.ask("GET", "/containers/json?all=1"):
            self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for volume in self.ask("GET", "/volumes")["Volumes"] or []:
            self.ask("DELETE", f"/volumes/{quote(volume['Name'])}?force=1")
        for network in self.ask("GET", "/networks"):
            if network["Name"] not in _BUILT_IN:
                self.ask("DELETE", f"/networks/{network['Id']}")
        now = self._names()
        for name in now - self._images:
            self.ask("DELETE", f"/images/{quote(name, safe='/:@')}?force=1")
        for name in self._images - now:
            self.ask("POST", f"/images/create?fromImage={quote(name, safe='')}")

    def close(self) -> None:
        self._connection.close()

    def _names(self) -> set[str]:
        found = set()
        for image in self.ask("GET", "/images/json"):
            tags = [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]
            found |= set(tags or [image["Id"]])
        return found
