"""What this containerd consists of, as introspection shows it: the plugins of upstream whose work is done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["GRPC", "METADATA_FILE", "SNAPSHOTTER", "Plugin", "all_plugins"]

CONTENT = "io.containerd.content.v1"
SNAPSHOTTER = "io.containerd.snapshotter.v1"
METADATA = "io.containerd.metadata.v1"
DIFFER = "io.containerd.differ.v1"
EVENT = "io.containerd.event.v1"
GC = "io.containerd.gc.v1"
SERVICE = "io.containerd.service.v1"
RUNTIME = "io.containerd.runtime.v2"
GRPC = "io.containerd.grpc.v1"
#: The database, below the root.
METADATA_FILE = "io.containerd.metadata.v1.sqlite/meta.db"
STORED = ("containers", "content", "namespaces", "snapshots")
#: The gRPC services by the names under which a configuration can switch them off.
SERVICES = (
    "introspection",
    "containers",
    "content",
    "diff",
    "events",
    "healthcheck",
    "images",
    "leases",
    "namespaces",
    "snapshots",
    "tasks",
    "version",
)
ALONE = {"events": (EVENT,), "healthcheck": (), "version": ()}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One part: `type` and `id`, the types that it needs, what it tells of itself, whether it is for one platform only."""

    type: str
    id: str
    requires: tuple[str, ...] = ()
    exports: tuple[tuple[str, str], ...] = ()
    platform: bool = False

    @property
    def uri(self) -> str:
        """The name in a configuration."""
        return f"{self.type}.{self.id}"


def all_plugins(root: Path, disabled: Collection[str], *, sharing: bool = True) -> list[Plugin]:
    """Return the parts that are not switched off; `disabled` are their names in the configuration, full or (in its first
    version) short. `sharing`: whether content is shared between namespaces.
    """
    overlay = root / f"{SNAPSHOTTER}.overlayfs"
    found = [
        Plugin(CONTENT, "content", exports=(("root", str(root / f"{CONTENT}.content")),)),
        Plugin(SNAPSHOTTER, "native", platform=True),
        Plugin(SNAPSHOTTER, "overlayfs", exports=(("root", str(overlay)),), platform=True),
        Plugin(
            METADATA,
            "bolt",
            (CONTENT, SNAPSHOTTER),
            (("path", str(root / METADATA_FILE)), ("policy", "shared" if sharing else "isolated")),
        ),
        Plugin(DIFFER, "walking", (METADATA,), platform=True),
        Plugin(EVENT, "exchange"),
        Plugin(
            GC,
            "scheduler",
            (METADATA,),
            (
                ("DeletionThreshold", "0"),
                ("MutationThreshold", "100"),
                ("PauseThreshold", "0.02"),
                ("ScheduleDelay", "0s"),
            ),
        ),
        Plugin(SERVICE, "introspection-service"),
        *(Plugin(SERVICE, f"{name}-service", (EVENT, METADATA)) for name in STORED),
        Plugin(SERVICE, "diff-service", (DIFFER,)),
        Plugin(SERVICE, "images-service", (METADATA, GC)),
        Plugin(SERVICE, "leases-service", (METADATA,)),
        Plugin(RUNTIME, "task", (EVENT, METADATA), platform=True),
        Plugin(SERVICE, "tasks-service", (EVENT, RUNTIME, METADATA)),
        *(Plugin(GRPC, name, ALONE.get(name, (SERVICE,))) for name in SERVICES),
    ]
    return [plugin for plugin in found if plugin.uri not in disabled and plugin.id not in disabled]


def missing(required: Collection[str], root: Path, disabled: Collection[str]) -> list[str]:
    """Return the plugins that a configuration requires and that aren't there."""
    names = {name for plugin in all_plugins(root, disabled) for name in (plugin.uri, plugin.id)}
    return [name for name in required if name not in names]
