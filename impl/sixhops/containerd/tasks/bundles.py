"""Bundles: the directories in which a shim finds what it is to run, and leaves where it can be reached.

<state>/io.containerd.runtime.v2.task/<namespace>/<id>/    config.json, rootfs, log, address, shim-binary-path
<root>/io.containerd.runtime.v2.task/<namespace>/<id>/     work, which survives a reboot
.../<namespace>/.<id>.<number>                             one of them that is being removed
<state>/io.containerd.runtime.v2.task/.dry-run             where shims in reserve have nothing to do (`reserve`)
<root>/io.containerd.runtime.v2.task/.work.<number>        the next one's work
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sixhops.wire.jsonerror import json_error
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.containerd.settings.config import Config

__all__ = ["HIDDEN", "TASKS", "Bundles", "has_log"]

TASKS = "io.containerd.runtime.v2.task"
HIDDEN = "."  # no id begins with it
MALFORMED = (ValueError, RecursionError, AttributeError, TypeError)


class Bundles:
    """All bundles of this installation."""

    def __init__(self, config: Config) -> None:
        self._state = config.state / TASKS
        self._root = config.root / TASKS
        self._numbers = itertools.count()
        # each unlink may wait for a commit of the file system's journal, and so would a container's end
        self._removals = ThreadPoolExecutor(1, thread_name_prefix="bundles")
        # an empty directory for the next bundle's work
        self._reserve: Path | None = None
        # the last specification that was read, and what `root_group` said of it
        self._known: tuple[bytes, int] = (b"", 0)

    def path(self, namespace: str, identifier: str) -> Path:
        """Return where a bundle is, or will be."""
        return self._state / namespace / identifier

    def _paths(self, namespace: str, identifier: str) -> tuple[Path, Path]:
        return self.path(namespace, identifier), self._root / namespace / identifier

    def make(self, namespace: str, identifier: str, spec: bytes) -> Path:
        """Make a bundle, with all that a shim needs, and return its path; `complete` is to follow.

        RpcError UNKNOWN when the disk refuses, or `spec` is no specification; nothing is left then.
        """
        bundle = self.path(namespace, identifier)
        try:
            _make_directory(bundle)
            if group := self._root_group(spec):
                os.chown(bundle, -1, group)
                bundle.chmod(0o710)
            (bundle / "rootfs").mkdir(mode=0o711)
            (bundle / "config.json").write_bytes(spec)
            os.mkfifo(bundle / "log", 0o700)
        except OSError as error:
            self.remove(namespace, identifier)
            raise _refused(error) from error
        except MALFORMED as error:
            self.remove(namespace, identifier)
            raise RpcError(Code.UNKNOWN, f"failed to start shim: {json_error(spec, error)}") from error
        return bundle

    def work(self, namespace: str, identifier: str) -> Path:
        """Return the directory of a bundle that survives a reboot, which is made if it is missing. OSError."""
        bundle, work = self._paths(namespace, identifier)
        link = bundle / "work"
        if not link.is_symlink():
            self._make_work(work)
            link.symlink_to(work)
        return work

    def complete(self, namespace: str, identifier: str, program: str, address: str = "") -> None:
        """Add to a bundle what only we need: its work, which shim it has, and where that is reached if it is known.

        RpcError UNKNOWN when the disk refuses; the bundle is the caller's to remove.
        """
        bundle = self.path(namespace, identifier)
        try:
            self.work(namespace, identifier)
            (bundle / "shim-binary-path").write_text(program)
            if address:
                (bundle / "address").write_text(address)
        except OSError as error:
            raise _refused(error) from error

    def _make_work(self, path: Path) -> None:
        """Make the directory that survives a reboot, of one that is there already: a disk takes its time to find a place."""
        if not self._take_reserve(path):
            _make_directory(path)

    def _take_reserve(self, path: Path) -> bool:
        if self._reserve is None:
            return False
        try:
            self._reserve.rename(path)
        except OSError:  # the parent is missing, or something is left there
            return False
        self._reserve = None
        return True

    def refill(self) -> None:
        """Have the next bundle's work made, now that nobody waits for this one."""
        self._removals.submit(self._refill)

    def _refill(self) -> None:
        if self._reserve is not None and self._reserve.exists():
            return
        path = self._root / f"{HIDDEN}work.{next(self._numbers)}"
        try:
            _make_directory(path)
        except OSError:
            return  # the next container will say so, if it still is full by then
        self._reserve = path

    def expect(self, spec: bytes) -> None:
        """Read a specification that a bundle may be made of next; what is wrong, `make` will say."""
        with contextlib.suppress(*MALFORMED):
            self._root_group(spec)

    def _root_group(self, spec: bytes) -> int:
        """Return root's group in the container's user namespace, which must be let into the bundle; 0 if it is ours.

        ValueError, RecursionError (JSON), AttributeError or TypeError (its shape) when `spec` is no specification.
        https://github.com/containerd/containerd/blob/v1.6.20/runtime/v2/bundle_linux.go
        """
        known, group = self._known
        if known != spec or not spec:
            linux = json.loads(spec).get("linux") or {}
            mappings = linux.get("gidMappings") or []
            groups = (m.get("hostID", 0) for m in mappings if m.get("containerID", 0) == 0)
            group = next(groups, 0)
            self._known = spec, group
        return group

    def remove(self, namespace: str, identifier: str) -> None:
        """Remove a bundle: it is renamed at once, and emptied later. What isn't there is fine."""
        for path in self._paths(namespace, identifier):
            renamed = path.with_name(f"{HIDDEN}{path.name}.{next(self._numbers)}")
            try:
                path.rename(renamed)
            except FileNotFoundError:
                continue
            except OSError:  # whatever it is, it must not be in the next one's way
                shutil.rmtree(path, ignore_errors=True)
                continue
            self._removals.submit(shutil.rmtree, renamed, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a containerd that died was about to remove."""
        for tree in (self._state, self._root):
            for path in (*tree.glob(f"{HIDDEN}*"), *tree.glob(f"*/{HIDDEN}*")):
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Return once all that was removed is gone."""
        self._removals.shutdown()
        if self._reserve is not None:
            shutil.rmtree(self._reserve, ignore_errors=True)

    def all(self) -> Iterator[tuple[str, str, Path]]:
        """Yield namespace, id and path of every bundle that is there."""
        for namespace in sorted(self._state.glob("[!.]*")):
            for bundle in sorted(namespace.iterdir()):
                if not bundle.name.startswith(HIDDEN):
                    yield namespace.name, bundle.name, bundle


def _make_directory(path: Path) -> None:
    """Make an empty directory; what a crash left there goes, since no task of that id is known."""
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.mkdir(mode=0o700)
    except FileExistsError:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)


def _refused(error: OSError) -> RpcError:
    return RpcError(Code.UNKNOWN, f"failed to start shim: {error}")


def has_log(bundle: Path) -> bool:
    """Tell whether the bundle has a fifo for the shim's log."""
    try:
        return stat.S_ISFIFO((bundle / "log").stat().st_mode)
    except FileNotFoundError:
        return False
