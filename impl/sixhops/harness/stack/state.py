"""Where stacks live on disk, who owns which, and how the remains of a dead one are found.

    <base>/.lock            held while a stack's directory is made, and during a sweep
    <base>/<id>/lock        held (flock) by the stack's owner, its reaper and its first process
    <base>/<id>/record.json who that was, for people
    <base>/<id>.at          instead, for a stack whose directory a person chose: the path of that directory

The lock tells whether a stack is alive: the kernel lets go of it when the last holder ends, however it ends,
so no pid is ever mistaken for another process, not even one in another pid namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import UsageError
from sixhops.harness.stack.remains import remove_cgroups, remove_directory, remove_extra, thaw

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Living",
    "Record",
    "StackDirectory",
    "base_directory",
    "create",
    "living",
    "mark_kept",
    "read_record",
    "sweep",
]

DEFAULT_BASE = Path("/var/lib/sixhops")

# struct sockaddr_un holds 108 bytes with the final zero on Linux; containerd 1.6 refuses more than 104 (the limit
# of other systems). The longest name that a stack adds is
# "/ID/containerd.sock.ttrpc".
_SOCKET_PATH_LIMIT = 104
_LONGEST_SUFFIX = len("/01234567/containerd.sock.ttrpc")


@dataclass(frozen=True, slots=True)
class Record:
    """What record.json says: the stack's id and name (as after --target), and the pids of those who keep it,
    as the host counts.

    `owner` is 0 for a stack that nobody but its first process keeps. `started` in seconds since the epoch.
    `purpose` is "suite" (a run's own) or "up" (a person's). `engine` and `version`: DOCKER_HOST and the
    engine's version, "" until it is ready. `outside`: a socket that was made for the stack somewhere else.
    """

    id: str
    name: str
    owner: int
    reaper: int = 0
    init: int = 0
    cgroup: str = ""
    started: float = 0.0
    purpose: str = "suite"
    engine: str = ""
    version: str = ""
    outside: str = ""


@dataclass(frozen=True, slots=True)
class Living:
    """A stack that somebody keeps: its directory, and its record (None while it is being made)."""

    id: str
    path: Path
    record: Record | None


@dataclass(slots=True)
class StackDirectory:
    """A stack's directory, with the lock that says that the stack lives.

    `extra`: files elsewhere that go when the stack goes.
    """

    id: str
    path: Path
    lock: int
    extra: tuple[Path, ...] = ()

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
    the sweep after a reboot), and its path may be long, while a socket's path is limited to 104 bytes. Not
    below /run, which a stack hides behind one of its own. Raises UsageError when the choice can't work.
    """
    base = Path(os.environ.get("SIXHOPS_STATE") or DEFAULT_BASE).absolute()
    _check_place(base, f"SIXHOPS_STATE={base}", _LONGEST_SUFFIX)
    return base


def _check_place(path: Path, shown: str, suffix: int) -> None:
    """Raise UsageError when a stack with socket names of `suffix` bytes below `path` can't work there."""
    if len(os.fsencode(path)) + suffix > _SOCKET_PATH_LIMIT:
        raise UsageError(
            f"{shown} is too long: a socket's path has at most {_SOCKET_PATH_LIMIT} bytes, "
            f"which leaves {_SOCKET_PATH_LIMIT - suffix} for this directory"
        )
    for hidden in ("/run", "/var/run", "/proc", "/sys", "/dev"):
        if path.is_relative_to(hidden) or path.resolve().is_relative_to(hidden):
            raise UsageError(f"{shown} can't be below {hidden}: a stack has a {hidden} of its own")


def create(base: Path, directory: Path | None = None) -> StackDirectory:
    """Make the directory of a new stack and take its lock: below `base`, or at `directory` when one is given,
    which must be empty or not exist and goes with the stack.

    Raises UsageError when `base` can't be written, or `directory` can't be used.
    """
    stack_id = secrets.token_hex(4)
    if directory is not None:
        directory = directory.absolute()
        _check_place(directory, str(directory), _LONGEST_SUFFIX - len(f"/{stack_id}"))
    try:
        with _locked(base):
            extra: tuple[Path, ...] = ()
            if directory is None:
                path = base / stack_id
                path.mkdir(mode=0o711)
            else:
                path = directory
                _take_over(path)
                pointer = base / f"{stack_id}.at"
                pointer.write_text(f"{path}\n")
                extra = (pointer,)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(lock, stack_id.encode())
    except OSError as error:
        raise UsageError(
            f"can't make a stack's directory below {base}: {error.strerror} (SIXHOPS_STATE names another)"
        ) from error
    return StackDirectory(stack_id, path, lock, extra)


def _take_over(path: Path) -> None:
    """Make `path` anew, so that all of it is the stack's; the base lock is held."""
    if (path / "lock").exists() and not _abandoned(path):
        raise UsageError(f"{path} is in use by stack {_id_in(path)} (sixhops down {_id_in(path)} stops it)")
    try:
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()
        path.mkdir(mode=0o711, parents=True)
    except OSError as error:
        raise UsageError(f"can't use {path} as a stack's directory: {error.strerror}") from error


def mark_kept(path: Path) -> None:
    """Have the sweep leave a stack's directory alone; whoever wanted it kept removes it."""
    (path / "kept").touch()


def read_record(path: Path) -> Record | None:
    """Return the record of the stack whose directory is `path`; None when there is none that can be read."""
    try:
        return Record(**json.loads((path / "record.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def living(base: Path) -> list[Living]:
    """Return the stacks that somebody keeps now, oldest first. Raises OSError when `base` can't be read."""
    if not base.is_dir():
        return []
    with _locked(base):
        found = [
            Living(stack_id, path, read_record(path))
            for stack_id, path in _directories(base)
            if (path / "lock").exists() and not _abandoned(path)
        ]
    return sorted(found, key=lambda stack: stack.record.started if stack.record else time.time())


def sweep(base: Path) -> list[str]:
    """Remove what stacks left that nobody keeps any more; return their ids.

    Raises OSError when `base` can't be read; what can't be removed now stays for the next sweep.
    """
    if not base.is_dir():
        return []
    swept = []
    with _locked(base):
        for path in base.glob(".gone-*"):
            remove_directory(path.with_name(path.name.removeprefix(".gone-")), timeout=0.5)
        for stack_id, path in _directories(base):
            if not _abandoned(path):
                continue
            record = read_record(path)
            thaw(stack_id)
            remove_cgroups(stack_id)
            if not (path / "kept").exists():
                remove_directory(path)
                remove_extra([Path(record.outside)] if record and record.outside else [])
                swept.append(stack_id)
        for pointer in base.glob("*.at"):
            if _pointed(pointer) is None:
                pointer.unlink()
    return swept


def _directories(base: Path) -> list[tuple[str, Path]]:
    """Return id and directory of all stacks that `base` knows of, alive or not."""
    found = [
        (path.name, path)
        for path in sorted(base.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]
    for pointer in sorted(base.glob("*.at")):
        path = _pointed(pointer)
        if path is not None:
            found.append((pointer.stem, path))
    return found


def _pointed(pointer: Path) -> Path | None:
    """Return the directory elsewhere that `pointer` names, if it still is that stack's."""
    path = Path(pointer.read_text().strip())
    return path if _id_in(path) == pointer.stem else None


def _id_in(path: Path) -> str:
    """Return the id that the lock file of a stack's directory holds; "" when there is none."""
    try:
        return (path / "lock").read_text()
    except OSError:
        return ""


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
