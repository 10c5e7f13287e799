"""A create request carried as far as a container's documents, without images, networks or containerd."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.checks import validation
from sixhops.dockerd.containers.logs.drivers import check_options
from sixhops.dockerd.containers.specification.mounts import add_volumes, plan
from sixhops.dockerd.containers.specification.runtimes import Runtimes
from sixhops.dockerd.errors import not_found
from sixhops.dockerd.events import Events
from sixhops.dockerd.volumes import Volumes

if TYPE_CHECKING:
    from sixhops.dockerd.containers.model import Container, MountPoint

ID = "f52fe72d423ba31b027f6be5976ccdaba7f368211a2f69f0185379fa46254e7b"


def asked(
    host: dict[str, Any] | None, image: dict[str, Any] | None = None, **config: Any
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return Config, HostConfig and warnings; `image` is the image's Config. Raises EngineError."""
    body = {"Image": "x"} | config | {"HostConfig": host or {}}
    documents = configs.asked_config(body)
    host_config = configs.asked_host_config(body)
    assert host_config is not None
    validation.check_request(body, host_config)
    warnings = validation.validate(documents, host_config, Runtimes())
    configs.finish_host_config(
        host_config,
        shm_size=64 << 20,
        log_driver="json-file",
        log_options={},
        unified=False,
        find=nobody,
    )
    configs.merge_config(documents, {"Cmd": ["x"]} if image is None else image)
    check_options(host_config["LogConfig"]["Type"], host_config["LogConfig"]["Config"])
    documents["Hostname"] = documents["Hostname"] or ID[:12]
    return configs.printed_config(documents), configs.printed_host_config(host_config), warnings


def nobody(name: str) -> Container:
    """There is no other container."""
    raise not_found(f"No such container: {name}")


def points(config: dict[str, Any], host: dict[str, Any]) -> list[MountPoint]:
    """Return the mount points of a container; its volumes are made below a directory that goes again."""
    with tempfile.TemporaryDirectory() as directory:
        volumes = Volumes(Path(directory), Events(), lambda _name: ())
        found = plan(host, volumes, holder=ID, root="/the/engine", find=nobody)
        return add_volumes(found, config, host, volumes, ID)
