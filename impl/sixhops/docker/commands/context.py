"""`context ls`, `use`, `inspect`, `rm`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker import config
from sixhops.docker.command import Command, Context
from sixhops.docker.commands import inspect
from sixhops.docker.engine import contexts
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.screen import table
from sixhops.docker.screen.templatefunctions import Fields
from sixhops.docker.values import quote

if TYPE_CHECKING:
    from sixhops.docker.config import Settings

__all__ = ["INSPECT", "LS", "RM", "USE", "default_context", "get"]

_ORCHESTRATOR = "swarm"


def default_context(settings: Settings) -> dict[str, Any]:
    """Return the context `default`: what options and environment say."""
    orchestrator = settings.text("stackOrchestrator") or _ORCHESTRATOR
    tls = settings.default_tls
    return {
        "Name": contexts.DEFAULT,
        "Metadata": {"StackOrchestrator": orchestrator},
        "Endpoints": {
            contexts.ENDPOINT: {
                "Host": settings.default_host,
                "SkipTLSVerify": tls is not None and not settings.default_verify,
            }
        },
    }


def get(settings: Settings, name: str) -> dict[str, Any]:
    """Return a context, also the default one. Raises DockerError."""
    if name == contexts.DEFAULT:
        return default_context(settings)
    return contexts.Store(settings.directory).get(name)


def _list(context: Context) -> int:
    settings, options = context.client.settings, context.options
    names = sorted([*contexts.Store(settings.directory).names(), contexts.DEFAULT], key=contexts.natural)
    rows = []
    for name in names:
        found = get(settings, name)
        endpoint = (found.get("Endpoints") or {}).get(contexts.ENDPOINT)
        if endpoint is None:
            raise DockerError("cannot find docker endpoint in context")
        about = found.get("Metadata") or {}
        text = about.get("Description", "")
        rows.append(
            {
                "Name": name,
                "Current": name == settings.context,
                "Description": "Current DOCKER_HOST based configuration"
                if name == contexts.DEFAULT
                else text,
                "DockerEndpoint": endpoint.get("Host", ""),
                "KubernetesEndpoint": _kubernetes((found.get("Endpoints") or {}).get("kubernetes")),
                "StackOrchestrator": about.get("StackOrchestrator", ""),
            }
        )
    table.write(_LISTING, rows, "{{.Name}}" if options["quiet"] else options["format"])
    sys.stdout.flush()
    if os.environ.get("DOCKER_HOST"):
        sys.stderr.write(f"{_overridden('a context')}\n")
    return 0


def _kubernetes(endpoint: dict[str, Any] | None) -> str:
    return f"{endpoint.get('Host', '')} ({endpoint.get('DefaultNamespace', '')})" if endpoint else ""


_LISTING = table.Listing(
    {
        "Current": lambda c: c["Current"],
        "Name": lambda c: c["Name"],
        "Description": lambda c: c["Description"],
        "DockerEndpoint": lambda c: c["DockerEndpoint"],
        "KubernetesEndpoint": lambda c: c["KubernetesEndpoint"],
        "StackOrchestrator": lambda c: c["StackOrchestrator"],
    },
    {
        "Current": "",
        "DockerEndpoint": "DOCKER ENDPOINT",
        "KubernetesEndpoint": "KUBERNETES ENDPOINT",
        "StackOrchestrator": "ORCHESTRATOR",
    },
    "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.KubernetesEndpoint}}\t"
    "{{.StackOrchestrator}}",
    kind="*formatter.clientContextContext",
)


def _overridden(what: str) -> str:
    return (
        "Warning: DOCKER_HOST environment variable overrides the active context. "
        f"To use {what}, either set the global --context flag, or unset DOCKER_HOST environment variable."
    )


def _use(context: Context) -> int:
    arguments = context.options.arguments
    if len(arguments) != 1:
        raise DockerError(f"accepts 1 arg(s), received {len(arguments)}")
    settings, name = context.client.settings, arguments[0]
    if name != contexts.DEFAULT:
        contexts.check_name(name)
        get(settings, name)
    settings.document.pop("currentContext", None)
    if name != contexts.DEFAULT:
        settings.document["currentContext"] = name
    config.save(settings)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f"Current context is now {quote(name)}\n")
    if os.environ.get("DOCKER_HOST"):
        sys.stderr.write(f"{_overridden(quote(name))}\n")
    return 0


def _inspect(context: Context) -> int:
    settings = context.client.settings

    def find(name: str) -> dict[str, Any]:
        store = contexts.Store(settings.directory)
        found = get(settings, name)
        if name == contexts.DEFAULT:
            names = [
                file
                for file, path in zip(contexts.TLS_FILES, settings.default_tls or (), strict=False)
                if path
            ]
            files = {contexts.ENDPOINT: names} if names else {}
            places = ("<IN MEMORY>", "<IN MEMORY>")
        else:
            files, places = store.tls_files(name), store.places(name)
        return {
            **{
                key: found[key]
                for key in ("Name", "Metadata", "Endpoints")
                if found.get(key) or (key == "Metadata" and found.get(key) is not None)
            },
            "TLSMaterial": files,
            "Storage": {"MetadataPath": places[0], "TLSPath": places[1]},
        }

    names = context.options.arguments or [settings.context]
    return inspect.show(names, context.options["format"], find, _Seen)


class _Seen(Fields):
    """A context as docker's own type is: `.Metadata` is all that is stored of it, and its metadata is a field of that."""

    kind = "context.contextWithTLSListing"

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def wants(self, name: str) -> int:
        """Return -1: all that there is are fields. Raises KeyError."""
        if name != "Metadata" and name not in self._document:
            raise KeyError(name)
        return -1

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return one field."""
        del arguments
        return _Stored(self._document) if name == "Metadata" else self._document[name]

    def as_json(self) -> str:
        """Return the document."""
        return json.dumps(self._document, separators=(",", ":"), ensure_ascii=False)


class _Stored(_Seen):
    """The stored part."""

    kind = "store.Metadata"

    def wants(self, name: str) -> int:
        """Return -1: all that there is are fields. Raises KeyError."""
        if name not in ("Name", "Metadata", "Endpoints"):
            raise KeyError(name)
        return -1

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return one field."""
        del arguments
        return self._document.get(name)

    def as_json(self) -> str:
        """Return the stored document."""
        stored = {
            name: self._document[name] for name in ("Name", "Metadata", "Endpoints") if name in self._document
        }
        return json.dumps(stored, separators=(",", ":"), ensure_ascii=False)


