"""Where stacks live on disk, who owns which, and how the remains of a dead one are found.

    <base>/.lock            held while a stack's directory is made, and during a sweep
    <base>/<id>/lock        held (flock) by the stack's owner, its reaper and its first process
    <base>/<id>/record.json who that was, for people

The lock tells whether a stack is alive: the kernel lets go of it when the last holder ends, however it ends,
so no pid is ever mistaken for another process, not even one in another pid namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import UsageError
from sixhops.harness.stack.remains import remove_cgroups, remove_directory, thaw

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Record", "StackDirectory", "base_directory", "create", "mark_kept", "read_record", "sweep"]

DEFAULT_BASE = Path("/var/lib/sixhops")

# struct sockaddr_un holds 108 bytes with the final zero; the longest name that a stack adds is
# "/ID/containerd.sock.ttrpc".
_SOCKET_PATH_LIMIT = 107
_LONGEST_SUFFIX = len("/01234567/containerd.sock.ttrpc")


@dataclass(frozen=True, slots=True)
class Record:
    """What record.json says: the stack's id and name (as after --target), and the pids of those who keep it,
    as the host counts.
    """

    id: str
    name: str
    owner: int
    reaper: int = 0
    init: int = 0
    cgroup: str = ""


@dataclass(slots=True)
class StackDirectory:
    """A stack's directory, with the lock that says that the stack lives."""

    id: str
    path: Path
    lock: int

    def write_record(self, record: Record) -> None:
        """Replace record.json in one step."""
        fresh = self.path / ".record.json"
        fresh.write_text(json.dumps(asdict(record)) + "\n")
        fresh.replace(self.path / "record.json")

    def release(self) -> None:
        """Let go of this process's hold; others may hold it still. May be called twice."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def base_directory() -> Path:
    """Return the directory of all stacks: $SIXHOPS_STATE, else /var/lib/sixhops.

    Not the temporary directory: that is often a tmpfs (layers would be kept in memory, and it isn't there for
    the sweep after a reboot), and its path may be long, while a socket's path is limited to 107 bytes. Not
    below /run, which a stack hides behind one of its own. Raises UsageError when the choice can't work.
    """
    base = Path(os.environ.get("SIXHOPS_STATE") or DEFAULT_BASE).absolute()
    if len(os.fsencode(base)) + _LONGEST_SUFFIX > _SOCKET_PATH_LIMIT:
        raise UsageError(
            f"SIXHOPS_STATE={base} is too long: a socket's path has at most {_SOCKET_PATH_LIMIT} bytes, "
            f"which leaves {_SOCKET_PATH_LIMIT - _LONGEST_SUFFIX} for this directory"
        )
    for hidden in ("/run", "/var/run", "/proc", "/sys", "/dev"):
        if base.is_relative_to(hidden) or base.resolve().is_relative_to(hidden):
            raise UsageError(
                f"SIXHOPS_STATE={base} can't be below {hidden}: a stack has a {hidden} of its own"
            )
    return base


def create(base: Path) -> StackDirectory:
    """Make the directory of a new stack and take its lock. Raises UsageError when `base` can't be written."""
    try:
        with _locked(base):
            stack_id = secrets.token_hex(4)
            path = base / stack_id
            path.mkdir(mode=0o711)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"can't make a stack's directory below {base}: {error.strerror} (SIXHOPS_STATE names another)"
        ) from error
    return StackDirectory(stack_id, path, lock)


def mark_kept(path: Path) -> None:
    """Have the sweep leave a stack's directory alone; whoever wanted it kept removes it."""
    (path / "kept").touch()


def read_record(path: Path) -> Record | None:
    """Return the record of the stack whose directory is `path`; None when there is none that can be read."""
    try:
        return Record(**json.loads((path / "record.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def sweep(base: Path) -> list[str]:
    """Remove what stacks left that nobody keeps any more; return their ids.

    Raises OSError when `base` can't be read; what can't be removed now stays for the next sweep.
    """
    if not base.is_dir():
        return []
    swept = []
    with _locked(base):
        for path in sorted(base.iterdir()):
            if path.name.startswith(".gone-"):
                remove_directory(path.with_name(path.name.removeprefix(".gone-")), timeout=0.5)
            elif path.is_dir() and not path.name.startswith(".") and _abandoned(path):
                thaw(path.name)
                remove_cgroups(path.name)
                if not (path / "kept").exists():
                    remove_directory(path)
                    swept.append(path.name)
    return swept


def _abandoned(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Made under the base lock, which we hold: a directory without a lock file is not a stack's, or one
        # half removed.
        return (path / "record.json").exists()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    base.mkdir(parents=True, exist_ok=True)
    lock = os.open(base / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
