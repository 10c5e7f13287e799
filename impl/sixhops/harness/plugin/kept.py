"""What reading the suite came to, kept from one process to the next: each worker, command and child reads the same files.

A pack is one file of entries by their keys. A key is made of all that an entry comes of (the texts, their names, and the
code that reads them), so an entry is right or not found; nothing needs to be compared with the file system. A pack that is
damaged, or that others could have written, is none. Where the folder can't be written, nothing is kept.

    <cache>/suite/<version>.pack       digest of what follows, and a pickled dictionary: key to pickled value
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import pickle
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

import sixhops
from sixhops.harness.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Pack", "code_version", "forget", "key_of", "sources"]

#: Below the package: all code that the reading of scenarios, requirements, profiles and accepted differences runs through.
_CODE: Final = (
    "*.py",
    "harness/*.py",
    "harness/diff/__init__.py",
    "harness/diff/accepted.py",
    "harness/match/*.py",
    "harness/plugin/*.py",
    "harness/scenario/*.py",
    "wire/__init__.py",
    "wire/catalog.py",
    "wire/proto/*.py",
)
_SIZE: Final = 16
#: So many packs stay (each version of the code has one of its own), and so many entries that the process did not need.
_PACKS: Final = 8
_SPARE: Final = 1000


def key_of(*parts: bytes | str) -> bytes:
    """Return the digest of a sequence of texts."""
    made = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        made.update(len(data).to_bytes(8, "big"))
        made.update(data)
    return made.digest()


def sources() -> Iterator[Path]:
    """Yield the files of the code whose digest tells one version of it from another."""
    package = Path(next(iter(sixhops.__path__)))
    for pattern in _CODE:
        yield from sorted(package.glob(pattern))


@cache
def code_version() -> str:
    """Return the digest (hexadecimal) of the code that reads the suite, with Python's and PyYAML's versions."""
    versions = (sys.version, yaml.__version__, str(yaml.__with_libyaml__))
    return key_of(*versions, *(part for path in sources() for part in (path.name, path.read_bytes()))).hex()


class Pack:
    """The entries that this version of the code has kept in the cache; read when the first one is asked for."""

    def __init__(self) -> None:
        #: None where there is no home for a cache, or the code can't be read by who runs it.
        self._path: Path | None = None
        with contextlib.suppress(OSError, RuntimeError):
            self._path = cache_folder() / "suite" / f"{code_version()}.pack"
        self._entries: dict[bytes, bytes] | None = None
        self._used: dict[bytes, bytes] = {}
        self._new: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> Any:
        """Return the value that was kept under `key`, None when there is none."""
        if self._entries is None:
            self._entries = _read(self._path) if self._path is not None else {}
        data = self._entries.get(key)
        if data is None:
            return None
        self._used[key] = data
        return pickle.loads(data)

    def put(self, key: bytes, value: Any) -> None:
        """Have `value` kept under `key`, once `write` is called."""
        made = io.BytesIO()
        _Pickler(made, pickle.HIGHEST_PROTOCOL).dump(value)
        self._new[key] = made.getvalue()

    def write(self) -> None:
        """Write what was used and what is new, and some of the rest; nothing when nothing is new.

        The pack appears by rename, whole. Of processes that write at once, that of the last one stays.
        """
        if not self._new or self._path is None:
            return
        rest = [item for item in (self._entries or {}).items() if item[0] not in self._used]
        entries = {**dict(rest[-_SPARE:]), **self._used, **self._new}
        data = pickle.dumps(entries, pickle.HIGHEST_PROTOCOL)
        # It only saves time, so what can't be written (a full disk, a folder of others) is no error.
        with contextlib.suppress(OSError):
            folder = self._path.parent
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".new", delete=False) as file:
                try:
                    file.write(key_of(data) + data)
                    file.close()
                    Path(file.name).replace(self._path)
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self._entries, self._new = entries, {}
            _remove(sorted(folder.glob("*.pack"), key=_age)[_PACKS:])


def forget() -> None:
    """Remove all that was kept in the cache; what can't be removed stays."""
    with contextlib.suppress(RuntimeError):  # there is no home, and so no cache
        _remove((cache_folder() / "suite").glob("*.pack"))


class _Pickler(pickle.Pickler):
    """Writes an instance of a dataclass as a call of its class: read twice as fast as what `pickle` makes of slots."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is made again."""
        if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
            return NotImplemented
        fields = dataclasses.fields(obj)
        if any(field.kw_only or not field.init for field in fields):
            return NotImplemented
        return type(obj), tuple(getattr(obj, field.name) for field in fields)


def _read(path: Path) -> dict[bytes, bytes]:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return {}
            digest, data = file.read(_SIZE), file.read()
    except OSError:
        return {}
    if key_of(data) != digest:
        return {}
    entries: dict[bytes, bytes] = pickle.loads(data)
    return entries


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
