"""What of a container follows from its document and its place alone, worked out before anything is done.

A runtime that knows which bundle will come (`foresee`) has it ready when `create` is called.
"""

from __future__ import annotations

import os

from sixhops.linux.capabilities import last_capability
from sixhops.linux.cgroups.layout import Layout, container_groups, read_layout
from sixhops.linux.libc import LinuxError
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.inside.filters import Filter, check_filter, compile_document
from sixhops.runc.inside.identity import masks
from sixhops.runc.inside.init import FirstProcess
from sixhops.runc.inside.operations import MountFilesystem
from sixhops.runc.inside.plan import plan_container
from sixhops.runc.lifecycle.bundle import read_bundle, read_document, remember
from sixhops.values import Value

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Hook, Spec

__all__ = ["Outline", "Place", "foresee", "hook_values", "outline_of"]

# filesystems that are on no device
_ON_NOTHING = frozenset({"cgroup2", "devpts", "mqueue", "overlay", "proc", "sysfs", "tmpfs"})

# the one that `foresee` has made
_foreseen: list[Outline] = []


class Place(Value):
    """What, besides the document, an outline depends on; `rootfs` and `bundle` are paths without links and dots."""

    identifier: str
    bundle: str
    rootfs: str
    pivot: bool = True
    keyring: bool = True


class Outline(Value):
    """The groups by name, the first process without what only `create` can give it, and unknown capabilities."""

    spec: Spec
    place: Place
    layout: Layout
    groups: dict[str, str]
    first: FirstProcess
    unknown: tuple[str, ...]


def outline_of(spec: Spec, place: Place, checked: Filter | None) -> Outline:
    """Return the outline of a container; `checked` is its filter. Raises RuntimeFault, and OSError without /proc."""
    for known in _foreseen:
        if known.spec is spec and known.place == place:
            return known
    assert spec.process is not None
    layout = read_layout()
    groups = container_groups(layout, spec.linux.cgroups_path or place.identifier)
    last = last_capability()
    wanted, unknown = masks(spec.process, last)
    kinds = {namespace.type: namespace.path for namespace in spec.linux.namespaces}
    plan = plan_container(
        spec,
        place.identifier,
        place.rootfs,
        layout,
        groups,
        bundle=place.bundle,
        pivot=place.pivot,
        keyring=place.keyring,
    )
    hooks, memory = spec.hooks, spec.linux.resources.memory
    first = FirstProcess(
        process=spec.process,
        plan=plan,
        rootfs=place.rootfs,
        capabilities=wanted,
        last_capability=last,
        filter=checked,
        own_user="user" in kinds,
        own_groups=kinds.get("cgroup") == "",
        waits="user" in kinds or "mount" not in kinds,
        meets=bool(hooks.prestart or hooks.create_runtime or hooks.create_container or memory.limit),
        on_devices=any(isinstance(o, MountFilesystem) and o.type not in _ON_NOTHING for o in plan),
        limited=bool(memory.limit),
        personality=spec.linux.personality,
        create_container=hook_values(hooks.create_container),
        start_container=hook_values(hooks.start_container),
    )
    return Outline(spec, place, layout, groups, first, tuple(unknown))


def hook_values(hooks: tuple[Hook, ...]) -> list[dict[str, object]]:
    """Return hooks in the form that state files hold and `run_hooks` takes."""
    return [{"path": h.path, "args": list(h.args), "env": list(h.env), "timeout": h.timeout} for h in hooks]


def foresee(bundle: str, identifier: str, document: str | None = None) -> Outline | None:
    """Work out the container that will be created from `bundle` in a moment, as `document` has it or the file there.

    None if that can't be. `create` reads the file all the same, and takes what is known only for the same text. What is
    wrong, it will say.
    """
    _foreseen.clear()
    try:
        text, spec = read_bundle(bundle) if document is None else (document, read_document(document))
        if spec.process is None:
            return None
        checked = check_filter(spec.linux.seccomp, early=not spec.process.no_new_privileges)
        if checked is not None and spec.linux.seccomp is not None:
            compile_document(spec.linux.seccomp)
        rootfs = os.path.normpath(os.path.join(bundle, spec.root_path or ""))
        found = outline_of(spec, Place(identifier, os.path.realpath(bundle), rootfs), checked)
    except (RuntimeFault, LinuxError, OSError):
        return None
    remember(text, spec)
    _foreseen.append(found)
    return found
