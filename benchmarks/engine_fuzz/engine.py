"""One engine under fuzz: raw exchanges with it, and the objects that requests speak of, put back after each change."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from benchmarks.engine_fuzz.usage import Usage, grown, measure

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.stack.private import PrivateStack

__all__ = ["Answer", "Engine"]

#: A program looks for a plugin that is not there for half a minute.
_PATIENCE = 45.0
#: Until what requests have begun has ended, in seconds.
_SETTLING = 15.0
#: Answers that do not end (followed logs, statistics) are left after so many seconds.
_STREAM = 0.5
_LONGEST = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_RUNNING, _ENDED, _NETWORK, _VOLUME = "fuzz-running", "fuzz-ended", "fuzz-net", "fuzz-volume"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `status` 0 for a connection that was closed without an answer, -1 for none in time."""

    status: int
    kind: str
    message: str


class Engine:
    """An engine behind a unix socket."""

    def __init__(self, path: Path, stack: PrivateStack | None = None) -> None:
        """`stack` is whose engine it is, None for one that runs elsewhere."""
        self._path = path
        self._stack = stack
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine/v1.41", timeout=60
        )
        self._images: set[str] = set()

    def close(self) -> None:
        """End the connections of the fixture."""
        self._client.close()

    def exchange(self, data: bytes, method: str) -> Answer:
        """Send bytes and return the answer to them; the connection is closed afterwards."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self._path))
            with contextlib.suppress(BrokenPipeError):  # refused before it was read; the answer says why
                connection.sendall(data)
            return _read(connection, method)

    def prepare(self) -> None:
        """Make the objects; everything else that the engine has of their kinds now is left alone later."""
        self._images = {image["Id"] for image in self._get("/images/json?all=1")}
        self.restore()

    def restore(self) -> None:
        """Put the objects back as requests expect them, and remove what requests made."""
        states = {}
        for found in self._get("/containers/json?all=1"):
            name = found["Names"][0].removeprefix("/")
            usual = {_RUNNING: "running", _ENDED: "exited"}.get(name)
            if usual != found["State"] or "(Paused)" in found["Status"]:
                self._do("DELETE", f"/containers/{found['Id']}?force=1&v=1")
            else:
                states[name] = found["State"]
        for name, command in ((_RUNNING, ["sleep", "100000"]), (_ENDED, ["true"])):
            if name not in states:
                body = {
                    "Image": "busybox",
                    "Cmd": command,
                    "StopSignal": "SIGKILL",
                    "Labels": {"fuzz": "1"},
                    "HostConfig": {"NetworkMode": "none"},
                }
                self._do("POST", f"/containers/create?name={name}", body)
                self._do("POST", f"/containers/{name}/start")
        self._do("POST", f"/containers/{_ENDED}/wait")
        networks = {network["Name"]: network for network in self._get("/networks")}
        for name, network in networks.items():
            if name not in {_NETWORK, "bridge", "host", "none"}:
                self._do("DELETE", f"/networks/{network['Id']}")
        if _NETWORK not in networks:
            subnet = {"Subnet": "10.212.0.0/24"}
            self._do("POST", "/networks/create", {"Name": _NETWORK, "IPAM": {"Config": [subnet]}})
        volumes = {volume["Name"] for volume in self._get("/volumes")["Volumes"] or ()}
        for name in volumes - {_VOLUME}:
            self._do("DELETE", f"/volumes/{name}?force=1")
        if _VOLUME not in volumes:
            self._do("POST", "/volumes/create", {"Name": _VOLUME})
        for image in self._get("/images/json?all=1"):
            if image["Id"] not in self._images:
                self._do("DELETE", f"/images/{image['Id']}?force=1")
            for tag in image["RepoTags"] or ():
                if tag.startswith("fuzz"):
                    self._do("DELETE", f"/images/{tag}?force=1")

    def usage(self) -> Usage:
        """Return what the engine uses now."""
        return measure(self._get("/info"), self._stack)

    def grown(self, before: Usage) -> tuple[Usage, list[str]]:
        """Return what the engine uses, and of what that is more than before, once all that was asked for has ended."""
        deadline = time.monotonic() + _SETTLING
        while True:
            after = self.usage()
            lines = grown(before, after)
            if not lines or time.monotonic() >= deadline:
                return after, lines
            time.sleep(0.2)

    def remove(self) -> list[str]:
        """Remove the objects; return what is left all the same, by kind and name."""
        self.restore()
        for name in (_RUNNING, _ENDED):
            self._do("DELETE", f"/containers/{name}?force=1&v=1")
        self._do("DELETE", f"/networks/{_NETWORK}")
        self._do("DELETE", f"/volumes/{_VOLUME}")
        left = [f"container {found['Names']}" for found in self._get("/containers/json?all=1")]
        left += [f"volume {found['Name']}" for found in self._get("/volumes")["Volumes"] or ()]
        left += [
            f"network {found['Name']}" for found in self._get("/networks") if found["Name"].startswith("fuzz")
        ]
        images = {image["Id"] for image in self._get("/images/json?all=1")}
        return left + [f"image {identity}" for identity in sorted(images - self._images)]

    def _get(self, path: str) -> Any:
        answer = self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    def _do(self, method: str, path: str, body: object = None) -> None:
        self._client.request(method, path, json=body) if body is not None else self._client.request(
            method, path
        )


def _read(connection: socket.socket, method: str) -> Answer:
    data = bytearray()
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            head, separator, body = bytes(data).partition(b"\r\n\r\n")
            if separator and head.startswith(b"HTTP/1.1 100"):
                del data[: len(head) + 4]
                continue
            if len(data) >= _LONGEST:
                break
            if separator:
                deadline = min(deadline, time.monotonic() + _STREAM)
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                if length and (method == "HEAD" or len(body) >= int(length[1])):
                    break
                if b"\r\nTransfer-Encoding: chunked" in head and body.endswith(b"0\r\n\r\n"):
                    break
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            piece = connection.recv(1 << 16)
            if not piece:
                break
            data += piece
    except TimeoutError:
        pass
    except ConnectionResetError:
        pass
    found = _STATUS.match(bytes(data))
    if found is None:
        return Answer(0 if time.monotonic() < deadline else -1, "", bytes(data[:100]).decode("latin-1"))
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    media = re.search(rb"(?i)\r\ncontent-type: ([^\r]*)", head)
    kind = media[1].decode("latin-1") if media else ""
    status = int(found[1])
    return Answer(status, kind, _message(body) if status >= 400 else "")


def _message(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    start = text.find("{")
    if start >= 0 and '"message"' in text:
        try:
            return str(json.loads(text[start : text.rindex("}") + 1])["message"])
        except (ValueError, KeyError):
            return text
    return text.strip()
