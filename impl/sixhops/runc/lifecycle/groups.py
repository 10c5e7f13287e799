"""The container's control groups as `create` makes them: around its first process, and limited once it is whole."""

from __future__ import annotations

from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.devices import apply_rules
from sixhops.linux.cgroups.limits import LimitError, apply
from sixhops.linux.libc import LinuxError
from sixhops.runc.errors import RuntimeFault
from sixhops.values import replace
from sixhops.wire.runtime.document import Cpu, DeviceRule, Resources

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ALWAYS_ALLOWED",
    "allow_devices",
    "enter_unified",
    "make_groups",
    "make_unified",
    "remove_made",
    "set_limits",
]

#: Access that every container has, config-linux.md#default-devices, with the pseudo-terminals and tun.
ALWAYS_ALLOWED = tuple(
    DeviceRule(allow=True, type=kind, major=major, minor=minor, access=access)
    for kind, major, minor, access in (
        ("c", None, None, "m"),
        ("b", None, None, "m"),
        ("c", 1, 3, "rwm"),
        ("c", 1, 8, "rwm"),
        ("c", 1, 7, "rwm"),
        ("c", 5, 0, "rwm"),
        ("c", 1, 5, "rwm"),
        ("c", 1, 9, "rwm"),
        ("c", 136, None, "rwm"),
        ("c", 5, 2, "rwm"),
        ("c", 10, 200, "rwm"),
    )
)


def make_unified(groups: dict[str, str], made: list[str]) -> int:
    """Make the version 2 group; return its descriptor, for a process that is to be born in it, or -1 (`open_unified`).

    The directories that were made are added to `made`. Raises RuntimeFault.
    """
    if "" not in groups:
        return -1
    try:
        _make(groups, {"": groups[""]}, made)
        return control.open_unified(groups)
    except LinuxError as error:
        raise _refused(error) from error


def make_groups(groups: dict[str, str], resources: Resources, made: list[str]) -> tuple[int, ...]:
    """Make the version 1 groups; return the descriptors by which a process enters them. `made` as above."""
    # A cpuset has to be right before anything enters it; the other limits wait until the container is whole.
    try:
        _make(groups, {name: path for name, path in groups.items() if name}, made)
        apply(groups, Resources(cpu=Cpu(cpus=resources.cpu.cpus, mems=resources.cpu.mems)))
        return control.open_entries(groups)
    except (LinuxError, LimitError) as error:
        raise _refused(error) from error


def _make(groups: dict[str, str], wanted: dict[str, str], made: list[str]) -> None:
    """Make `wanted`, some of `groups`. One that speaks for the container and was there must be empty."""
    control.create(wanted, made)
    place = control.anchor(groups)
    if place in wanted.values() and place not in made and (found := len(control.processes(groups))):
        raise RuntimeFault(f"container's cgroup is not empty: {found} process(es) found")


def _refused(error: Exception) -> RuntimeFault:
    return RuntimeFault(f"unable to start container process: unable to apply cgroup configuration: {error}")


def enter_unified(group: str, pid: int) -> None:
    """Move the child into its version 2 group, for kernels that can't let it be born there."""
    try:
        control.enter({"": group}, pid)
    except LinuxError as error:
        if error.number == 3:
            return  # the child failed meanwhile, and its report is waiting
        raise _refused(error) from error


def remove_made(made: list[str]) -> None:
    """Remove the directories that were made, innermost first. Raises LinuxError."""
    control.remove({path: path for path in reversed(made)})


def allow_devices(groups: dict[str, str], resources: Resources) -> None:
    """Allow the devices that the document lists, and those that every container has. Raises RuntimeFault."""
    _apply_limits(lambda: apply_rules(groups, (*resources.devices, *ALWAYS_ALLOWED)))


def set_limits(groups: dict[str, str], resources: Resources) -> None:
    """Set all limits but those of devices. Raises RuntimeFault."""
    _apply_limits(lambda: apply(groups, replace(resources, devices=())))


def _apply_limits(write: Callable[[], None]) -> None:
    try:
        write()
    except (LinuxError, LimitError) as error:
        raise RuntimeFault(
            "unable to start container process: error during container init: "
            f"error setting cgroup config for procHooks process: {error}"
        ) from error
