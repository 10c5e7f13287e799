"""Capabilities of a container: Docker's default set, and what CapAdd, CapDrop and Privileged make of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import invalid
from sixhops.dockerd.goquote import quote
from sixhops.linux.capabilities import NAMES, last_capability

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT", "choose", "known", "normalize"]

#: In the order in which dockerd writes them.
DEFAULT = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)
_ALL = "ALL"


#: dockerd 20.10 knows none above.
_LAST = NAMES.index("CAP_AUDIT_READ")


@cache
def known() -> tuple[str, ...]:
    """Return every capability that dockerd 20.10 and this kernel know, by number.

    Those that the engine itself lacks are among them, as in dockerd: the runtime refuses to give such a one away.
    """
    return NAMES[: min(_LAST, last_capability()) + 1]


def normalize(names: Sequence[str], member: str) -> list[str]:
    """Return names in their long form (`net_admin` -> `CAP_NET_ADMIN`; `ALL` stays).

    `member` of HostConfig is where they stand. Raises EngineError 400.
    """
    found = []
    for name in names:
        upper = name.upper()
        if upper != _ALL and not upper.startswith("CAP_"):
            upper = f"CAP_{upper}"
        if upper not in (_ALL, *known()):
            raise invalid(f"invalid {member}: unknown capability: {quote(upper)}")
        found.append(upper)
    return found


def choose(add: Sequence[str], drop: Sequence[str], *, privileged: bool) -> list[str]:
    """Return the set of a container; ALL in `add` wins over the default set, ALL in `drop` leaves `add` alone.

    Raises EngineError 400 for a name that is none.
    """
    added, dropped = normalize(add, "CapAdd"), normalize(drop, "CapDrop")
    if privileged:
        return list(known())
    if _ALL in added:
        return [name for name in known() if name not in dropped]
    if _ALL in dropped:
        return added
    kept = [name for name in DEFAULT if name not in dropped]
    # dockerd does not mind that one stands there twice
    return kept + added
