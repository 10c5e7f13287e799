"""Plugins of an engine that has none and takes none: what can be asked is answered as dockerd does without any plugin."""

from __future__ import annotations

import io
import posixpath
from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, gojson
from sixhops.dockerd.api.gojson import Kind, Struct
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError, invalid, not_found, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.images import reference
from sixhops.dockerd.images.unpacking.tarheads import TornError, entries, is_ended

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call

__all__ = ["routes"]

_NOT_IMPLEMENTED = 501
_STRINGS = Kind("[]string", "list", Kind("string", "string"))
_PRIVILEGES = Kind(
    "types.PluginPrivileges",
    "list",
    Struct(
        "PluginPrivilege",
        {
            "Name": Kind("string", "string"),
            "Description": Kind("string", "string"),
            "Value": _STRINGS,
        },
        "types",
    ),
)
_FILTERS = frozenset({"capability", "enabled"})


def routes() -> list[Route]:
    """Return the routes, in the order in which they are tried."""
    return [
        route("GET", "/plugins", _list),
        route("GET", "/plugins/{name:.*}/json", _missing),
        route("GET", "/plugins/privileges", _privileges),
        route("DELETE", "/plugins/{name:.*}", _missing),
        route("POST", "/plugins/{name:.*}/enable", _enable),
        route("POST", "/plugins/{name:.*}/disable", _missing),
        route("POST", "/plugins/pull", _pull),
        route("POST", "/plugins/{name:.*}/push", _missing),
        route("POST", "/plugins/{name:.*}/upgrade", _upgrade),
        route("POST", "/plugins/{name:.*}/set", _set),
        route("POST", "/plugins/create", _create),
    ]


async def _list(call: Call) -> web.StreamResponse:
    filters = call.filters()
    unknown = next((key for key in filters if key not in _FILTERS), None)
    if unknown is not None:
        raise invalid(f"Invalid filter '{unknown}'")
    enabled = filters.get("enabled")
    if enabled and not set(enabled) & {"true", "false"}:
        raise invalid(f"Invalid filter 'enabled=[{' '.join(enabled)}]'")
    return await answers.json_answer(call.request, [])


async def _missing(call: Call) -> web.StreamResponse:
    raise not_found(f"plugin {quote(call['name'])} not found")


async def _enable(call: Call) -> web.StreamResponse:
    if call.number("timeout") is None:
        raise system('strconv.Atoi: parsing "": invalid syntax')
    return await _missing(call)


async def _set(call: Call) -> web.StreamResponse:
    await call.value(_STRINGS, empty="got EOF while reading request body")
    return await _missing(call)


async def _privileges(call: Call) -> web.StreamResponse:
    _remote(call)
    raise _refused()


async def _pull(call: Call) -> web.StreamResponse:
    await _read_privileges(call)
    _remote(call)
    raise _refused()


async def _upgrade(call: Call) -> web.StreamResponse:
    await _read_privileges(call)
    _remote(call)
    name = _parsed(call["name"])
    raise not_found(f"plugin {quote(name.or_latest().familiar)} not found")


def _remote(call: Call) -> reference.Reference:
    return _parsed(call.text("remote"))


def _parsed(text: str) -> reference.Reference:
    try:
        return reference.parse(text)
    except EngineError as error:
        raise system(error.message) from error


async def _create(call: Call) -> web.StreamResponse:
    name = call.text("name")
    try:
        wanted = reference.parse(name)
    except EngineError as error:
        raise system(f"failed to parse reference {name}: {error.message}") from error
    if wanted.digest:
        raise system("canonical references are not permitted")
    _check_archive(await _archive(call))
    raise _refused()


async def _archive(call: Call) -> bytes:
    """Return the body up to the end of the archive in it: nobody waits for what may follow. Raises EngineError 500."""
    data = bytearray()
    try:
        async for piece in call.archive():
            data += piece
            if is_ended(data):
                break
    except EngineError as error:
        cause = error.__cause__
        raise system(f"failed to read from tar: {cause if cause is not None else error.message}") from error
    return bytes(data)


def _check_archive(data: bytes) -> None:
    """Look whether a tar is that of a plugin: files in `rootfs`, and config.json. Raises EngineError 500."""
    file = io.BytesIO(data)
    has_files, config = False, None
    try:
        for member in entries(file):
            name = posixpath.normpath(member.name).lstrip("/")
            has_files = has_files or name.partition("/")[0] == "rootfs"
            if name == "config.json":
                config = data[member.offset_data : member.offset_data + member.size]
    except TornError as error:
        raise system(f"failed to read from tar: {error}") from error
    if not has_files:
        raise system("no rootfs found: EOF")
    if config is None:
        raise system("config not found")
    try:
        gojson.decode_whole(config)
    except gojson.GoJsonError as error:
        raise system(f"failed to parse config: {error}") from error


async def _read_privileges(call: Call) -> None:
    try:
        await call.value(_PRIVILEGES)
    except EngineError as error:
        raise system(f"failed to parse privileges: {error.message}") from error


def _refused() -> EngineError:
    return EngineError(_NOT_IMPLEMENTED, "this engine takes no plugins")
