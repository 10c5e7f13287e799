"""`save`, `load`, `import`, `export`: images and file systems as tar archives, which pass through as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sixhops.docker import reference
from sixhops.docker.attached.relay import write_all
from sixhops.docker.command import Command, Context
from sixhops.docker.copying.outputs import check_output_path, write_to
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import PLATFORM, flag
from sixhops.docker.screen import progress, terminal
from sixhops.docker.values import os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sixhops.docker.engine.answers import Reply

__all__ = ["EXPORT", "IMPORT", "LOAD", "SAVE"]

_READ = 64 * 1024


def _save(context: Context) -> int:
    options = context.options
    _check_output(options["output"], "image")
    reply = context.client.call("GET", "/images/get", {"names": options.arguments})
    write_to(options["output"], reply.pieces())
    return 0


def _export(context: Context) -> int:
    options = context.options
    _check_output(options["output"], "container")
    reply = context.client.call("GET", f"/containers/{options.arguments[0]}/export")
    write_to(options["output"], reply.pieces())
    return 0


def _check_output(path: str, what: str) -> None:
    if not path and terminal.is_terminal(1):
        raise DockerError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    try:
        check_output_path(path)
    except DockerError as error:
        verb = "save" if what == "image" else "export"
        raise DockerError(f"failed to {verb} {what}: {error}") from error


def _load(context: Context) -> int:
    options = context.options
    if not options["input"] and terminal.is_terminal(0):
        raise DockerError("requested load from stdin, but stdin is empty")
    source = _source(options["input"])
    quiet = options["quiet"] or not terminal.is_terminal(1)
    _show(
        context.client.upload("POST", "/images/load", {"quiet": str(int(quiet))}, source, "application/x-tar")
    )
    return 0


def _import(context: Context) -> int:
    options = context.options
    name = options.arguments[0]
    again = options.arguments[1] if len(options.arguments) > 1 else ""
    remote = name.startswith(("http://", "https://"))
    source: Iterable[bytes] = () if remote else _source("" if name == "-" else name)
    if again:
        reference.parse(again)
    query = {
        "fromSrc": name if remote else "-",
        "repo": again,
        "tag": "",
        "message": options["message"],
        "changes": options["change"],
    }
    if options["platform"]:
        query["platform"] = options["platform"].lower()
    if remote:
        reply = context.client.call("POST", "/images/create", query)
    else:
        reply = context.client.upload("POST", "/images/create", query, source)
    progress.show(reply.pieces(), 1)
    return 0


def _show(reply: Reply) -> None:
    if reply.headers.get("content-type") == "application/json":
        progress.show(reply.pieces(), 1)
        return
    for piece in reply.pieces():
        write_all(1, piece)


def _source(path: str) -> Iterator[bytes]:
    """Return a file's pieces ("" is stdin); it is opened here and now. Raises DockerError."""
    if not path:
        return _pieces(0, "/dev/stdin")
    try:
        return _pieces(os.open(path, os.O_RDONLY), path)
    except OSError as error:
        raise DockerError(os_error("open", path, error)) from error


def _pieces(descriptor: int, path: str) -> Iterator[bytes]:
    try:
        while piece := os.read(descriptor, _READ):
            yield piece
    except OSError as error:
        raise DockerError(os_error("read", path, error)) from error
    finally:
        if descriptor:
            os.close(descriptor)


_OUTPUT = flag("output", "string", "o", "File to write, instead of stdout")

SAVE = Command(
    usage="IMAGE [IMAGE...]",
    summary="Save one or more images to a tar archive (streamed to STDOUT by default)",
    run=_save,
    least=1,
    flags=(_OUTPUT,),
)
EXPORT = Command(
    usage="CONTAINER",
    summary="Export a container's filesystem as a tar archive",
    run=_export,
    least=1,
    most=1,
    flags=(_OUTPUT,),
)
LOAD = Command(
    usage="",
    summary="Load an image from a tar archive or STDIN",
    run=_load,
    most=0,
    flags=(
        flag("input", "string", "i", "File to read, instead of stdin"),
        flag("quiet", short="q", help="Show no progress"),
    ),
)
IMPORT = Command(
    usage="file|URL|- [REPOSITORY[:TAG]]",
    summary="Import the contents from a tarball to create a filesystem image",
    run=_import,
    least=1,
    flags=(
        flag("change", "list", "c", "Instruction of a Dockerfile to apply to the image"),
        flag("message", "string", "m", "Message in the image's history"),
        PLATFORM,
    ),
)
