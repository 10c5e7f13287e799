"""Bundles: the directories in which a shim finds what it is to run, and leaves where it can be reached.

<state>/io.containerd.runtime.v2.task/<namespace>/<id>/    config.json, rootfs, log, address, shim-binary-path
<root>/io.containerd.runtime.v2.task/<namespace>/<id>/     work, which survives a reboot
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.containerd.config import Config

__all__ = ["Bundles", "has_log"]

TASKS = "io.containerd.runtime.v2.task"


class Bundles:
    """All bundles of this installation."""

    def __init__(self, config: Config) -> None:
        self._state = config.state / TASKS
        self._root = config.root / TASKS

    def _paths(self, namespace: str, identifier: str) -> tuple[Path, Path]:
        return self._state / namespace / identifier, self._root / namespace / identifier

    def make(self, namespace: str, identifier: str, spec: bytes, program: str) -> Path:
        """Make a bundle and return its path; RpcError UNKNOWN when the disk refuses, and nothing is left then."""
        bundle, work = self._paths(namespace, identifier)
        try:
            for path in (bundle, work):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
                shutil.rmtree(path, ignore_errors=True)  # what a crash left; no task of that id is known
                path.mkdir(mode=0o700)
            (bundle / "work").symlink_to(work)
            (bundle / "rootfs").mkdir(mode=0o711)
            (bundle / "config.json").write_bytes(spec)
            (bundle / "shim-binary-path").write_text(program)
            os.mkfifo(bundle / "log", 0o700)
        except OSError as error:
            self.remove(namespace, identifier)
            raise RpcError(Code.UNKNOWN, f"failed to start shim: {error}") from error
        return bundle

    def remove(self, namespace: str, identifier: str) -> None:
        """Remove a bundle; what isn't there is fine."""
        for path in self._paths(namespace, identifier):
            shutil.rmtree(path, ignore_errors=True)

    def all(self) -> Iterator[tuple[str, str, Path]]:
        """Yield namespace, id and path of every bundle that is there."""
        for namespace in sorted(self._state.glob("*")):
            for bundle in sorted(namespace.iterdir()):
                yield namespace.name, bundle.name, bundle


def has_log(bundle: Path) -> bool:
    """Tell whether the bundle has a fifo for the shim's log."""
    try:
        return stat.S_ISFIFO((bundle / "log").stat().st_mode)
    except FileNotFoundError:
        return False
