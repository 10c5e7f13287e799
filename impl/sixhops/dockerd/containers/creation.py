"""How a container comes to be: what was asked is completed, checked and written down; nothing runs yet."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers import config as configs
from sixhops.dockerd.containers import logs, names, volumes
from sixhops.dockerd.containers.files import ContainerFiles
from sixhops.dockerd.containers.held import Held
from sixhops.dockerd.containers.model import Container
from sixhops.dockerd.containers.mounts import plan
from sixhops.dockerd.containers.resources import discard_unsupported
from sixhops.dockerd.containers.spec import security_of
from sixhops.dockerd.errors import invalid, not_found

if TYPE_CHECKING:
    from sixhops.dockerd.containers.registry import Registry
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.store import ImageStore

__all__ = ["Creator"]

#: What every container's root has, whatever its image lacks.
_INITIAL = (
    ("/dev/pts", "dir"),
    ("/dev/shm", "dir"),
    ("/proc", "dir"),
    ("/sys", "dir"),
    ("/.dockerenv", "file"),
    ("/etc/resolv.conf", "file"),
    ("/etc/hosts", "file"),
    ("/etc/hostname", "file"),
    ("/dev/console", "file"),
    ("/etc/mtab", "link:/proc/mounts"),
)


class Creator:
    """Makes containers of requests, and of what the state knows of them."""

    def __init__(
        self, settings: ContainerSettings, images: ImageStore, registry: Registry, events: Events
    ) -> None:
        self._settings = settings
        self._images = images
        self._registry = registry
        self._events = events

    async def create(self, body: dict[str, Any], name: str, platform: str) -> tuple[str, list[str]]:
        """Create a container; return its id and warnings. Raises EngineError; then there is nothing of it."""
        if not any(key in configs.CONFIG_MEMBERS for key in body):
            raise invalid("Config cannot be empty in order to create a container")
        image = self._images.resolve(str(body.get("Image") or ""))
        _check_platform(image.config, platform, str(body.get("Image")))
        identity = secrets.token_hex(32)
        defaults = image.config.get("config") or {}
        config = configs.merge_config(body, defaults, identity, socket.gethostname())
        host = configs.merge_host_config(
            body,
            runtime=self._settings.runtimes.default,
            shm_size=self._settings.shm_size,
            log_driver=self._settings.log_driver,
            log_options=dict(self._settings.log_options),
            unified=self._settings.unified,
        )
        warnings = configs.validate(config, host)
        warnings += discard_unsupported(host, unified=self._settings.unified)
        self._settings.runtimes.get(host["Runtime"] or self._settings.runtimes.default)
        security_of(host["SecurityOpt"] or [])
        if (defaults.get("Healthcheck") or {}).get("Test"):
            warnings.append(
                "The image's health check is not run: health checks are not supported by this engine yet."
            )
        path, arguments = configs.command_of(config)
        chosen = names.check_name(name) if name else names.generate(self._registry.names, identity[:12])
        self._registry.reserve(chosen, identity)
        container = Container(
            id=identity,
            name=chosen,
            created=time.time_ns(),
            image=image.id,
            path=path,
            arguments=arguments,
            config=config,
            host_config=host,
            networking=body.get("NetworkingConfig") or {},
            layer=secrets.token_hex(32),
        )
        try:
            container.mounts = tuple(plan(config, host, self._settings.data_root / "volumes"))
            held = self.hold(container)
            await asyncio.to_thread(self._make_files, held, image.chain_id)
        except BaseException:
            self._registry.free(chosen)
            raise
        self._registry.save(container)
        self._registry.add(held)
        self._events.emit("container", "create", identity, container.attributes)
        return identity, warnings

    def hold(self, container: Container) -> Held:
        """Return a container with its files and its log."""
        files = ContainerFiles(self._settings.data_root / "containers" / container.id)
        driver = container.host_config["LogConfig"]
        log = None if driver["Type"] == "none" else logs.JsonFileLog(files.log, driver["Config"])
        return Held(container, files, log)

    def _make_files(self, held: Held, chain_id: str) -> None:
        try:
            held.files.make()
            self._images.layers.create_writable(held.container.layer, chain_id, _INITIAL)
            volumes.make(held.container.mounts)
        except BaseException:
            self._images.layers.remove_writable(held.container.layer)
            held.files.remove()
            raise


def _check_platform(image: dict[str, Any], platform: str, name: str) -> None:
    """Refuse an image of another platform than the one asked for (`os[/architecture]`)."""
    if not platform:
        return
    system, _, architecture = platform.partition("/")
    actual = f"{image.get('os', '')}/{image.get('architecture', '')}"
    if system != image.get("os") or (
        architecture and architecture.partition("/")[0] != image.get("architecture")
    ):
        raise not_found(
            f"image with reference {name} was found but does not match the specified platform: wanted {platform}, "
            f"actual: {actual}"
        )
