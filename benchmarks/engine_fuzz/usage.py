"""What an engine uses of its machine: processes, mounts, interfaces, control groups, descriptors, tasks, memory.

Taken before and after with the same objects there, so that whatever is more has leaked.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sixhops.harness.stack.private import PrivateStack

__all__ = ["Usage", "grown", "measure"]

#: Ids and the names made of them, which differ from one container to the next.
_VARIES = re.compile(r"[0-9a-f]{12,}|(?<=veth)[0-9a-f]+|(?<=/)[A-Z0-9]{26}(?=/|$)")
#: So much more is no leak: connections under way, code and caches that the first requests bring.
_FEW = 8
_MEMORY = 96 << 10


@dataclass(frozen=True, slots=True)
class Usage:
    """`things` counts what there is by its name without ids; `memory` is dockerd's resident set in KiB."""

    descriptors: int
    tasks: int
    memory: int = 0
    things: Mapping[str, int] = field(default_factory=dict)

    def shown(self) -> str:
        """Return the figures on a line."""
        return (
            f"{self.descriptors} descriptors, {self.tasks} tasks, {self.memory >> 10} MiB, "
            f"{sum(self.things.values())} processes, mounts, interfaces and control groups"
        )


def measure(info: Mapping[str, int], stack: PrivateStack | None) -> Usage:
    """Return what an engine uses; `info` is GET /info. Without its stack the machine is not looked at."""
    if stack is None or stack.host is None:
        return Usage(info["NFd"], info["NGoroutines"])
    host = stack.host
    status = host.file(f"/proc/{stack.sandbox.pid_of('dockerd')}/status").content.decode()
    memory = re.search(r"VmRSS:\s+(\d+)", status)
    things = Counter[str]()
    things.update(_named("process", (str(process["comm"]) for process in host.processes())))
    things.update(_named("mount", host.mounts().values()))
    things.update(_named("interface", host.links()))
    things.update(_named("control group", host.cgroups()))
    return Usage(info["NFd"], info["NGoroutines"], int(memory[1]) if memory else 0, things)


def _named(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind} {_VARIES.sub('ID', name)}" for name in names]


def grown(before: Usage, after: Usage) -> list[str]:
    """Return what there is more of than before, a line each."""
    lines = [
        f"{count - before.things.get(name, 0)} more: {name}"
        for name, count in sorted(after.things.items())
        if count > before.things.get(name, 0)
    ]
    for name, old, new, most in (
        ("descriptors", before.descriptors, after.descriptors, _FEW),
        ("tasks", before.tasks, after.tasks, _FEW),
        ("KiB of memory", before.memory, after.memory, _MEMORY),
    ):
        if new > old + most:
            lines.append(f"{new - old} more {name}: {old}, then {new}")
    return lines