def _remove(context: Context) -> int:
    settings = context.client.settings
    store = contexts.Store(settings.directory)
    problems = []
    for name in context.options.arguments:
        try:
            _remove_one(settings, store, name, force=context.options["force"])
        except DockerError as error:
            problems.append(f"{name}: {error}")
            continue
        sys.stdout.write(f"{name}\n")
    if problems:
        raise DockerError("\n".join(problems))
    return 0


def _remove_one(settings: Settings, store: contexts.Store, name: str, *, force: bool) -> None:
    if name == contexts.DEFAULT:
        raise DockerError('context "default" cannot be removed')
    store.get(name)
    if name == settings.context:
        if not force:
            raise DockerError("context is in use, set -f flag to force remove")
        settings.document.pop("currentContext", None)
        config.save(settings)
    store.remove(name)


LS = Command(
    usage="",
    summary="List contexts",
    run=_list,
    most=0,
    aliases=("ls", "list"),
    flags=(
        flag("format", "string", help="Go template for each line"),
        flag("quiet", short="q", help="Print names only"),
    ),
)
USE = Command(usage="CONTEXT", summary="Set the current docker context", run=_use)
INSPECT = Command(
    usage="[CONTEXT] [CONTEXT...]",
    summary="Display detailed information on one or more contexts",
    run=_inspect,
    flags=(flag("format", "string", "f", "Go template for what is printed"),),
)
RM = Command(
    usage="CONTEXT [CONTEXT...]",
    summary="Remove one or more contexts",
    run=_remove,
    least=1,
    aliases=("rm", "remove"),
    says_options=False,
    flags=(flag("force", short="f", help="Also the context in use"),),
)
