"""What the daemon's flags say about containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.specification.runtimes import Runtimes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ContainerSettings"]


@dataclass(slots=True)
class ContainerSettings:
    """Paths of the engine and defaults of containers.

    `cgroup_parent` is --cgroup-parent; `unified` says that the host has cgroup version 2 only; with `live_restore` programs
    that outlived the last engine go on, without it they are stopped as dockerd does; `init_path` "" is our own init. `init`
    (--init), `ulimits` (--default-ulimit, by name: {"Name", "Hard", "Soft"}) and `no_new_privileges` are for containers
    that don't say, as are `ipc_mode` and `cgroup_namespace` ("" is private where `unified`). `seccomp` is the text of
    --seccomp-profile, None for the built-in one. `realtime` are the period and runtime that the parents of containers'
    control groups get (--cpu-rt-period, --cpu-rt-runtime), 0 for none. Without `restarts` (--restart=false) restart policies
    start nothing when the engine does.
    """

    data_root: Path
    exec_root: Path
    runtimes: Runtimes = field(default_factory=Runtimes)
    cgroup_parent: str = ""
    unified: bool = False
    live_restore: bool = False
    shm_size: int = 64 << 20
    init_path: str = ""
    init: bool = False
    ulimits: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    no_new_privileges: bool = False
    seccomp: str | None = None
    realtime: tuple[int, int] = (0, 0)
    restarts: bool = True
    ipc_mode: str = "private"
    cgroup_namespace: str = ""
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
