"""POST /commit: an image of what a container has become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.containers.checks import config as configs
from sixhops.dockerd.containers.rootfs.committing import CommitRequest
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.rootfs.committing import Committer

__all__ = ["routes"]


def routes(committer: Committer) -> list[Route]:
    """Return the route."""

    async def commit(call: Call) -> web.StreamResponse:
        call.require_json()
        try:
            config = await call.value(bodies.CREATE, status=500)
        except EngineError as error:
            if error.message != "EOF":  # to have nothing to say is no error here
                raise
            config = None
        given = {key: value for key, value in (config or {}).items() if key in configs.CONFIG_MEMBERS}
        for key in ("Cmd", "Entrypoint", "Shell"):
            if isinstance(given.get(key), str):
                given[key] = [given[key]]
        identity = await committer.commit(
            CommitRequest(
                container=call.text("container"),
                repository=call.text("repo"),
                tag=call.text("tag"),
                author=call.text("author"),
                comment=call.text("comment"),
                changes=call.query.get("changes", ()),
                config=given or None,
                pause=call.flag("pause") if call.text("pause") else True,
            )
        )
        return await answers.json_answer(call.request, {"Id": identity}, status=201)

    return [route("POST", "/commit", commit)]
