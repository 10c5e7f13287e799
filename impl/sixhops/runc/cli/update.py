"""`update`: new limits for a running container, from a document or from options."""

from __future__ import annotations

import os
import re
import sys

from sixhops.linux.cgroups.devices import apply_rules
from sixhops.linux.cgroups.limits import LimitError, apply
from sixhops.linux.libc import LinuxError
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.runc.lifecycle import state
from sixhops.wire.runtime.document import BlockIo, Cpu, Memory, Resources
from sixhops.wire.runtime.parse import parse_resources
from sixhops.wire.runtime.reader import SpecError

__all__ = ["parse_size", "resources_from_options", "update"]

_SIZE = re.compile(r"^(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?$")
_UNSIGNED = {"cpu-period", "cpu-rt-period", "cpu-share", "cpu-burst"}
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def update(root: str, identifier: str, values: dict[str, str]) -> None:
    """Change a container's limits; what is not named stays. Raises RuntimeFault."""
    container = state.load(root, identifier)
    source = values.get("resources")
    resources = _read(source) if source else resources_from_options(values)
    if resources.memory.kernel or resources.memory.kernel_tcp:
        log.warning("Kernel memory settings are ignored and will be removed")
    if container.status() == "stopped":
        raise RuntimeFault("container not running")
    held = state.lock(container)
    try:
        apply_rules(container.groups, resources.devices)
        apply(container.groups, resources, restore=True)
    except (LinuxError, LimitError) as error:
        raise RuntimeFault(str(error)) from error
    finally:
        os.close(held)


def _read(source: str) -> Resources:
    try:
        if source == "-":
            text = sys.stdin.read()
        else:
            with open(source, encoding="utf-8", errors="replace") as file:
                text = file.read()
        return parse_resources(text)
    except OSError as error:
        raise RuntimeFault(reason(error, "open")) from error
    except SpecError as error:
        raise RuntimeFault(str(error)) from error


def resources_from_options(values: dict[str, str]) -> Resources:
    """Return the limits that the options name. Raises RuntimeFault."""
    if values.get("l3-cache-schema"):
        raise RuntimeFault("Intel RDT/CAT: l3 cache schema is not enabled")
    if values.get("mem-bw-schema"):
        raise RuntimeFault("Intel RDT/MBA: memory bandwidth schema is not enabled")

    def number(name: str) -> int | None:
        text = values.get(name)
        if not text:
            return None
        unsigned = name in _UNSIGNED
        digits = text if unsigned else text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise RuntimeFault(
                f"invalid value for {name}: strconv.Parse{'Uint' if unsigned else 'Int'}: "
                f'parsing "{text}": invalid syntax'
            )
        return int(text)

    def size(name: str) -> int | None:
        text = values.get(name)
        if text is None:
            return None
        try:
            return -1 if text == "-1" else parse_size(text)
        except ValueError as error:
            raise RuntimeFault(f"invalid value for {name}: {error}") from None

    return Resources(
        memory=Memory(
            limit=size("memory"),
            reservation=size("memory-reservation"),
            swap=size("memory-swap"),
            kernel=size("kernel-memory"),
            kernel_tcp=size("kernel-memory-tcp"),
        ),
        cpu=Cpu(
            shares=number("cpu-share"),
            quota=number("cpu-quota"),
            burst=number("cpu-burst"),
            period=number("cpu-period"),
            realtime_runtime=number("cpu-rt-runtime"),
            realtime_period=number("cpu-rt-period"),
            cpus=values.get("cpuset-cpus", ""),
            mems=values.get("cpuset-mems", ""),
            idle=number("cpu-idle"),
        ),
        pids_limit=number("pids-limit"),
        block_io=BlockIo(weight=number("blkio-weight")),
    )


def parse_size(text: str) -> int:
    """Return bytes from `100`, `64k`, `1.5GiB`; raises ValueError."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    return (
        int(float(match[1]) * _UNITS[(match[2] or "").lower()])
        if "." in match[1]
        else int(match[1]) * _UNITS[(match[2] or "").lower()]
    )
