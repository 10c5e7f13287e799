"""The token service's endpoint, `/token`: GET with basic credentials, or POST with a form (password grant)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from sixhops.registry.access.tokens import TokenService, WrongPassword
from sixhops.registry.http.calls import BodyError, Call, document
from sixhops.registry.http.errors import Refusal

if TYPE_CHECKING:
    from aiohttp import web

_FORM_LIMIT: Final = 1 << 16


async def give_token(tokens: TokenService, call: Call) -> web.StreamResponse:
    """Answer a token request. Raises Refusal: wrong password, another method, a form that is none."""
    request = call.request
    authorization = request.headers.get("Authorization", "")
    scopes = request.rel_url.query.getall("scope", [])
    if request.method == "POST":
        authorization, scopes = await _form(call)
    elif request.method != "GET":
        raise Refusal("UNSUPPORTED", headers={"Allow": "GET, POST"})
    try:
        return document(await tokens.issue(authorization, scopes))
    except WrongPassword as error:
        headers = {"WWW-Authenticate": f'Basic realm="{tokens.service}"'}
        raise Refusal("UNAUTHORIZED", message="incorrect username or password", headers=headers) from error


async def _form(call: Call) -> tuple[str, list[str]]:
    try:
        body = await call.body(_FORM_LIMIT)
        form = parse_qs((body or b"").decode("ascii"), max_num_fields=100)
    except (BodyError, ValueError) as error:
        raise Refusal("UNSUPPORTED", status=400, detail="expected a form") from error
    if form.get("grant_type") != ["password"]:
        raise Refusal("UNSUPPORTED", status=400, detail="grant_type: only password is supported")
    user, password = (form.get(name, [""])[0] for name in ("username", "password"))
    credentials = base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode()
    return f"Basic {credentials}", form.get("scope", [])
