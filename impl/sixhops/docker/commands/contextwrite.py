"""`context create` and `update`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker.command import Command, Context
from sixhops.docker.commands.context import get
from sixhops.docker.engine import contexts, contextspec
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.values import quote

if TYPE_CHECKING:
    from sixhops.docker.config import Settings

__all__ = ["CREATE", "UPDATE", "check_new"]


def check_new(store: contexts.Store, name: str) -> None:
    """Raise DockerError unless a context of this name may be made."""
    contexts.check_name(name)
    if store.exists(name):
        raise DockerError(f"context {quote(name)} already exists")


def _create(context: Context) -> int:
    settings, options = context.client.settings, context.options
    store, name = contexts.Store(settings.directory), options.arguments[0]
    check_new(store, name)
    orchestrator = contextspec.orchestrator(options["default-stack-orchestrator"])
    _refuse_kubernetes(context)
    if options["from"] or "docker" not in options.given:
        if options["docker"]:
            raise DockerError("cannot use --docker or --kubernetes flags when --from is set")
        made, tls = _copied(settings, store, options["from"] or settings.context)
    else:
        endpoint, files = _endpoint(context)
        made = {"Metadata": {}, "Endpoints": {contexts.ENDPOINT: endpoint}}
        tls = {contexts.ENDPOINT: files}
    about = dict(made.get("Metadata") or {})
    if options["description"]:
        about["Description"] = options["description"]
    if orchestrator:
        about["StackOrchestrator"] = orchestrator
    context_made = {
        "Name": name,
        "Metadata": dict(sorted(about.items())),
        "Endpoints": made.get("Endpoints") or {},
    }
    contextspec.check_orchestrator(context_made)
    store.put(context_made)
    for endpoint_name, files in tls.items():
        store.reset_tls(name, endpoint_name, files)
    return _said(name, "created")


def _copied(
    settings: Settings, store: contexts.Store, name: str
) -> tuple[dict[str, Any], dict[str, dict[str, bytes]]]:
    """Return another context and its TLS files."""
    found = get(settings, name)
    if name == contexts.DEFAULT:
        paths = dict(zip(contexts.TLS_FILES, settings.default_tls or (), strict=False))
        files = {file: contextspec.read(path) for file, path in paths.items() if path}
        return found, {contexts.ENDPOINT: files}
    return found, {
        endpoint: {file: contextspec.read(store.tls_path(name, endpoint, file)) for file in files}
        for endpoint, files in store.tls_files(name).items()
    }


def _update(context: Context) -> int:
    settings, options = context.client.settings, context.options
    store, name = contexts.Store(settings.directory), options.arguments[0]
    contexts.check_name(name)
    found = store.get(name)
    about = dict(found.get("Metadata") or {})
    orchestrator = contextspec.orchestrator(options["default-stack-orchestrator"])
    _refuse_kubernetes(context)
    if orchestrator:
        about["StackOrchestrator"] = orchestrator
    if options["description"]:
        about["Description"] = options["description"]
    endpoints = dict(found.get("Endpoints") or {})
    if "docker" in options.given:
        endpoints[contexts.ENDPOINT], files = _endpoint(context)
    changed = {"Name": name, "Metadata": dict(sorted(about.items())), "Endpoints": endpoints}
    contextspec.check_orchestrator(changed)
    store.put(changed)
    if "docker" in options.given:
        store.reset_tls(name, contexts.ENDPOINT, files)
    return _said(name, "updated")


def _endpoint(context: Context) -> tuple[dict[str, Any], dict[str, bytes]]:
    settings = context.client.settings
    try:
        return contextspec.endpoint_of(dict(context.options["docker"]), lambda name: get(settings, name))
    except DockerError as error:
        raise DockerError(f"unable to create docker endpoint config: {error}") from error


def _refuse_kubernetes(context: Context) -> None:
    if "kubernetes" in context.options.given:
        raise DockerError(
            "--kubernetes: this client runs containers on engines only, a context can't have a Kubernetes endpoint"
        )


def _said(name: str, done: str) -> int:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f"Successfully {done} context {quote(name)}\n")
    return 0


_KEYS = """{}

What --docker may say:

NAME                DESCRIPTION
from                Context whose engine to take
host                Address of the engine
ca                  File of the CA that the engine must be certified by
cert                File of the client's certificate
key                 File of the client's key
skip-tls-verify     Don't check the engine's certificate

Example:

$ docker context {} far --docker "host=tcp://far.example:2376,ca=ca.pem,cert=cert.pem,key=key.pem"
"""

_FLAGS = (
    flag("default-stack-orchestrator", "string", help="Orchestrator of stacks (swarm|kubernetes|all)"),
    flag("description", "string", help="Description of the context"),
    flag("docker", "stringToString", help="The engine", shown="[]"),
    flag("kubernetes", "stringToString", help="Not supported: the Kubernetes endpoint", shown="[]"),
)

CREATE = Command(
    usage="CONTEXT",
    summary="Create a context",
    about=_KEYS.format("Create a context", "create"),
    run=_create,
    least=1,
    most=1,
    flags=(*_FLAGS, flag("from", "string", help="Context to copy")),
)
UPDATE = Command(
    usage="CONTEXT",
    summary="Update a context",
    about=_KEYS.format("Update a context", "update"),
    run=_update,
    least=1,
    most=1,
    flags=_FLAGS,
)
