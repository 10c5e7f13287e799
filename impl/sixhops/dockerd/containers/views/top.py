"""GET /containers/{id}/top: the host's `ps`, filtered to the container's processes."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError, conflict, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held

__all__ = ["parse", "top"]

_PATIENCE = 10.0
#: A column that is called PID and is another one, which would be taken for it.
_RENAMED = re.compile(r"\s+([^\s]*)=\s*(PID[^\s]*)", re.ASCII)


async def top(held: Held, containerd: Containerd, arguments: str) -> dict[str, Any]:
    """Return titles and processes. Raises EngineError: 409 when it does not run, 500 for what ps refuses."""
    for name, value in _RENAMED.findall(arguments):
        if name != "pid":
            raise system(f"specifying {quote(name + '=' + value)} is not allowed")
    container = held.container
    if container.state.status is Status.RESTARTING:
        raise conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.state.has_process:
        raise conflict(f"Container {container.id} is not running")
    pids = await containerd.pids(container.id)
    words = (arguments or "-ef").split(" ")
    try:
        output = await _ps([*words, f"-q{','.join(map(str, pids))}"])
    except EngineError:
        # some options do not go together with -q
        output = await _ps(words)
    return parse(output, set(pids))


async def _ps(words: list[str]) -> str:
    """Return what `ps` prints. Raises EngineError 500 with the first line of what it complains of."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except ValueError as error:
        # a zero byte in a word, which execve can't carry
        raise system(f"ps: fork/exec {shutil.which('ps') or 'ps'}: invalid argument") from error
    except OSError as error:
        raise system(f'ps: exec: "ps": {(error.strerror or "").lower()}') from error
    async with asyncio.timeout(_PATIENCE):
        output, errors = await process.communicate()
    if process.returncode:
        line = errors.decode(errors="replace").partition("\n")[0]
        raise system(f"ps: {line or f'exit status {process.returncode}'}")
    return output.decode(errors="replace")


def parse(output: str, pids: set[int]) -> dict[str, Any]:
    """Return the rows of `ps` that belong to `pids`. Raises EngineError 500 when there is no PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise system("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows, is_ours = [], False
    for line in lines[1:]:
        fields = line.split()
        if not fields:
            continue
        pid = fields[column] if len(fields) > column else ""
        if pid == "-":
            # a thread, below its process
            kept = is_ours
        elif pid.isdigit():
            kept = is_ours = int(pid) in pids
        else:
            raise system(f"Unexpected pid '{pid}': strconv.Atoi: parsing \"{pid}\": invalid syntax")
        if kept:
            last = len(titles) - 1
            rows.append([*fields[:last], " ".join(fields[last:])])
    return {"Processes": rows, "Titles": titles}
