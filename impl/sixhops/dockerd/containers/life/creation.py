"""How a container comes to be: what was asked is completed, checked and written down; nothing runs yet."""

from __future__ import annotations

import asyncio
import os
import posixpath
import secrets
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.checks import names, validation
from sixhops.dockerd.containers.files import ContainerFiles
from sixhops.dockerd.containers.held import Held
from sixhops.dockerd.containers.life import volumes
from sixhops.dockerd.containers.logs.drivers import check_options, log_of
from sixhops.dockerd.containers.model import Container
from sixhops.dockerd.containers.network import links
from sixhops.dockerd.containers.specification.mounts import add_volumes, plan
from sixhops.dockerd.containers.specification.security import security_of
from sixhops.dockerd.errors import EngineError, invalid, not_found, system
from sixhops.dockerd.images import platforms
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import make_directories
from sixhops.wire.image import Platform

if TYPE_CHECKING:
    from sixhops.dockerd.containers.model import MountPoint
    from sixhops.dockerd.containers.registry import Registry
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.networks.manager import Networks
    from sixhops.dockerd.volumes import Volumes

__all__ = ["Creator", "make_working_directory"]

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
        self,
        settings: ContainerSettings,
        images: ImageStore,
        volumes: Volumes,
        networks: Networks,
        registry: Registry,
        events: Events,
    ) -> None:
        self._settings = settings
        self._images = images
        self._volumes = volumes
        self._networks = networks
        self._registry = registry
        self._events = events

    async def create(self, body: dict[str, Any], name: str, platform: str) -> tuple[str, list[str]]:
        """Create a container; return its id and warnings. Raises EngineError; then there is nothing of it."""
        asked = configs.asked_host_config(body)
        if asked is not None:
            validation.check_request(body, asked)
        if not any(key in configs.CONFIG_MEMBERS for key in body):
            raise invalid("Config cannot be empty in order to create a container")
        config = configs.asked_config(body)
        networking = body.get("NetworkingConfig") or {}
        host = asked or configs.asked_host_config({"HostConfig": {}}) or {}
        warnings = validation.validate(config, host if asked else None, self._settings.runtimes)
        validation.check_networking(networking)
        self._finish(host)
        image = self._image(config["Image"], platform)
        defaults = None if image is None else image.config.get("config") or {}
        configs.merge_config(config, defaults, with_host_config=asked is not None)
        check_options(host["LogConfig"]["Type"], host["LogConfig"]["Config"])
        endpoints = self._networks.prepare(
            host["NetworkMode"], networking, is_disabled=bool(config.get("NetworkDisabled"))
        )
        links.register(host, self._registry.find)
        identity = secrets.token_hex(32)
        chosen = names.check_name(name) if name else names.generate(self._registry.names, identity[:12])
        self._registry.reserve(chosen, identity)
        config["Hostname"] = config["Hostname"] or (
            socket.gethostname() if host["NetworkMode"] == "host" else identity[:12]
        )
        path, arguments = configs.command_of(config)
        container = Container(
            id=identity,
            name=chosen,
            created=time.time_ns(),
            image="" if image is None else image.id,
            path=path,
            arguments=arguments,
            config=configs.printed_config(config),
            host_config=configs.printed_host_config(host),
            networking={"EndpointsConfig": endpoints},
            layer=secrets.token_hex(32),
            is_unnamed=not name,
        )
        held = self.hold(container)
        try:
            security_of(host["SecurityOpt"] or [])
            _check_storage(host["StorageOpt"] or {})
            await asyncio.to_thread(self._make_files, held, "" if image is None else image.chain_id)
            self._registry.save(container)
        except BaseException:
            self._registry.free(chosen)
            await asyncio.shield(asyncio.to_thread(self._remove_files, held))
            raise
        finally:
            self._volumes.let_go(identity)
        self._registry.add(held)
        self._events.emit("container", "create", identity, container.attributes)
        return identity, warnings

    async def reconfigure(self, held: Held, body: dict[str, Any]) -> None:
        """Give a container that does not run the HostConfig of a request, if it has one. Raises EngineError 400.

        Mounts are added to those that it has; another network mode takes it off all networks.
        """
        host = configs.asked_host_config(body)
        if host is None:
            return
        container = held.container
        before = container.host_config
        # only a create writes down which paths are hidden by default
        unsaid = {key: None for key in ("MaskedPaths", "ReadonlyPaths") if host[key] is None}
        try:
            security_of(host["SecurityOpt"] or [])
            self._finish(host)
            check_options(host["LogConfig"]["Type"], host["LogConfig"]["Config"])
            points = await asyncio.to_thread(self._plan, container, host)
            links.register(host, self._registry.find)
            validation.validate(None, host, self._settings.runtimes)
        except EngineError as error:
            raise invalid(error.message) from error
        finally:
            self._volumes.let_go(container.id)
        kept = {point.destination: point for point in (*container.mounts, *points)}
        container.mounts = tuple(kept.values())
        container.host_config = configs.printed_host_config(host)
        for key in ("Dns", "DnsOptions", "DnsSearch"):
            container.host_config[key] = container.host_config[key] or []
        container.host_config |= unsaid
        if host["NetworkMode"] != before["NetworkMode"]:
            endpoints = self._networks.prepare(
                host["NetworkMode"], {}, is_disabled=bool(container.config.get("NetworkDisabled"))
            )
            container.networking = {"EndpointsConfig": endpoints}
        if container.host_config["LogConfig"] != before["LogConfig"]:
            held.log = log_of(held.files.directory, container)
        self._registry.save(container)

    def hold(self, container: Container) -> Held:
        """Return a container with its files and its log."""
        files = ContainerFiles(self._settings.data_root / "containers" / container.id)
        return Held(container, files, log_of(files.directory, container))

    def sweep(self, known: set[str]) -> None:
        """Remove the directories of containers that an engine which died was about to make, or had just removed."""
        for directory in (self._settings.data_root / "containers").iterdir():
            if directory.name not in known:
                shutil.rmtree(directory)

    def _finish(self, host: dict[str, Any]) -> None:
        """Fill in what the engine decides of a HostConfig."""
        configs.finish_host_config(
            host,
            shm_size=self._settings.shm_size,
            log_driver=self._settings.log_driver,
            log_options=dict(self._settings.log_options),
            unified=self._settings.unified,
            ipc_mode=self._settings.ipc_mode,
            cgroup_namespace=self._settings.cgroup_namespace,
            find=self._find,
        )

    def _plan(self, container: Container, host: dict[str, Any]) -> list[MountPoint]:
        """Return the mounts that a HostConfig asks for, with their volumes made."""
        return list(
            plan(
                host,
                self._volumes,
                holder=container.id,
                root=str(self._settings.data_root),
                find=self._find,
            )
        )

    def _find(self, name: str) -> Container:
        return self._registry.find(name).container

    def _image(self, name: str, platform: str) -> Image | None:
        """Return the image; a container without a name of one begins with nothing. Raises EngineError 404."""
        if not name:
            return None
        image = self._images.resolve(name)
        _check_platform(image.config, platform, name)
        return image

    def _make_files(self, held: Held, chain_id: str) -> None:
        container, layers = held.container, self._images.layers
        layers.create_writable(container.layer, chain_id, _INITIAL)
        held.files.make()
        container.mounts = tuple(self._plan(container, container.host_config))
        config = container.config
        if not (
            config["WorkingDir"] or config["Volumes"] or any(point.copy_up for point in container.mounts)
        ):
            return
        root = layers.hold(container.layer)
        try:
            make_working_directory(root, config)
            for place in config["Volumes"] or {}:
                volumes.check_place(root, place, container)
            container.mounts = tuple(
                add_volumes(container.mounts, config, container.host_config, self._volumes, container.id)
            )
            volumes.copy_up(container, root, self._volumes)
        finally:
            layers.release(container.layer)

    def _remove_files(self, held: Held) -> None:
        """Undo what there is of a creation that failed."""
        container = held.container
        self._images.layers.remove_writable(container.layer)
        held.files.remove(self._images.layers.removals)
        self._volumes.let_go(container.id)
        for point in container.mounts:
            if point.anonymous:
                self._volumes.remove_unused(point.name)


