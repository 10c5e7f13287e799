"""One call of a shim's command line (`start`, `delete`) as a message on the shim hop.

The command line is Go's: flags with one dash, then the action (containerd, `runtime/v2/README.md`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.decode import decode_any, decode_bytes
from sixhops.harness.tap.values import as_text
from sixhops.wire.proto import shim_v2_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.exec.protocol import Ended, Started
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["Bootstrap", "ShimCall", "read_bootstrap"]

_SWITCHES = frozenset({"debug", "v", "info", "h", "help"})
#: Those after which the shim says something and ends.
_TELL = _SWITCHES - {"debug"}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Where a shim that was started answers. `path` is None when that is not a socket in the file system."""

    address: str
    protocol: str
    path: Path | None


def read_bootstrap(output: bytes) -> Bootstrap | None:
    """Return what `start` has printed: an address, or since containerd 1.7 a JSON document; None when neither."""
    text = output.decode(errors="replace").strip()
    protocol = "ttrpc"
    if text.startswith("{"):
        try:
            document = json.loads(text)
            text, protocol = str(document["address"]), str(document.get("protocol") or protocol)
        except (ValueError, KeyError, RecursionError):
            return None
    if not text or "\n" in text:
        return None
    path = text.removeprefix("unix://")
    in_files = path.startswith("/") and "\0" not in path
    return Bootstrap(text, protocol, Path(path) if in_files else None)


class ShimCall:
    """A call that has begun: its message is open until `end` or `vanish`."""

    def __init__(self, recorder: Recorder, started: Started) -> None:
        self.flags, self.action = _parse(started.argv[1:])
        self._started = started
        self._message = recorder.begin(Hop.SHIM)

    @property
    def captures(self) -> bool:
        """Say whether what it writes is an answer to the caller; a shim that serves in this process writes none."""
        return bool(self.action) or bool(_TELL & self.flags.keys())

    @property
    def container(self) -> str:
        """The id of the container that it is about."""
        return str(self.flags.get("id", ""))

    def end(self, ended: Ended, error: str | None = None) -> None:
        """Record how the call ended; `error` says why what follows can't be observed."""
        fields: dict[str, Any] = {
            **self._fields(),
            "exit": ended.exit,
            "duration": ended.seconds,
            "complete": True,
        }
        if ended.input:
            fields["stdin"] = decode_any(ended.input)
        if ended.output is not None:
            fields["stdout"] = self._output(ended.output)
        if error is not None:
            fields["error"] = error
        self._message.finish(f"{self._name} -> {ended.exit}", fields)

    def vanish(self, reason: str) -> None:
        """Record that nobody knows how the call ended."""
        self._message.finish(
            f"{self._name} -> no answer", {**self._fields(), "complete": False, "error": reason}
        )

    @property
    def _name(self) -> str:
        switch = next((f"-{flag}" for flag in self.flags if flag in _TELL), "serve")
        return f"shim {self.action or switch}"

    def _fields(self) -> dict[str, Facet]:
        fields: dict[str, Any] = {
            "call": self._name,
            "command": self.action,
            **self._started.fields(),
            "flags": dict(self.flags),
        }
        fields |= {name: self.flags[name] for name in ("namespace", "address") if name in self.flags}
        if self.container:
            fields["id"] = fields["container"] = self.container
        if self.action in {"start", "delete"}:
            fields["bundle"] = self.flags.get("bundle") or self._started.cwd
        return fields

    def _output(self, output: bytes) -> Any:
        if self.action == "delete":
            return decode_bytes(output, shim_v2_pb2.DeleteResponse)
        if output.startswith(b"{"):
            try:
                return json.loads(output)
            except (ValueError, RecursionError):
                return as_text(output)
        return as_text(output)


def _parse(words: Sequence[str]) -> tuple[dict[str, str | bool], str]:
    flags: dict[str, str | bool] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if equals:
            flags[name] = value
        elif name in _SWITCHES or not rest:
            flags[name] = True
        else:
            flags[name] = rest.pop(0)
    return flags, rest[0] if rest else ""
