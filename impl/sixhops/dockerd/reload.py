"""SIGHUP: daemon.json is read again, and what can change while the engine runs does. Facts: daemon/reload.go of moby 20.10.

What the file no longer says stays as it is, but for the number of downloads, which goes back to its default.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.specification.runtimes import DEFAULT_SHIM, Runtimes
from sixhops.dockerd.options import FlagError, reread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.pull import Puller
    from sixhops.dockerd.options import Options
    from sixhops.dockerd.system import SystemSettings

__all__ = ["Reloader"]

_log = logging.getLogger("dockerd")


class Reloader:
    """Everything that a reload reaches."""

    def __init__(
        self,
        arguments: list[str],
        options: Options,
        containers: ContainerSettings,
        system: SystemSettings,
        puller: Puller,
        events: Events,
        identity: str,
    ) -> None:
        """`arguments` are the command line's, `identity` the engine's id."""
        self._arguments = arguments
        self._options = options
        self._containers = containers
        self._system = system
        self._puller = puller
        self._events = events
        self._identity = identity
        self._has_file = False

    def reload(self) -> None:
        """Read the file and follow it; a file that can't be followed changes nothing, and the log says why."""
        name = self._options.config_file or "/etc/docker/daemon.json"
        _log.info("Got signal to reload configuration, reloading from: %s", name)
        try:
            fresh, keys = reread(self._arguments)
        except FlagError as error:
            _log.error("%s", error)
            return
        self._has_file = Path(name).exists()
        self._take(fresh, keys)
        self._events.emit("daemon", "reload", self._identity, self._attributes())

    def _take(self, fresh: Options, keys: frozenset[str]) -> None:
        options = self._options
        for key, attribute in (
            ("runtimes", "runtimes"),
            ("default-runtime", "default_runtime"),
            ("debug", "debug"),
            ("shutdown-timeout", "shutdown_timeout"),
            ("labels", "labels"),
            ("insecure-registries", "insecure_registries"),
            ("registry-mirrors", "registry_mirrors"),
            ("live-restore", "live_restore"),
        ):
            if key in keys:
                setattr(options, attribute, getattr(fresh, attribute))
        options.max_concurrent_downloads = fresh.max_concurrent_downloads
        runtimes = Runtimes(default=options.default_runtime, binaries=options.runtimes)
        self._containers.runtimes = self._system.runtimes = runtimes
        self._containers.live_restore = self._system.live_restore = options.live_restore
        self._system.debug = options.debug
        self._system.labels = options.labels
        self._system.mirrors = options.registry_mirrors
        self._system.insecure = options.insecure_registries
        self._puller.settings.mirrors = tuple(options.registry_mirrors)
        self._puller.settings.insecure = tuple(options.insecure_registries)
        self._puller.limit(options.max_concurrent_downloads)
        if "debug" in keys:
            level = logging.DEBUG if options.debug else _LEVELS[options.log_level]
            logging.getLogger().setLevel(level)

    def _attributes(self) -> dict[str, str]:
        options = self._options
        runtimes = self._containers.runtimes
        return {
            "allow-nondistributable-artifacts": "[]",
            "cluster-advertise": "",
            "cluster-store": "",
            "cluster-store-opts": "null" if self._has_file else "{}",
            "debug": _go(options.debug),
            "default-cgroupns-mode": "host",
            "default-ipc-mode": "private",
            "default-runtime": options.default_runtime,
            "default-shm-size": str(self._containers.shm_size),
            "features": "map[]",
            "insecure-registries": _list(options.insecure_registries),
            "labels": _list(options.labels),
            "live-restore": _go(options.live_restore),
            "max-concurrent-downloads": str(options.max_concurrent_downloads),
            "max-concurrent-uploads": str(options.max_concurrent_uploads),
            "max-download-attempts": "5",
            "name": os.uname().nodename,
            "registry-mirrors": _list([f"{url.rstrip('/')}/" for url in options.registry_mirrors]),
            "runtimes": " ".join(
                f"{name}:{runtimes.get(name).binary}" for name in (DEFAULT_SHIM, *runtimes.names())
            ),
            "shutdown-timeout": str(options.shutdown_timeout),
        }


_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}


def _go(value: bool) -> str:
    return str(value).lower()


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values), separators=(",", ":"))