def make_working_directory(root: str, config: dict[str, Any]) -> None:
    """Make Config's WorkingDir below `root`, and write it in its shortest form. Raises EngineError 500."""
    if not config["WorkingDir"]:
        return
    path = config["WorkingDir"] = posixpath.normpath(config["WorkingDir"])
    if path.strip("/") == "":
        return
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(make_directories(descriptor, path))
    except LinuxError as error:
        raise system(f"Cannot mkdir: {path} is not a directory") from error
    finally:
        os.close(descriptor)


def _check_storage(options: dict[str, str]) -> None:
    """Refuse StorageOpt: limits of the layer's size need project quotas. Raises EngineError 500."""
    for name in options:
        if name.lower() != "size":
            raise system(f"Unknown option {name}")
    if options:
        raise system("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")


def _check_platform(image: dict[str, Any], platform: str, name: str) -> None:
    """Refuse an image of another platform than the one asked for. Raises EngineError 404."""
    if not platform:
        return
    wanted = platforms.parse(platform)
    actual = Platform(*(str(image.get(member) or "") for member in ("architecture", "os", "variant")))
    if (wanted.os, wanted.architecture) != (actual.os, actual.architecture):
        raise not_found(
            f"image with reference {name} was found but does not match the specified platform: wanted {wanted}, "
            f"actual: {actual}"
        )
