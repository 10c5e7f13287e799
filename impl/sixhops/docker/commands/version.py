"""`version`: the client's own, and what the engine and its components say."""

from __future__ import annotations

import platform
import sys
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.engine.client import API_VERSION, VERSION
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.flags import flag
from sixhops.docker.screen import structs, template

__all__ = ["VERSION_COMMAND"]

#: what Go calls the machines that Python calls differently
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def _version(context: Context) -> int:
    form = context.options["format"]
    if "kubeconfig" in context.options.given:
        raise DockerError("--kubeconfig: this client knows nothing of Kubernetes")
    try:
        compiled = template.parse(form) if form else None
    except template.TemplateError as error:
        raise ExitError(64, f"template parsing error: {_named(error)}") from error
    context.client.negotiate()
    server: dict[str, Any] | None = None
    problem: DockerError | None = None
    try:
        server = context.client.json("GET", "/version")
    except DockerError as error:
        problem = error
    client = {
        "Platform": {"Name": ""},
        "Version": VERSION,
        "ApiVersion": context.client.version,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": "sixhops",
        "GoVersion": f"python{platform.python_version()}",
        "Os": "linux",
        "Arch": _MACHINES.get(platform.machine(), platform.machine()),
        "BuildTime": "",
        "Context": context.client.settings.context,
        "Experimental": True,
    }
    if compiled is not None:
        try:
            sides = structs.view("system.versionInfo", {"Client": client, "Server": server})
            sys.stdout.write(f"{compiled.render(sides)}\n")
        except template.TemplateError as error:
            sys.stdout.write(f"{error.partial}\n")
            sys.stdout.flush()
            raise DockerError(_named(error)) from error
    else:
        _client_lines(client)
        if server is not None:
            _server_lines(server)
    if problem is not None:
        raise problem
    return 0


def _named(error: template.TemplateError) -> str:
    """Return what is wrong with the template under the name that it has here."""
    text = str(error).replace("template: :", "template: version:", 1)
    return text.replace('executing ""', 'executing "version"', 1)


def _client_lines(client: dict[str, Any]) -> None:
    spoken = client["ApiVersion"]
    if spoken != API_VERSION:
        spoken += f" (downgraded from {API_VERSION})"
    rows = (
        ("Version", client["Version"]),
        ("API version", spoken),
        ("Go version", client["GoVersion"]),
        ("Git commit", client["GitCommit"]),
        ("Built", client["BuildTime"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Context", client["Context"]),
        ("Experimental", str(client["Experimental"]).lower()),
    )
    sys.stdout.write("Client:\n" + "".join(f" {name + ':':<19}{value}\n" for name, value in rows))


def _server_lines(server: dict[str, Any]) -> None:
    name = (server.get("Platform") or {}).get("Name", "")
    lines = f"\nServer:{' ' + name if name else ''}\n"
    for component in _components(server):
        lines += f" {component['Name']}:\n"
        details = component.get("Details") or {}
        lines += _row("Version", component["Version"])
        if component["Name"] == "Engine":
            lines += _row(
                "API version", f"{details['ApiVersion']} (minimum version {details['MinAPIVersion']})"
            )
            lines += _row("Go version", details.get("GoVersion", ""))
            lines += _row("Git commit", details.get("GitCommit", ""))
            lines += _row("Built", _built(details.get("BuildTime", "")))
            lines += _row("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}")
            lines += _row("Experimental", details.get("Experimental", ""))
        else:
            lines += "".join(_row(key, details[key]) for key in sorted(details))
    sys.stdout.write(lines)


def _components(server: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the components; an engine that names none is one itself."""
    found = server.get("Components")
    if found:
        return list(found)
    details = {
        "ApiVersion": server.get("ApiVersion", ""),
        "MinAPIVersion": server.get("MinAPIVersion", ""),
        "GoVersion": server.get("GoVersion", ""),
        "GitCommit": server.get("GitCommit", ""),
        "BuildTime": server.get("BuildTime", ""),
        "Os": server.get("Os", ""),
        "Arch": server.get("Arch", ""),
        "Experimental": str(bool(server.get("Experimental"))).lower(),
    }
    return [{"Name": "Engine", "Version": server.get("Version", ""), "Details": details}]


def _row(name: str, value: str) -> str:
    return f"  {name + ':':<18}{value}\n"


def _built(text: str) -> str:
    """Return a build time as C's ctime writes it; a text that is no time stays."""
    from datetime import datetime  # noqa: PLC0415 - only here

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S %Y}"


VERSION_COMMAND = Command(
    usage="",
    summary="Show the Docker version information",
    run=_version,
    most=0,
    flags=(
        flag("format", "string", "f", "Go template for what is printed"),
        flag("kubeconfig", "string", help="Not supported: file that says where a Kubernetes is"),
    ),
)
