"""An engine behind ssh: one connection that forwards its socket, and serves the looks at its host as well.

The connection is an ssh master; testinfra's commands go through it, so each look is one round trip without a
new login.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import testinfra  # type: ignore[import-untyped]  # it ships no types

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.stack.host import parse_rules, type_name
from sixhops.harness.tap.processes import REMOTE_COMMAND, parse_links, parse_mounts, parse_remote
from sixhops.harness.target import Address, FileFacts, HostLook
from sixhops.linux.inotify import DirectoryWatch

if TYPE_CHECKING:
    from sixhops.harness.exchange import Json

__all__ = ["SSH_CONFIG_VARIABLE", "RemoteHost", "SshConnection"]

#: Names a file of ssh's settings to use instead of the user's and the system's (`ssh -F`), so that a machine made for a
#: run needs no line in anybody's own.
SSH_CONFIG_VARIABLE = "SIXHOPS_SSH_CONFIG"

_CONNECT_TIMEOUT = 30

# Others' groups go while find walks (-ignore_readdir_race does not cover those that it descends into), so that a
# directory is gone is no error; whatever else find says is.
_CGROUPS = (
    "export LC_ALL=C; cd /sys/fs/cgroup || exit; exec 3>&1; "
    r"if said=$(find . -type d \( -path '*/docker/*' -o -name 'docker-*.scope' "
    r"-o -path '*/docker-*.scope/*' \) 2>&1 >&3 | grep -v ': No such file or directory$'); "
    'then echo "$said" >&2; exit 1; fi'
)
# dockerd makes its rules with iptables, so there are none where it isn't installed
_RULES = "if command -v iptables-save >/dev/null; then iptables-save; fi"
_SOCKETS = "/run/containerd/s"


class SshConnection:
    """`ssh -N` with the engine's socket forwarded to a unix socket of ours. `close` ends it.

    It never asks anything: no password, no unknown host key (ssh's own settings say which are known).
    """

    def __init__(self, destination: str, socket_path: str) -> None:
        """Connect to `destination` (user@host[:port]); raises TargetError in one line."""
        self.destination = destination
        # Not the run's directory: a socket's path is limited to 107 bytes, and ssh adds 17 to its control
        # socket's.
        self._directory = Path(tempfile.mkdtemp(prefix="sixhops-ssh-"))
        self._local = self._directory / "engine.sock"
        self.control = self._directory / "ctl"
        self.address = Address(f"ssh://{destination}", unix=self._local)
        host, port = _split(destination)
        self._ssh: subprocess.Popen[bytes] | None = None
        self._log = self._directory / "ssh.log"
        if shutil.which("ssh") is None:
            self.close()
            raise TargetError(
                f"can't reach ssh://{destination}: ssh is not installed (apt-get install openssh-client)"
            )
        command = [
            "ssh",
            "-N",
            *_settings(),
            *("-M", "-S", str(self.control)),
            *("-L", f"{self._local}:{socket_path}"),
            # else a user's own setting sends the connection to the background, and it seems to have ended
            *("-o", "ControlPersist=no"),
            *("-o", "BatchMode=yes"),
            *("-o", "ExitOnForwardFailure=yes"),
            *("-o", f"ConnectTimeout={_CONNECT_TIMEOUT}"),
            *("-o", "ServerAliveInterval=15"),
            *(("-p", port) if port else ()),
            "--",
            host,
        ]
        try:
            with self._log.open("wb") as log:
                # A session of its own: the terminal's Ctrl-C must not cut the connection under the clean-up.
                self._ssh = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            self._await_socket()
        except BaseException:
            self.close()
            raise

    def alive(self) -> bool:
        """Return whether the connection still stands."""
        return self._ssh is not None and self._ssh.poll() is None

    def lend(self, port: int, path: Path) -> str | None:
        """Have port `port` of the other machine's loopback lead to the socket `path` here; return why not, if not."""
        command = [
            "ssh",
            *("-S", str(self.control)),
            *("-O", "forward"),
            *("-R", f"127.0.0.1:{port}:{path}"),
            "--",
            _split(self.destination)[0],
        ]
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CONNECT_TIMEOUT,
            check=False,
        )
        return None if answer.returncode == 0 else answer.stderr.strip() or f"status {answer.returncode}"

    def said(self) -> str:
        """Return the last line that ssh printed."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return ""

    def close(self) -> None:
        """Disconnect. May be called twice."""
        if self._ssh is not None and self._ssh.poll() is None:
            self._ssh.send_signal(signal.SIGTERM)
            try:
                self._ssh.wait(5)
            except subprocess.TimeoutExpired:
                self._ssh.kill()
                self._ssh.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _await_socket(self) -> None:
        assert self._ssh is not None
        deadline = time.monotonic() + _CONNECT_TIMEOUT + 5
        ended = os.pidfd_open(self._ssh.pid)
        try:
            with DirectoryWatch(self._directory) as watch:
                while not _accepts(self._local):
                    left = deadline - time.monotonic()
                    if self._ssh.poll() is not None:
                        raise TargetError(
                            f"can't reach ssh://{self.destination}: {self.said() or 'ssh ended'}"
                        )
                    if left <= 0:
                        raise TargetError(
                            f"can't reach ssh://{self.destination}: "
                            f"no connection after {_CONNECT_TIMEOUT + 5} s"
                        )
                    select.select([watch.fileno(), ended], [], [], 0.01 if self._local.exists() else left)
                    watch.drain()
        finally:
            os.close(ended)


class RemoteHost:
    """The engine's host through ssh, as root or with sudo that needs no password. One command a question.

    Made by `open`, which tells why not when the host can't be seen. Methods raise TargetError when ssh fails.
    """

    def __init__(self, connection: SshConnection, prefix: str, engine: int) -> None:
        self._connection = connection
        self._prefix = prefix
        self._engine = engine
        self._shell: Any = testinfra.get_host(
            f"ssh://{connection.destination}",
            ssh_config=os.environ.get(SSH_CONFIG_VARIABLE) or None,
            ssh_extra_args=f"-o ControlPath={connection.control} -o ControlMaster=no -o BatchMode=yes",
            timeout=_CONNECT_TIMEOUT,
        )

    @classmethod
    def open(cls, connection: SshConnection) -> RemoteHost | str:
        """Return the host behind `connection`, or a sentence why it can't be seen."""
        host = cls(connection, "", 0)
        if host._text("id -u").strip() != "0":
            if host._shell.run("sudo -n true").rc != 0:
                return (
                    f"the user of ssh://{connection.destination} is not root, nor may sudo without a password"
                )
            host._prefix = "sudo -n "
        engines = [process["pid"] for process in host.processes() if process["comm"] in {"dockerd", "podman"}]
        if not engines:
            return f"no dockerd runs in the pid namespace that ssh://{connection.destination} leads to"
        engine = engines[0]
        assert isinstance(engine, int)
        host._engine = engine
        return host

    def look(self) -> HostLook:
        """Return all that the methods below tell, by one command: to start one there takes longer than most of them."""
        commands = (REMOTE_COMMAND, self._mounts, self._links, _CGROUPS, _RULES, _sockets(_SOCKETS))
        # What is shown may be a container's own words, which can't know this one. The table has this command's words, too,
        # but in those the line breaks are not yet line breaks.
        mark = secrets.token_hex(16)
        script = "; ".join(f"( {command} ) || exit; printf '\\n{mark}\\n'" for command in commands)
        processes, *others = self._bytes(script).split(f"\n{mark}\n".encode())[: len(commands)]
        mounts, links, cgroups, rules, sockets = (_decoded(part) for part in others)
        return HostLook(
            processes=self._table(processes),
            mounts=parse_mounts(mounts),
            links=parse_links(links),
            cgroups=_groups(cgroups),
            rules=parse_rules(rules),
            sockets=sorted(sockets.splitlines()),
        )

    def processes(self) -> list[dict[str, Json]]:
        """Return the process table; fields as in `tap.processes`."""
        return self._table(self._bytes(REMOTE_COMMAND))

    def file(self, path: str, limit: int = 1 << 20) -> FileFacts:
        """Return what `path` is, following no final link, with at most `limit` bytes of content."""
        script = (
            "f=%s; export LC_ALL=C; stat -c '%%f %%u %%g %%s' -- \"$f\" 2>/dev/null || exit 0; "
            'if [ -L "$f" ]; then readlink -n -- "$f" | base64 -w0; '
            f'elif [ -f "$f" ]; then head -c {limit} -- "$f" | base64 -w0; fi'
        )
        lines = self._text(script, path).splitlines()
        if not lines:
            return FileFacts(exists=False)
        mode_text, uid, gid, size = lines[0].split()
        mode = int(mode_text, 16)
        kind = type_name(mode)
        data = base64.b64decode(lines[1]) if len(lines) > 1 else b""
        return FileFacts(
            exists=True,
            type=kind,
            mode=stat.S_IMODE(mode),
            uid=int(uid),
            gid=int(gid),
            size=int(size),
            target=data.decode(errors="surrogateescape") if kind == "link" else "",
            content=data if kind == "file" else b"",
        )

    def mounts(self) -> dict[str, str]:
        """Return the mount points of the engine's mount namespace."""
        return parse_mounts(self._text(self._mounts))

    def links(self) -> list[str]:
        """Return the names of network interfaces in the engine's network namespace, sorted."""
        return parse_links(self._text(self._links))

    def cgroups(self) -> list[str]:
        """Return the control groups of Docker's containers, over all hierarchies, sorted.

        Not the group `docker` above them: it comes with the first container and stays.
        """
        return _groups(self._text(_CGROUPS))

    def rules(self) -> list[str]:
        """Return the packet filter rules; none where iptables isn't installed."""
        return parse_rules(self._text(_RULES))

    def sockets(self, directory: str = _SOCKETS) -> list[str]:
        """Return the names in a directory; none when it doesn't exist."""
        return sorted(self._text(_sockets(directory)).splitlines())

    @property
    def _mounts(self) -> str:
        return f"cat /proc/{self._engine}/mountinfo"

    @property
    def _links(self) -> str:
        return f"cat /proc/{self._engine}/net/dev"

    def _table(self, output: bytes) -> list[dict[str, Json]]:
        try:
            return parse_remote(output)
        except ValueError as error:
            raise TargetError(
                f"ssh://{self._connection.destination} has no GNU grep and find: {error}"
            ) from error

    def _text(self, command: str, *words: str) -> str:
        return _decoded(self._bytes(command, *words))

    def _bytes(self, command: str, *words: str) -> bytes:
        script = self._shell.backend.get_command(command, *words) if words else command
        try:
            answer = self._shell.run(f"{self._prefix}sh -c %s", script)
        except RuntimeError as error:
            raise TargetError(
                f"lost ssh://{self._connection.destination}: {self._connection.said() or error}"
            ) from error
        if answer.rc != 0:
            raise TargetError(
                f"ssh://{self._connection.destination}: {answer.stderr.strip() or f'status {answer.rc}'}"
            )
        output: bytes = answer.stdout_bytes
        return output


def _sockets(directory: str) -> str:
    name = shlex.quote(directory)
    return f"if [ -d {name} ]; then ls -A {name}; fi"


def _groups(found: str) -> list[str]:
    return sorted(line.removeprefix("./") for line in found.splitlines())


def _decoded(output: bytes) -> str:
    return output.decode(errors="surrogateescape")


def _settings() -> list[str]:
    chosen = os.environ.get(SSH_CONFIG_VARIABLE)
    if chosen and not Path(chosen).is_file():
        raise UsageError(f"{SSH_CONFIG_VARIABLE}: no such file: {chosen}")
    return ["-F", chosen] if chosen else []


def _split(destination: str) -> tuple[str, str]:
    """Return user@host as ssh wants it, and the port or ""."""
    user, at, host = destination.rpartition("@")
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        return f"{user}{at}{host}", port.removeprefix(":")
    host, _, port = host.partition(":")
    return f"{user}{at}{host}", port


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
