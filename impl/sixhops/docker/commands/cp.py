"""`cp`: files between a container and this machine, as tar archives."""

from __future__ import annotations

import base64
import binascii
import json
import os
import posixpath
import stat
import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker.attached.relay import write_all
from sixhops.docker.command import Command, Context
from sixhops.docker.copying import archives, copypaths
from sixhops.docker.copying.copypaths import Place
from sixhops.docker.copying.outputs import check_output_path
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.values import os_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.docker.engine.answers import Reply
    from sixhops.docker.engine.client import Client

__all__ = ["CP"]

# bits of Go's os.FileMode, which the engine sends
_DIRECTORY, _SYMLINK, _DEVICE, _IRREGULAR = 1 << 31, 1 << 27, 1 << 26, 1 << 19
_READ = 64 * 1024
_LINKS = 10


def _copy(context: Context) -> int:
    source, target = context.options.arguments
    if not source:
        raise DockerError("source can not be empty")
    if not target:
        raise DockerError("destination can not be empty")
    from_container, from_path = copypaths.split_argument(source)
    to_container, to_path = copypaths.split_argument(target)
    if from_container and to_container:
        raise DockerError("copying between containers is not supported")
    if from_container:
        return _from_container(context, from_container, from_path, to_path)
    if to_container:
        return _to_container(context, from_path, to_container, to_path)
    raise DockerError("must specify at least one container source")


def _from_container(context: Context, container: str, path: str, target: str) -> int:
    client = context.client
    if target != "-":
        target = copypaths.absolute(target, os.getcwd())
    check_output_path(target)
    rebase = ""
    if context.options["follow-link"]:
        state = _stat(client, container, path)
        if state is not None and state["mode"] & _SYMLINK:
            path, rebase = copypaths.rebased(path, _link_target(path, state))
    reply = client.call(
        "GET", f"/containers/{container}/archive", {"path": path}, missing=_missing(container, path)
    )
    if target == "-":
        sys.stdout.flush()
        for piece in reply.pieces():
            write_all(1, piece)
        return 0
    try:
        source = Place(
            path, exists=True, is_directory=bool(_state(reply)["mode"] & _DIRECTORY), rebase=rebase
        )
        directory, rename = copypaths.destination(source, _local_target(target))
        first = (copypaths.split(path)[1], rebase) if rebase else None
        archives.unpack(reply.pieces(), os.path.normpath(directory), [first, rename])
    finally:
        reply.close()
    return 0


def _to_container(context: Context, path: str, container: str, target: str) -> int:
    client, options = context.client, context.options
    if path != "-":
        path = copypaths.absolute(path, os.getcwd())
    place = _remote_target(client, container, target)
    query = {"noOverwriteDirNonDir": "true"}
    if options["archive"]:
        query["copyUIDGID"] = "true"
    if path == "-":
        if not place.is_directory:
            raise DockerError(f'destination "{container}:{target}" must be a directory')
        query["path"] = place.path
        pieces = _stdin()
    else:
        source = _local_source(path, follow=options["follow-link"])
        directory, name = copypaths.split(source.path)
        query["path"], rename = copypaths.destination(source, place)
        first = (name, source.rebase) if source.rebase else None
        pieces = archives.pack(directory, name, [first, rename])
    url = f"/containers/{container}/archive"
    reply = client.upload("PUT", url, query, pieces, missing=_missing(container, query["path"]))
    reply.body()
    return 0


def _stdin() -> Iterator[bytes]:
    while piece := os.read(0, _READ):
        yield piece


def _missing(container: str, path: str) -> tuple[str, str]:
    return "container:path", f"{container}:{path}"


def _stat(client: Client, container: str, path: str) -> dict[str, Any] | None:
    """Return what the engine says of a path, None when it says that something is wrong: the copy itself tells what."""
    try:
        reply = client.call("HEAD", f"/containers/{container}/archive", {"path": path})
    except DockerError:
        return None
    return _state(reply)


def _state(reply: Reply) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(
            base64.b64decode(reply.headers.get("x-docker-container-path-stat", ""), validate=True)
        )
    except (binascii.Error, ValueError) as error:
        raise DockerError(
            f"unable to get resource stat from response: unable to decode container path stat header: {error}"
        ) from error
    return found


def _link_target(path: str, state: dict[str, Any]) -> str:
    target = str(state["linkTarget"])
    return target if target.startswith("/") else posixpath.normpath(f"{copypaths.split(path)[0]}/{target}")


def _remote_target(client: Client, container: str, target: str) -> Place:
    """Return where in the container a copy goes; what isn't there may still be made by the copy."""
    path = target
    state = _stat(client, container, path)
    if state is not None and state["mode"] & _SYMLINK:
        path = _link_target(path, state)
        state = _stat(client, container, path)
    if state is None:
        return Place(path)
    kind = state["mode"]
    if kind & (_DEVICE | _IRREGULAR):
        what = "a device" if kind & _DEVICE else "an irregular file"
        raise DockerError(
            f'destination "{container}:{target}" must be a directory or a regular file: got {what}'
        )
    return Place(path, exists=True, is_directory=bool(kind & _DIRECTORY))


def _local_source(path: str, *, follow: bool) -> Place:
    """Return a source on this machine, its directory resolved; with `follow` the last part as well. Raises DockerError."""
    if follow:
        resolved, rebase = copypaths.rebased(path, _real(path))
    else:
        directory, slash, name = path.rpartition("/")
        resolved = f"{_real(directory + slash)}/{name}".replace("//", "/")
        changed = copypaths.base(path) != copypaths.base(resolved)
        rebase = copypaths.base(path) if path.endswith("/") and changed else ""
    try:
        state = os.lstat(resolved)
    except OSError as error:
        raise DockerError(os_error("lstat", resolved, error)) from error
    return Place(resolved, exists=True, is_directory=stat.S_ISDIR(state.st_mode), rebase=rebase)


def _real(path: str) -> str:
    try:
        return os.path.realpath(path, strict=True)
    except NotADirectoryError as error:
        raise DockerError("not a directory") from error
    except OSError as error:
        raise DockerError(os_error("lstat", str(error.filename or path), error)) from error


def _local_target(path: str) -> Place:
    """Return where on this machine a copy goes: behind links, which may lead to what isn't there. Raises DockerError."""
    here = path
    for _ in range(_LINKS + 1):
        if not os.path.islink(here):
            break
        target = os.readlink(here)
        here = target if target.startswith("/") else os.path.normpath(f"{copypaths.split(here)[0]}/{target}")
    else:
        raise DockerError(f"too many symlinks in {path}")
    try:
        state = os.lstat(here)
    except FileNotFoundError:
        parent = copypaths.split(here)[0]
        try:
            if not stat.S_ISDIR(os.stat(parent).st_mode):
                raise DockerError("not a directory")
        except OSError as error:
            raise DockerError(os_error("stat", parent, error)) from error
        return Place(here)
    except OSError as error:
        raise DockerError(os_error("lstat", here, error)) from error
    return Place(here, exists=True, is_directory=stat.S_ISDIR(state.st_mode))


CP = Command(
    usage="CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    summary="Copy files/folders between a container and the local filesystem",
    about=(
        "Copy files/folders between a container and the local filesystem\n\n"
        "With '-' as the source a tar archive is read from stdin and unpacked in a directory\nof the container. With '-' as "
        "the destination a tar archive is written to stdout."
    ),
    run=_copy,
    least=2,
    most=2,
    flags=(
        flag("archive", short="a", help="Keep users and groups"),
        flag("follow-link", short="L", help="Follow a symbolic link in SRC_PATH"),
    ),
)
