"""`events`: a container's figures, once or at an interval, one JSON object a line."""

# Imported when needed: the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import re
import sys
import time

from sixhops.linux.cgroups.stats import read_stats
from sixhops.runc import state
from sixhops.runc.errors import RuntimeFault

__all__ = ["events", "parse_interval"]

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def parse_interval(text: str) -> float:
    """Return seconds from a duration such as `5s` or `1m30s`; raises RuntimeFault."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise RuntimeFault(f'invalid value "{text}" for flag -interval: parse error')
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def events(root: str, identifier: str, interval: str, *, once: bool) -> int:
    """Print figures until the container ends (or once); return the exit status. Raises RuntimeFault."""
    pause = parse_interval(interval)
    if pause <= 0:
        raise RuntimeFault("duration interval must be greater than 0")
    container = state.load(root, identifier)
    if container.status() == "stopped":
        raise RuntimeFault(f"container with id {identifier} is not running")
    while True:
        record = {"type": "stats", "id": identifier, "data": read_stats(container.groups)}
        sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
        sys.stdout.flush()
        if once:
            return 0
        # The interval is what the user asked for; the container's end is noticed by its pidfd in between.
        if not _alive_after(container, pause):
            return 0


def _alive_after(container: state.Container, seconds: float) -> bool:
    import os
    import select

    from sixhops.linux.libc import LinuxError
    from sixhops.linux.pidfd import open_process

    try:
        process = open_process(container.pid)
    except LinuxError:
        return False
    try:
        poller = select.poll()
        poller.register(process, select.POLLIN)
        started = time.monotonic()
        ended = bool(poller.poll(seconds * 1000))
        return not ended and container.alive() and time.monotonic() >= started
    finally:
        os.close(process)
