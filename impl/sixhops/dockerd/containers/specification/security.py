"""SecurityOpt of a container, read as dockerd 20.10 reads it (`parseSecurityOpt` in daemon/daemon_unix.go)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Security", "apparmor_is_on", "security_of"]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class Security:
    """What SecurityOpt says; `seccomp` is None for the default filter, "unconfined", or a profile's text.

    `apparmor` is "" when nothing is said. Labels are SELinux's: without it dockerd takes any and uses none.
    """

    seccomp: str | None = None
    no_new_privileges: bool = False
    apparmor: str = ""


def security_of(options: Sequence[str], *, no_new_privileges: bool = False) -> Security:
    """Read SecurityOpt; `no_new_privileges` is the daemon's default. Raises EngineError 500 (dockerd's) for nonsense."""
    filter_: str | None = None
    apparmor = ""
    for option in options:
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        if option == "disable":
            continue
        mark = "=" if "=" in option else ":"
        name, separator, value = option.partition(mark)
        if not separator:
            raise system(f"invalid --security-opt 1: {quote(option)}")
        match name:
            case "label":
                continue
            case "apparmor":
                apparmor = value
            case "seccomp":
                filter_ = value
            case "no-new-privileges" if value in _TRUE | _FALSE:
                no_new_privileges = value in _TRUE
            case _:
                raise system(f"invalid --security-opt 2: {quote(option)}")
    return Security(filter_, no_new_privileges, apparmor)


def apparmor_is_on() -> bool:
    """Whether the kernel confines programs by AppArmor."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
            return file.read(1) == "Y"
    except OSError:
        return False
