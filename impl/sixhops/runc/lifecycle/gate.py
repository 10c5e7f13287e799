"""`start` without a process of its own: what a `create` gives to a caller that stays, so that it can open the gate itself.

Where nothing else is to be done once the program has begun, `start` is one look and one byte. The caller does it with
descriptors that were opened when the container was made; whatever is not as it was then is left to a `start` proper, which
knows what to say.
"""

from __future__ import annotations

import os

from sixhops.linux.cgroups.control import frozen_file

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.runc.lifecycle.state import Container

    Offer = Callable[[str, tuple[int, ...]], None]

__all__ = ["offer_gate", "open_gate"]

_MOVING = frozenset({b"THAWED", b"0"})


def offer_gate(container: Container, offer: Offer) -> None:
    """Call `offer` with the gate's path and descriptors to be copied, if opening it is all that `start` has to do."""
    if container.hooks.get("poststart") or os.path.isdir(container.notify):
        return
    opened: list[int] = []
    try:
        opened.append(os.open(container.gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        frozen = frozen_file(container.groups)
        if frozen:
            opened.append(os.open(frozen, os.O_RDONLY | os.O_CLOEXEC))
        offer(container.gate, tuple(opened))
    except OSError:
        return  # it has ended already
    finally:
        for descriptor in opened:
            os.close(descriptor)


def open_gate(path: str, descriptors: Sequence[int]) -> bool:
    """Let the container's process go on; `descriptors` are as offered, and the first one's error tells that it did.

    False if `start` has to see to it: the container is paused, started already, or has ended.
    """
    gate, *frozen = descriptors
    try:
        if any(os.pread(descriptor, 16, 0).rstrip() not in _MOVING for descriptor in frozen):
            return False
        os.unlink(path)
        os.write(gate, b"0")
    except OSError:
        return False
    return True
