"""The taps of one stack: which hops are recorded, and where each tap stands.

    clients under test ── tap.sock ── engine.sock        engine, opened when the first client asks for it
    dockerd ── 127.0.0.1:PORT ── registry.sock           registry; the listening socket is the machine's
    dockerd ── containerd-tap.sock ── containerd.sock    containerd
    containerd ── bin/containerd-shim-runc-v2 ── bin/real/...   shim: the program, and its ttrpc socket
    shim ── bin/runc ── bin/real/runc                    runtime

The last three stand there only with `inner_taps`: they change who starts whom (a program is executed that would
otherwise be forked), so a stack can be had without them.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.programs import names_of
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sixhops.harness.scenario.model import FaultRule
    from sixhops.harness.stack.daemons import Choice
    from sixhops.harness.stack.sandbox import Sandbox
    from sixhops.harness.tap.exec.tap import ExecTap
    from sixhops.harness.tap.grpc.tap import GrpcTap
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["CONTAINERD_TAP", "StackTaps"]

#: The socket, below the stack's directory, that dockerd takes for containerd's where the hop is tapped.
CONTAINERD_TAP = "containerd-tap.sock"

_NO_TAP = "this stack was started without a tap there (--taps all)"


class StackTaps:
    """Made with the stack; each tap is started by a method of its own, `close` ends them all."""

    def __init__(self, sandbox: Sandbox, choice: Choice, recorder: Recorder, *, inner: bool) -> None:
        self._sandbox = sandbox
        self._home = sandbox.directory
        self._choice = choice
        self._recorder = recorder
        self._inner = inner
        self._engine: HttpTap | None = None
        self._registry: HttpTap | None = None
        self._containerd: GrpcTap | None = None
        self._exec: ExecTap | None = None

    def hops(self) -> dict[Hop, str | None]:
        """Return for each hop why it can't be observed, None when it can."""
        reason = None if self._inner else _NO_TAP
        inner = dict.fromkeys((Hop.CONTAINERD, Hop.SHIM, Hop.RUNTIME), reason)
        return {Hop.ENGINE: None, Hop.REGISTRY: None, **inner, Hop.PROCESS: None}

    def start_inner(self) -> None:
        """Start the taps of the inner hops, if they are wanted; before containerd starts."""
        if not self._inner:
            return
        from sixhops.harness.tap.exec.tap import ExecTap  # noqa: PLC0415
        from sixhops.harness.tap.grpc.tap import GrpcTap  # noqa: PLC0415

        self._exec = ExecTap(
            self._home,
            self._recorder,
            root=lambda: self._sandbox.root,
            containerd_ttrpc=self._home / "containerd.sock.ttrpc",
        )
        names = {role: names_of(role, self._choice.origins[role]) for role in ("shim", "runc")}
        self._exec.install(self._home / "bin", names)
        self._exec.start()
        self._containerd = GrpcTap(
            _listen(self._home / CONTAINERD_TAP),
            self._home / "containerd.sock",
            self._recorder,
        )
        self._containerd.start()

    def start_registry(
        self, listener: socket.socket, upstream: Path
    ) -> Callable[[Sequence[FaultRule]], None]:
        """Record what passes from `listener`, which becomes the tap's, to the socket `upstream`; return what sets
        fault rules.
        """
        self._registry = HttpTap(listener, _unix(upstream), Hop.REGISTRY, self._recorder)
        self._registry.start()
        return self._registry.set_faults

    def engine_address(self, engine: Address) -> Address:
        """Return the address for clients under test; what they say to `engine` is recorded on the engine hop."""
        path = self._home / "tap.sock"
        if self._engine is None:
            self._engine = HttpTap(_listen(path), engine, Hop.ENGINE, self._recorder)
            self._engine.start()
        return _unix(path)

    def close(self) -> None:
        """End all taps, with every connection through them. May be called twice."""
        for tap in (self._registry, self._engine, self._containerd, self._exec):
            if tap is not None:
                tap.close()


def _unix(path: Path) -> Address:
    return Address(f"unix://{path}", unix=path)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener
