"""How a target is to be opened, beyond its name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StackOptions"]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Bounds and switches; times in seconds.

    `start_timeout`: until each program must be ready. `stop_timeout`: until each program must have ended
    after SIGTERM. `request_timeout`: for the requests that the harness itself makes to an engine when it
    opens a target. `debug`: daemons log in detail. `keep_state`: the stack's directory stays after the stop,
    and the sweep leaves it alone. `inner_taps`: the containerd, shim and runtime hops of a stack of ours are tapped as
    well; its programs are then executed one by one, where our own would otherwise fork each other.
    `experimental`: dockerd is started with --experimental.
    """

    start_timeout: float = 60.0
    stop_timeout: float = 30.0
    request_timeout: float = 30.0
    debug: bool = True
    keep_state: bool = False
    inner_taps: bool = False
    experimental: bool = False
