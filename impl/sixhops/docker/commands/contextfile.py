"""`context export` and `import`: a context in one file, to carry it to another machine.

The file is a tar archive of meta.json and tls/ENDPOINT/FILE; `import` takes a zip file of the same as well.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

from sixhops.docker.attached.relay import write_all
from sixhops.docker.command import Command, Context
from sixhops.docker.commands.context import get
from sixhops.docker.commands.contextwrite import check_new
from sixhops.docker.engine import contexts, contextspec
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.screen import terminal
from sixhops.docker.values import os_error, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EXPORT", "IMPORT"]

_META = "meta.json"
_LIMIT = 10 << 20


def _export(context: Context) -> int:
    settings, options = context.client.settings, context.options
    name, *target = options.arguments
    if name != contexts.DEFAULT:
        contexts.check_name(name)
    found = get(settings, name)
    if options["kubeconfig"]:
        raise DockerError(f"context {quote(name)} has no kubernetes endpoint")
    store = contexts.Store(settings.directory)
    data = _archive(found, {} if name == contexts.DEFAULT else store.tls_files(name), store)
    path = target[0] if target else f"{name}.dockercontext"
    if path == "-":
        if terminal.is_terminal(1):
            raise DockerError("cowardly refusing to export to a terminal, please specify a file path")
        sys.stdout.flush()
        write_all(1, data)
        return 0
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise DockerError(os_error("open", path, error)) from error
    sys.stderr.write(f"Written file {quote(path)}\n")
    return 0


def _archive(context: dict[str, Any], files: dict[str, list[str]], store: contexts.Store) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(name: str, data: bytes | None, mode: int) -> None:
            item = tarfile.TarInfo(name)
            item.mode = mode
            if data is None:
                item.type = tarfile.DIRTYPE
                archive.addfile(item)
                return
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))

        add(_META, json.dumps(context, separators=(",", ":"), ensure_ascii=False).encode(), 0o644)
        add("tls", None, 0o700)
        for endpoint, names in files.items():
            add(f"tls/{endpoint}", None, 0o700)
            for file in names:
                add(
                    f"tls/{endpoint}/{file}",
                    contextspec.read(store.tls_path(context["Name"], endpoint, file)),
                    0o600,
                )
    return buffer.getvalue()


def _import(context: Context) -> int:
    settings = context.client.settings
    name, source = context.options.arguments
    store = contexts.Store(settings.directory)
    check_new(store, name)
    data = sys.stdin.buffer.read(_LIMIT + 1) if source == "-" else contextspec.read(source)
    if len(data) > _LIMIT:
        raise DockerError("read exceeds the defined limit")
    made, tls = _taken(data)
    store.put({**made, "Name": name})
    for endpoint, files in tls.items():
        store.reset_tls(name, endpoint, files)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f"Successfully imported context {quote(name)}\n")
    return 0


def _taken(data: bytes) -> tuple[dict[str, Any], dict[str, dict[str, bytes]]]:
    """Return the context and its TLS files. Raises DockerError; nothing has been written then."""
    made: dict[str, Any] | None = None
    tls: dict[str, dict[str, bytes]] = {}
    for path, content in _members(data):
        _check_path(path)
        if path == _META:
            try:
                made = json.loads(content)
            except ValueError as error:
                raise DockerError(f"invalid context: {_META}: {error}") from error
            if not isinstance(made, dict):
                raise DockerError(f"invalid context: {_META} holds no object")
            continue
        _, endpoint, *rest = path.split("/", 2)
        if not rest or endpoint in ("", ".", "..") or "/" in rest[0]:
            raise DockerError("archive format is invalid")
        tls.setdefault(endpoint, {})[rest[0]] = content
    if made is None:
        raise DockerError("invalid context: no metadata found")
    return made, tls


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"PK\3\4"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                for entry in packed.infolist():
                    if entry.file_size > _LIMIT:
                        raise DockerError("read exceeds the defined limit")
                    if not entry.is_dir():
                        yield entry.filename, packed.read(entry)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise DockerError(f"zip: {error}") from error
        return
    # docker's own exports end with the last file's last byte, where tarfile wants whole blocks
    padded = data + bytes(-len(data) % tarfile.BLOCKSIZE)
    try:
        with tarfile.open(fileobj=io.BytesIO(padded), mode="r:") as archive:
            for item in archive:
                if item.offset_data + item.size > len(data):
                    raise tarfile.ReadError("unexpected end of data")
                stream = archive.extractfile(item) if item.isreg() else None
                if stream is not None:
                    yield item.name, stream.read()
    except tarfile.TarError as error:
        # as docker says of what is no archive; an empty one has no metadata
        raise DockerError("unexpected EOF" if data else "invalid context: no metadata found") from error


def _check_path(path: str) -> None:
    if path != _META and not path.startswith("tls/"):
        raise DockerError(f"{path}: unexpected context file")
    if os.path.normpath(path) != path:
        raise DockerError(f"{path}: unexpected path format")
    if "\\" in path:
        raise DockerError(f"{path}: unexpected '\\' in path")


EXPORT = Command(
    usage="CONTEXT [FILE|-]",
    summary="Export a context to a tar or kubeconfig file",
    run=_export,
    least=1,
    most=2,
    flags=(flag("kubeconfig", help="Not supported: the Kubernetes endpoint as a kubeconfig file"),),
)
IMPORT = Command(
    usage="CONTEXT FILE|-",
    summary="Import a context from a tar or zip file",
    run=_import,
    least=2,
    most=2,
)
