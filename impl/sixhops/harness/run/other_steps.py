"""`docker`, `processes` and `file` steps."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.match import match
from sixhops.harness.run.content import content, word, words
from sixhops.harness.run.incoming import JsonValues
from sixhops.harness.run.program import ProgramCall
from sixhops.harness.scenario.model import Hop
from sixhops.harness.scenario.variables import resolve
from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.model import DockerStep, FileStep, ProcessesStep
    from sixhops.harness.target import Address, Host

__all__ = ["docker_call", "see_file", "see_processes"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def docker_call(step: DockerStep, context: Context) -> ProgramCall:
    """Return the call of a `docker` step: the client under test, pointed at the target's engine tap.

    Its environment is ours alone: PATH, HOME and DOCKER_CONFIG in a fresh directory, DOCKER_HOST, and the
    step's `env`, in which null removes a variable. Raises TargetError when the target has no client or no
    tap for one.
    """
    command, address = context.target.docker_argv(), context.target.engine_tap()
    name = context.target.facts.name
    if not command:
        raise TargetError(f"the target {name} has no docker client")
    if address is None:
        raise TargetError(f"the target {name} has no address for a docker client")
    given = words([resolve(item, context.scope) for item in step.argv], step.mark)
    home = context.scratch / f"docker-{step.index}"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", _PATH),
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "DOCKER_HOST": _docker_host(address),
        "LANG": "C.UTF-8",
        **({"TERM": "xterm"} if step.tty else {}),
    }
    for key, value in resolve(step.env, context.scope).items():
        if value is None:
            environment.pop(key, None)
        else:
            environment[key] = word(value, step.mark)
    stdin = None
    if step.stdin is not None:
        stdin = content(resolve(step.stdin, context.scope), step.mark, context.sources)
    call = ProgramCall(
        step.name,
        step.timeout,
        [*command, *given],
        environment,
        stdin=stdin,
        tty=step.tty,
        interactive=step.background is not None,
    )
    sent: dict[str, Facet] = {"argv": [*command, *given], "env": dict(environment)}
    call.sent = sent
    return call


def see_processes(step: ProcessesStep, context: Context) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Return what was asked and the facet `processes`: those of the target's processes that `select`
    accepts.
    """
    select = resolve(step.select, context.scope)
    table = _host(context).processes()
    chosen = [row for row in table if all(not match(want, row.get(key), key) for key, want in select.items())]
    facets: dict[str, Any] = {"processes": chosen}
    return {"select": str(select)}, facets


def see_file(step: FileStep, context: Context) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Return what was asked and the facets of a path on the target's host."""
    path = resolve(step.path, context.scope)
    if not isinstance(path, str):
        raise ScenarioError(f"the path must be a string, not {path!r}", step.mark)
    facts = _host(context).file(path)
    facets: dict[str, Facet] = {"exists": facts.exists}
    if facts.exists:
        facets |= {
            "type": facts.type,
            "mode": facts.mode,
            "uid": facts.uid,
            "gid": facts.gid,
            "size": facts.size,
        }
        if facts.type == "link":
            facets["target"] = facts.target
        if facts.type == "file":
            facets |= _file_content(facts.content)
    return {"path": path}, facets


def _file_content(data: bytes) -> dict[str, Facet]:
    facets: dict[str, Facet] = {"text": as_text(data)}
    try:
        facets["json"] = json.loads(data)
    except (ValueError, RecursionError):
        # Several values, a value a line, are no JSON document but have `lines`.
        facets.pop("json", None)
    values = JsonValues()
    values.feed(data)
    values.finish()
    if values.values and not values.broken:
        facets["lines"] = values.values
    return facets


def _host(context: Context) -> Host:
    host = context.target.host
    if host is None:
        reason = context.target.facts.hops.get(Hop.PROCESS) or "its host can't be seen from here"
        raise TargetError(f"the target {context.target.facts.name}: {reason}")
    return host


def _docker_host(address: Address) -> str:
    if address.unix is not None:
        return f"unix://{address.unix}"
    host = f"[{address.host}]" if address.host and ":" in address.host else address.host
    return f"tcp://{host}:{address.port}"
