"""GET /containers/{id}/top: the host's `ps`, filtered to the container's processes."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError, conflict, invalid, system

if TYPE_CHECKING:
    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held

__all__ = ["parse", "top"]

_PATIENCE = 10.0


async def top(held: Held, containerd: Containerd, arguments: str) -> dict[str, Any]:
    """Return titles and processes. Raises EngineError: 409 when it does not run, 500 for what ps refuses."""
    container = held.container
    if not container.state.has_process:
        raise conflict(f"Container {container.id} is not running")
    if container.state.status is Status.RESTARTING:
        raise conflict(f"Container {container.id} is restarting, wait until the container is running")
    pids = set(await containerd.pids(container.id))
    words = shlex.split(arguments or "-ef")
    if any("pid=" in word for word in words):
        raise invalid('specifying "pid=..." is not allowed')
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise system(f'error running ps: exec: "ps": {(error.strerror or "").lower()}') from error
    async with asyncio.timeout(_PATIENCE):
        output, errors = await process.communicate()
    if process.returncode:
        raise EngineError(
            500,
            f"error running ps: {errors.decode(errors='replace').strip() or output.decode(errors='replace').strip()}",
        )
    return parse(output.decode(errors="replace"), pids)


def parse(output: str, pids: set[int]) -> dict[str, Any]:
    """Return the rows of `ps` that belong to `pids`. Raises EngineError 500 when there is no PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise system("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(fields)
    return {"Processes": rows, "Titles": titles}
