"""`request` and `registry` steps: from the step to the call that performs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.images.tar import tar_bytes
from sixhops.harness.run.call import HttpCall
from sixhops.harness.run.content import Content, auth_header, content, json_content, query_text
from sixhops.harness.run.outgoing import Outgoing, build
from sixhops.harness.run.websocket import WebSocketCall
from sixhops.harness.scenario.variables import resolve

if TYPE_CHECKING:
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.model import RegistryStep, RequestStep
    from sixhops.harness.target import Address

__all__ = ["registry_call", "request_call"]

_VERSIONED = re.compile(r"/v\d+(\.\d+)*(/|$)")


def request_call(step: RequestStep, context: Context) -> HttpCall:
    """Return the call of a `request` step, not yet begun. Raises ScenarioError for values that can't be
    sent.
    """
    scope = context.scope
    method, path = _line(step, context)
    if step.api is not None and not _VERSIONED.match(path):
        path = f"/v{step.api}{path}"
    headers = resolve(step.headers, scope)
    if step.auth is not None:
        headers = {"X-Registry-Auth": auth_header(resolve(step.auth, scope)), **headers}
    body = _content(step, context)
    if step.tar is not None:
        entries = tar_bytes(resolve(step.tar, scope), context.programs, step.mark)
        body = Content(entries, media_type="application/x-tar")
    address = context.target.engine
    request = build(
        method,
        _with_query(path, resolve(step.query, scope)),
        host=_host(address, "docker"),
        mark=step.mark,
        headers=headers,
        content=body,
        upgrade=step.upgrade,
        tty=step.tty,
    )
    stdin = None
    if step.stdin is not None:
        stdin = content(resolve(step.stdin, scope), step.mark, context.sources)
    kind = WebSocketCall if step.upgrade == "websocket" else HttpCall
    call = kind(step.name, step.timeout, address, request, stdin=stdin, half_close=step.half_close)
    call.sent = _sent(request)
    return call


def registry_call(step: RegistryStep, context: Context) -> HttpCall:
    """Return the call of a `registry` step. Raises TargetError when the target has no registry that we can
    reach.
    """
    registry = context.target.registry
    if registry is None:
        raise TargetError(
            f"the target {context.target.facts.name} has no registry that can be asked directly"
        )
    method, path = _line(step, context)
    request = build(
        method,
        _with_query(path, resolve(step.query, context.scope)),
        host=_host(registry.direct, registry.prefix),
        mark=step.mark,
        headers=resolve(step.headers, context.scope),
        content=_content(step, context),
    )
    call = HttpCall(step.name, step.timeout, registry.direct, request)
    call.sent = _sent(request)
    return call


def _line(step: RequestStep | RegistryStep, context: Context) -> tuple[str, str]:
    path = resolve(step.path, context.scope)
    if not isinstance(path, str) or not path:
        raise ScenarioError(f"the path must be a string, not {path!r}", step.mark)
    method = step.method
    if not method:
        # The whole line came out of a variable: `request: ${row.line}`.
        method, _, path = path.partition(" ")
        path = path.strip()
    if any(character in path for character in " \r\n"):
        raise ScenarioError(f"the path {path!r} holds a blank or line break; percent-encode it", step.mark)
    return method, path


def _content(step: RequestStep | RegistryStep, context: Context) -> Content | None:
    if step.has_json:
        return json_content(resolve(step.json, context.scope))
    if step.body is not None:
        return content(resolve(step.body, context.scope), step.mark, context.sources)
    return None


def _with_query(path: str, query: dict[str, Any]) -> str:
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{query_text(query)}"


def _host(address: Address, default: str) -> str:
    if address.unix is not None or address.host is None:
        return default
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port is None else f"{host}:{address.port}"


def _sent(request: Outgoing) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "method": request.method,
        "target": request.target,
        "headers": dict(request.headers),
    }
    if request.content is not None:
        sent["body_length"] = request.content.length
        sent["body"] = request.content.data[:4096]
    return sent
