"""`events`: a container's figures, once or at an interval, one JSON object a line."""

from __future__ import annotations

import json
import select
import sys
import time

from sixhops.linux.cgroups.control import exists
from sixhops.linux.cgroups.oom import OomWatch, watch
from sixhops.linux.cgroups.stats import read_stats
from sixhops.linux.libc import LinuxError
from sixhops.runc.cli.options import parse_duration
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.lifecycle import state

__all__ = ["events"]


def events(root: str, identifier: str, interval: str, *, once: bool) -> int:
    """Print figures once, or figures at the interval and memory shortages until the container is removed.

    Returns the exit status. Raises RuntimeFault.
    """
    container = state.load(root, identifier)
    pause = parse_duration(interval)
    if pause <= 0:
        raise RuntimeFault("duration interval must be greater than 0")
    if container.status() == "stopped":
        raise RuntimeFault(f"container with id {identifier} is not running")
    if once:
        _print({"type": "stats", "id": identifier, "data": read_stats(container.groups)})
        return 0
    try:
        shortages = watch(container.groups)
    except LinuxError as error:
        raise RuntimeFault(str(error)) from error
    try:
        _follow(container, pause, shortages)
    finally:
        shortages.close()
    return 0


def _follow(container: state.Container, pause: float, shortages: OomWatch) -> None:
    poller = select.poll()
    shortages.register(poller)
    due = time.monotonic() + pause
    while True:
        if poller.poll(max(0.0, due - time.monotonic()) * 1000):
            count, gone = shortages.take()
            for _ in range(count):
                _print({"type": "oom", "id": container.identifier})
            if gone:
                return
        if time.monotonic() >= due:
            due += pause
            if not exists(container.groups):
                return
            _print({"type": "stats", "id": container.identifier, "data": read_stats(container.groups)})


def _print(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
    sys.stdout.flush()
