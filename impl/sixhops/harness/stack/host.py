"""The machine that an engine runs on, seen through /proc: for stacks of ours and for engines on this
machine.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.remains import hierarchies
from sixhops.harness.tap.processes import parse_links, parse_mounts, read_processes
from sixhops.harness.target import FileFacts
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import open_in_root, via

if TYPE_CHECKING:
    from sixhops.harness.exchange import Json

__all__ = ["LocalHost", "parse_rules", "type_name"]

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "char",
}


class LocalHost:
    """What process `pid` sees: its file system, its network, and its pid namespace through the /proc mounted
    there.

    `pid` is the engine, or the first process of a stack. `cgroup` is the name of the group below which
    containers are put; with `only`, those alone whose name begins so. Methods raise TargetError when `pid`
    has gone.
    """

    def __init__(self, pid: int, cgroup: str, only: str = "") -> None:
        self.pid = pid
        self._cgroup = cgroup.strip("/")
        self._only = only

    @property
    def root(self) -> Path:
        """The engine's root directory as this process reaches it."""
        return Path(f"/proc/{self.pid}/root")

    def processes(self) -> list[dict[str, Json]]:
        """Return the process table with the pids that the engine reports; fields as in `tap.processes`."""
        try:
            return read_processes(self.root / "proc")
        except OSError as error:
            raise self._gone(error) from error

    def file(self, path: str, limit: int = 1 << 20) -> FileFacts:
        """Return what `path` is on the engine's file system; symbolic links never lead out of it."""
        parent, _, name = path.rstrip("/").rpartition("/")
        try:
            root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._gone(error) from error
        try:
            above = open_in_root(root, parent or "/", os.O_PATH | os.O_DIRECTORY)
        except LinuxError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno in {2, 20}:
                return FileFacts(exists=False)
            raise TargetError(f"can't look at {path}: {error.strerror}") from error
        finally:
            os.close(root)
        try:
            return _facts(above, name or ".", limit)
        finally:
            os.close(above)

    def mounts(self) -> dict[str, str]:
        """Return the mount points of the engine's mount namespace, in the kernel's order, by mount."""
        return parse_mounts(self._read("mountinfo"))

    def links(self) -> list[str]:
        """Return the names of the network interfaces in the engine's network namespace, sorted."""
        return parse_links(self._read("net/dev"))

    def cgroups(self) -> list[str]:
        """Return `hierarchy:/path` for everything below the engine's cgroup parent, sorted; the parent itself comes with the
        first container and stays.
        """
        found = []
        for hierarchy in hierarchies():
            for path, _, _ in os.walk(hierarchy / self._cgroup):
                below = Path(path).relative_to(hierarchy / self._cgroup)
                if below.name and (not self._only or str(below).startswith(self._only)):
                    found.append(f"{hierarchy.name}:/{Path(path).relative_to(hierarchy)}")
        return sorted(found)

    def rules(self) -> list[str]:
        """Return the packet filter rules of the engine's network namespace; raises TargetError without
        iptables.
        """
        command = ["nsenter", f"--target={self.pid}", "--net", "--mount", "iptables-save"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetError(f"can't list packet filter rules: {error}") from error
        if answer.returncode != 0:
            raise TargetError(f"can't list packet filter rules: {answer.stderr.strip()}")
        return parse_rules(answer.stdout)

    def sockets(self, directory: str = "/run/containerd/s") -> list[str]:
        """Return the names in a directory of the engine's file system; none when it doesn't exist."""
        try:
            return sorted(entry.name for entry in (self.root / directory.lstrip("/")).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._gone(error) from error

    def _read(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text(errors="surrogateescape")
        except OSError as error:
            raise self._gone(error) from error

    def _gone(self, error: OSError) -> TargetError:
        return TargetError(f"can't look into the engine's host (process {self.pid}): {error.strerror}")


def parse_rules(text: str) -> list[str]:
    """Return the lines of iptables-save without comments and without the counters of chains.

    A table that holds nothing is left out: whoever looks into one makes it, and it stays.
    """
    kept: list[str] = []
    table: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        table.append(line.partition(" [")[0] if line.startswith(":") else line)
        if line == "COMMIT":
            if any(not entry.endswith(" ACCEPT") for entry in table[1:-1]) or any(
                entry.startswith("-A") for entry in table
            ):
                kept += table
            table = []
    return kept + table


def type_name(mode: int) -> str:
    """Return the word for a file's type, as `FileFacts.type` uses it."""
    return _TYPES.get(stat.S_IFMT(mode), "file")


def _facts(above: int, name: str, limit: int) -> FileFacts:
    try:
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except FileNotFoundError:
        return FileFacts(exists=False)
    try:
        status = os.fstat(node)
        kind = type_name(status.st_mode)
        content, target = b"", ""
        if kind == "link":
            # /proc/self and its like lead nowhere for a process of another pid namespace.
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink("", dir_fd=node)
        elif kind == "file":
            try:
                with Path(via(node)).open("rb") as stream:
                    content = stream.read(limit)
            except OSError as error:
                raise TargetError(f"can't read {name}: {error.strerror}") from error
        return FileFacts(
            exists=True,
            type=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size,
            target=target,
            content=content,
        )
    finally:
        os.close(node)
