"""SIGHUP: daemon.json is read again, and what can change while the engine runs does. Facts: daemon/reload.go of moby 20.10.

What the file no longer says stays as it is, but for the numbers of downloads, uploads and attempts, and the features, which
go back to their defaults.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.specification.runtimes import write_scripts
from sixhops.dockerd.daemonlog import LEVELS
from sixhops.dockerd.options import DEFAULT_CONFIG, FlagError, reread
from sixhops.dockerd.options.checks import verify
from sixhops.dockerd.settings import runtimes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.transfer.pull import Puller
    from sixhops.dockerd.images.transfer.push import Pusher
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
        pusher: Pusher,
        events: Events,
        identity: str,
    ) -> None:
        """`arguments` are the command line's, `identity` the engine's id."""
        self._arguments = arguments
        self._options = options
        self._containers = containers
        self._system = system
        self._puller = puller
        self._pusher = pusher
        self._events = events
        self._identity = identity
        self._has_file = False
        self._has_runtimes = False

    def reload(self) -> None:
        """Read the file and follow it; a file that can't be followed changes nothing, and the log says why."""
        name = self._options.config_file or DEFAULT_CONFIG
        _log.info("Got signal to reload configuration, reloading from: %s", name)
        try:
            fresh, keys = reread(self._arguments)
            verify(fresh)
        except FlagError as error:
            _log.error("%s", error)
            return
        self._has_file = Path(name).exists()
        self._take(fresh, keys)
        attributes = self._attributes()
        _log.info("Reloaded configuration: %s", json.dumps(attributes))
        self._events.emit("daemon", "reload", self._identity, attributes)

    def _take(self, fresh: Options, keys: frozenset[str]) -> None:
        options = self._options
        for key, attribute in (
            ("runtimes", "runtimes"),
            ("default-runtime", "default_runtime"),
            ("default-shm-size", "default_shm_size"),
            ("default-ipc-mode", "default_ipc_mode"),
            ("default-cgroupns-mode", "default_cgroupns_mode"),
            ("allow-nondistributable-artifacts", "nondistributable"),
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
        options.max_concurrent_uploads = fresh.max_concurrent_uploads
        options.max_download_attempts = fresh.max_download_attempts
        options.features = fresh.features
        # dockerd forgets the built-in names but one when it takes runtimes from the file
        self._has_runtimes = self._has_runtimes or "runtimes" in keys
        runtimes = runtimes_of(options, self._containers.data_root, shim_is_named=not self._has_runtimes)
        if "runtimes" in keys:
            write_scripts(runtimes)
        self._containers.runtimes = self._system.runtimes = runtimes
        self._containers.shm_size = options.default_shm_size
        self._containers.ipc_mode = options.default_ipc_mode
        self._containers.cgroup_namespace = options.default_cgroupns_mode
        self._system.cgroup_namespace = options.default_cgroupns_mode
        self._system.nondistributable = options.nondistributable
        self._containers.live_restore = self._system.live_restore = options.live_restore
        self._system.debug = options.debug
        self._system.labels = options.labels
        self._system.mirrors = options.registry_mirrors
        self._system.insecure = options.insecure_registries
        self._puller.settings.mirrors = tuple(options.registry_mirrors)
        self._puller.settings.insecure = tuple(options.insecure_registries)
        self._puller.settings.attempts = options.max_download_attempts
        self._puller.limit(options.max_concurrent_downloads)
        self._pusher.limit(options.max_concurrent_uploads)
        if "debug" in keys:
            level = logging.DEBUG if options.debug else LEVELS[options.log_level]
            logging.getLogger().setLevel(level)

    def _attributes(self) -> dict[str, str]:
        options = self._options
        shown = self._containers.runtimes.documents()
        return {
            "allow-nondistributable-artifacts": _list(options.nondistributable),
            "cluster-advertise": "",
            "cluster-store": "",
            "cluster-store-opts": "null" if self._has_file else "{}",
            "debug": _go(options.debug),
            "default-cgroupns-mode": options.default_cgroupns_mode,
            "default-ipc-mode": options.default_ipc_mode,
            "default-runtime": options.default_runtime,
            "default-shm-size": str(options.default_shm_size),
            "features": f"map[{' '.join(f'{name}:{_go(on)}' for name, on in sorted(options.features.items()))}]",
            "insecure-registries": _list(options.insecure_registries),
            "labels": _list(options.labels),
            "live-restore": _go(options.live_restore),
            "max-concurrent-downloads": str(options.max_concurrent_downloads),
            "max-concurrent-uploads": str(options.max_concurrent_uploads),
            "max-download-attempts": str(options.max_download_attempts),
            "name": os.uname().nodename,
            "registry-mirrors": _list([f"{url.rstrip('/')}/" for url in options.registry_mirrors]),
            "runtimes": " ".join(f"{name}:{document['path']}" for name, document in shown.items()),
            "shutdown-timeout": str(options.shutdown_timeout),
        }


def _go(value: bool) -> str:
    return str(value).lower()


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values), separators=(",", ":"))
