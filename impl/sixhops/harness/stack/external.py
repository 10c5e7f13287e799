"""A target that runs already and is not ours: its engine is spoken to, its host looked at where that is
possible.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.endpoint import client_path, engine_process
from sixhops.harness.stack.facts import engine_client, read_facts
from sixhops.harness.stack.host import LocalHost
from sixhops.harness.stack.lent import LentRegistry, chosen_port, listen_beside, mirror_port
from sixhops.harness.stack.programs import ROLES
from sixhops.harness.stack.remote import RemoteHost, SshConnection
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address, Host, RegistryAccess, TargetFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.stack.endpoint import Endpoint
    from sixhops.harness.stack.options import StackOptions

__all__ = ["ExternalEngine"]

_NOT_OURS = "the engine was not started by sixhops, so there is no tap on this hop"
_NO_REGISTRY = "the engine's registry is not ours"


class ExternalEngine:
    """A `Target` at an endpoint. Made by `connect`."""

    #: Others may use this engine as well; the leftover check counts only what is an engine's.
    private = False

    def __init__(self, endpoint: Endpoint, directory: Path | None, options: StackOptions) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="sixhops-"))
        self._tap: HttpTap | None = None
        self._ssh: SshConnection | None = None
        self._lent: LentRegistry | None = None
        self.directory = directory if directory is not None else self._scratch
        self.recorder = Recorder()
        self.registry: RegistryAccess | None = None
        self.host: Host | None = None
        try:
            if endpoint.ssh is not None:
                self._ssh = SshConnection(endpoint.ssh, endpoint.socket_path)
                self.engine = self._ssh.address
            else:
                assert endpoint.address is not None
                self.engine = endpoint.address
            self.facts = self._ask(endpoint.name, options)
        except BaseException:
            self.close()
            raise

    @classmethod
    def connect(cls, endpoint: Endpoint, *, directory: Path | None, options: StackOptions) -> ExternalEngine:
        """Return the engine at `endpoint`; raises TargetError, in one line, when it can't be reached."""
        return cls(endpoint, directory, options)

    def docker_argv(self) -> Sequence[str] | None:
        """Return this machine's docker client with an empty configuration; None when there is none."""
        client = client_path()
        if client is None:
            return None
        configuration = self._scratch / "docker-config"
        configuration.mkdir(exist_ok=True)
        return [client, "--config", str(configuration)]

    def engine_tap(self) -> Address | None:
        """Return the address for clients under test; what they say to the engine is recorded on the engine
        hop.
        """
        path = self._scratch / "tap.sock"
        if self._tap is None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(128)
            self._tap = HttpTap(listener, self.engine, Hop.ENGINE, self.recorder)
            self._tap.start()
        return Address(f"unix://{path}", unix=path)

    def check_alive(self) -> None:
        """Raise TargetError when the ssh connection, the only program of ours here, has ended."""
        if self._ssh is not None and not self._ssh.alive():
            raise TargetError(f"lost {self.engine.text}: {self._ssh.said() or 'ssh ended'}")

    def log_marks(self) -> dict[str, int]:
        """Return nothing: an engine that runs elsewhere keeps its logs there."""
        return {}

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:  # noqa: ARG002 - see log_marks
        """Return nothing: an engine that runs elsewhere keeps its logs there."""
        return {}

    def close(self) -> list[str]:
        """Disconnect; nothing of the engine's is touched. May be called again."""
        if self._tap is not None:
            self._tap.close()
        if self._lent is not None:
            self._lent.close()
        if self._ssh is not None:
            self._ssh.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        return []

    def _ask(self, name: str, options: StackOptions) -> TargetFacts:
        unseen = self._find_host()
        hops: dict[Hop, str | None] = dict.fromkeys(Hop, _NOT_OURS)
        hops[Hop.ENGINE] = None
        hops[Hop.PROCESS] = unseen
        programs = dict.fromkeys(ROLES, "unknown")
        if client_path() is not None:
            programs["docker"] = "upstream"
        with engine_client(self.engine, options.request_timeout) as client:
            hops[Hop.REGISTRY] = self._lend(client)
            variables = {"registry": self.registry.prefix} if self.registry is not None else {}
            if self.registry is not None:
                programs["registry"] = "reference"
            facts = read_facts(client, self.engine, name, programs, hops, variables)
        if isinstance(self.host, LocalHost):
            systemd = facts.variables.get("cgroup_driver") == "systemd"
            self.host = LocalHost(
                self.host.pid, "system.slice" if systemd else "docker", "docker-" if systemd else ""
            )
        return facts

    def _lend(self, client: httpx.Client) -> str | None:
        """Lend the engine a registry where it looks for a mirror on its loopback; else return the reason why not."""
        try:
            port = chosen_port(os.environ) or mirror_port(client.get("/info").json())
        except (httpx.HTTPError, ValueError, AttributeError):
            port = None  # `read_facts` asks again, and says what is wrong with the answer
        if port is None:
            return f"{_NO_REGISTRY}, nor does it have a mirror http://127.0.0.1:PORT where one could be lent to it"
        path = self._scratch / "mirror.sock"
        if self._ssh is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(128)
        elif isinstance(self.host, LocalHost):
            try:
                listener = listen_beside(self.host.pid, port)
            except OSError as error:
                return (
                    f"{_NO_REGISTRY}, and none can be lent on its mirror 127.0.0.1:{port}: {error.strerror}"
                )
        else:
            return f"{_NO_REGISTRY}, and its mirror 127.0.0.1:{port} is on another machine (ssh:// would reach it)"
        self._lent = LentRegistry.start(self._scratch / "registry")
        self._lent.serve(listener, self.recorder)
        refused = self._ssh.lend(port, path) if self._ssh is not None else None
        if refused is not None:
            return f"{_NO_REGISTRY}, and ssh can't lend one on its mirror 127.0.0.1:{port}: {refused}"
        self.registry = self._lent.access(port)
        return None

    def _find_host(self) -> str | None:
        """Set `host` where the engine's machine can be seen; else return the reason why not."""
        if self._ssh is not None:
            found = RemoteHost.open(self._ssh)
            if isinstance(found, str):
                return found
            self.host = found
            return None
        if self.engine.unix is None:
            return f"the processes behind {self.engine.text} can't be seen from here (ssh:// would show them)"
        process = engine_process(self.engine.unix)
        if isinstance(process, str):
            return process
        self.host = LocalHost(process, "docker")
        return None
