"""A container's own files under DATA_ROOT/containers/<id>: hostname, hosts, resolv.conf, and where its log is.

Texts are those of dockerd 20.10. They are made at the start, since only then addresses are known.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.dockerd.removal import Removals

__all__ = ["ContainerFiles", "embedded_resolv_conf", "hosts_text", "resolv_conf_text"]

_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """Paths below one container's directory."""

    directory: Path

    @property
    def hostname(self) -> Path:
        """The file over /etc/hostname."""
        return self.directory / "hostname"

    @property
    def hosts(self) -> Path:
        """The file over /etc/hosts."""
        return self.directory / "hosts"

    @property
    def resolv_conf(self) -> Path:
        """The file over /etc/resolv.conf."""
        return self.directory / "resolv.conf"

    @property
    def shm(self) -> Path:
        """Where /dev/shm of a container with shareable IPC is mounted on the host."""
        return self.directory / "mounts" / "shm"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are, each a directory of its name."""
        return self.directory / "checkpoints"

    def of(self, other: str) -> ContainerFiles:
        """Return those of the container with the id `other`."""
        return ContainerFiles(self.directory.parent / other)

    def make(self) -> None:
        """Make the directory, as at a create."""
        self.directory.mkdir(mode=0o710)
        self.checkpoints.mkdir(mode=0o700)
        (self.directory / "mounts").mkdir(mode=0o710)

    def write(self, hostname: str, hosts: str, resolv_conf: str) -> None:
        """Write the three files, keeping their inodes: a running container may have them mounted."""
        for path, text in (
            (self.hostname, f"{hostname}\n"),
            (self.hosts, hosts),
            (self.resolv_conf, resolv_conf),
        ):
            path.write_text(text)
            path.chmod(0o644)
        digest = hashlib.sha256(resolv_conf.encode()).hexdigest()
        (self.directory / "resolv.conf.hash").write_text(digest)

    def remove(self, removals: Removals) -> None:
        """Remove the directory with everything in it, now or in a moment; it may be gone already. Raises OSError."""
        # what a container has mounted it may have made immutable: that is for the caller to know
        for path in (self.hostname, self.hosts, self.resolv_conf):
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            removals.take(self.directory)


def hosts_text(
    addresses: Sequence[str],
    hostname: str,
    domain: str,
    extra: Sequence[tuple[str, str]],
    *,
    local: bool = True,
) -> str:
    """Return /etc/hosts: the container's name for each of its addresses; `extra` are further (address, names).

    Without `local` it is what a further network adds to a file that is there.
    """
    lines = _LOCAL if local else ""
    for target, name in extra:
        lines += f"{target}\t{name}\n"
    names = f"{hostname}.{domain} {hostname}" if domain else hostname
    return lines + "".join(f"{address}\t{names}\n" for address in addresses)


def embedded_resolv_conf(text: str) -> str:
    """Return a resolv.conf that names the embedded server alone, with the search list and the options that were there."""
    lines = [line for line in text.splitlines() if line.split()[:1] not in (["nameserver"], ["options"])]
    options = [word for line in text.splitlines() if line.startswith("options") for word in line.split()[1:]]
    if not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")
    return "".join(f"{line}\n" for line in [*lines, "nameserver 127.0.0.11", f"options {' '.join(options)}"])


def resolv_conf_text(
    host: str, servers: Sequence[str], search: Sequence[str], options: Sequence[str], *, own_network: bool
) -> str:
    """Return /etc/resolv.conf: the host's text, or what the user chose.

    With a network of its own a container can't reach the host's loopback resolvers: they are left out, and public ones
    take their place when none is left, as dockerd does.
    """
    if not (servers or search or options) and not own_network:
        return host
    lines = [line for line in host.splitlines() if line.strip() and not line.lstrip().startswith(("#", ";"))]
    kept = [line for line in lines if not line.startswith(("nameserver", "search", "domain", "options"))]
    chosen = list(servers) or [
        line.split()[1]
        for line in lines
        if line.startswith("nameserver")
        and len(line.split()) > 1
        and not _is_loopback(line.split()[1], own_network)
    ]
    found = [f"nameserver {server}" for server in chosen or _FALLBACK_SERVERS]
    if list(search) != ["."]:
        found = ([f"search {' '.join(search)}"] if search else _of(lines, "search", "domain")) + found
    found += [f"options {' '.join(options)}"] if options else _of(lines, "options")
    return "".join(f"{line}\n" for line in [*kept, *found])


def _is_loopback(server: str, own_network: bool) -> bool:
    return own_network and (server.startswith("127.") or server == "::1")


def _of(lines: Sequence[str], *keys: str) -> list[str]:
    return [line for line in lines if line.split()[0] in keys]
