"""`info`: what the engine says about itself and its machine."""

from __future__ import annotations

import json
import sys
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.flags import flag
from sixhops.docker.screen import human, structs, template

__all__ = ["INFO"]


def _info(context: Context) -> int:
    form = context.options["format"]
    try:
        compiled = template.parse(form) if form else None
    except template.TemplateError as error:
        raise ExitError(64, f"template parsing error: {error}") from error
    client = {
        "Debug": context.client.settings.debug,
        "Context": context.client.settings.context,
        "Plugins": [],
        "Warnings": None,
    }
    server: dict[str, Any] = {}
    problem: DockerError | None = None
    try:
        server = context.client.json("GET", "/info")
    except DockerError as error:
        problem = error
    if compiled is not None:
        document = {**server, "ClientInfo": client}
        if problem is not None:
            document["ServerErrors"] = [str(problem)]
        try:
            sys.stdout.write(f"{compiled.render(structs.view('system.info', document))}\n")
        except template.TemplateError as error:
            sys.stdout.write(f"{error.partial}\n")
            sys.stdout.flush()
            raise DockerError(str(error)) from error
        return 0
    debug = str(client["Debug"]).lower()
    sys.stdout.write(f"Client:\n Context:    {client['Context']}\n Debug Mode: {debug}\n\nServer:\n")
    if problem is not None:
        sys.stdout.write(f"ERROR: {problem}\n")
        raise DockerError("errors pretty printing info")
    sys.stdout.write("".join(f"{line}\n" for line in _lines(server)) + "\n")
    sys.stdout.flush()
    for warning in server.get("Warnings") or []:
        sys.stderr.write(f"{warning}\n")
    return 0


def _lines(info: dict[str, Any]) -> list[str]:
    lines = [
        f" Containers: {info['Containers']}",
        f"  Running: {info['ContainersRunning']}",
        f"  Paused: {info['ContainersPaused']}",
        f"  Stopped: {info['ContainersStopped']}",
        f" Images: {info['Images']}",
    ]
    lines += _set(" Server Version", info.get("ServerVersion"))
    lines += _set(" Storage Driver", info.get("Driver"))
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or []]
    lines += _set(" Logging Driver", info.get("LoggingDriver"))
    lines += _set(" Cgroup Driver", info.get("CgroupDriver"))
    lines += _set(" Cgroup Version", info.get("CgroupVersion"))
    plugins = info.get("Plugins") or {}
    lines += [" Plugins:"]
    lines += [f"  {name}: {' '.join(plugins.get(name) or [])}" for name in ("Volume", "Network")]
    lines += (
        [f"  Authorization: {' '.join(plugins['Authorization'])}"] if plugins.get("Authorization") else []
    )
    lines += [f"  Log: {' '.join(plugins.get('Log') or [])}"]
    lines += [f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', '')}"]
    lines += [f" Runtimes: {' '.join(info['Runtimes'])}"] if info.get("Runtimes") else []
    lines += [f" Default Runtime: {info.get('DefaultRuntime', '')}"] if info.get("Runtimes") else []
    if info.get("OSType") == "linux":
        lines += [f" Init Binary: {info.get('InitBinary', '')}"]
        lines += [
            f" {label} version: {_commit(info.get(key) or {})}"
            for label, key in (
                ("containerd", "ContainerdCommit"),
                ("runc", "RuncCommit"),
                ("init", "InitCommit"),
            )
        ]
        lines += _security(info.get("SecurityOptions") or [])
    for label, key in (
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ):
        lines += _set(f" {label}", info.get(key))
    lines += [f" CPUs: {info.get('NCPU', 0)}", f" Total Memory: {human.binary_size(info.get('MemTotal', 0))}"]
    for label, key in (("Name", "Name"), ("ID", "ID")):
        lines += _set(f" {label}", info.get(key))
    lines += [f" Docker Root Dir: {info.get('DockerRootDir', '')}"]
    lines += [f" Debug Mode: {str(bool(info.get('Debug'))).lower()}"]
    if info.get("Debug"):
        lines += [f"  File Descriptors: {info.get('NFd', 0)}", f"  Goroutines: {info.get('NGoroutines', 0)}"]
        lines += [
            f"  System Time: {info.get('SystemTime', '')}",
            f"  EventsListeners: {info.get('NEventsListener', 0)}",
        ]
    for label, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        lines += _set(f" {label}", info.get(key))
    lines += _set(" Registry", info.get("IndexServerAddress"))
    lines += [" Labels:", *(f"  {label}" for label in info.get("Labels") or [])]
    lines += [f" Experimental: {str(bool(info.get('ExperimentalBuild'))).lower()}"]
    return lines + _registries(info.get("RegistryConfig") or {}) + _ending(info)


def _registries(config: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    insecure = [name for name, entry in (config.get("IndexConfigs") or {}).items() if not entry.get("Secure")]
    networks = config.get("InsecureRegistryCIDRs") or []
    if insecure or networks:
        lines += [" Insecure Registries:", *(f"  {item}" for item in [*insecure, *networks])]
    mirrors = config.get("Mirrors") or []
    return lines + ([" Registry Mirrors:", *(f"  {item}" for item in mirrors)] if mirrors else [])


def _ending(info: dict[str, Any]) -> list[str]:
    lines = [f" Live Restore Enabled: {str(bool(info.get('LiveRestoreEnabled'))).lower()}"]
    lines += _set(" Product License", info.get("ProductLicense"))
    pools = info.get("DefaultAddressPools") or []
    if pools:
        lines += [
            " Default Address Pools:",
            *(f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools),
        ]
    return lines


def _security(options: list[str]) -> list[str]:
    lines = [" Security Options:"] if options else []
    for option in options:
        pairs = dict(part.partition("=")[::2] for part in option.split(","))
        lines.append(f"  {pairs.pop('name', option)}")
        lines += [f"   {'Profile' if name == 'profile' else name}: {value}" for name, value in pairs.items()]
    return lines


def _commit(commit: dict[str, Any]) -> str:
    have, expected = commit.get("ID", ""), commit.get("Expected", "")
    return have if have == expected or not expected else f"{have} (expected: {expected})"


def _set(label: str, value: object) -> list[str]:
    """Return a line for a value that is there."""
    return [f"{label}: {value if isinstance(value, str) else json.dumps(value)}"] if value else []


INFO = Command(
    usage="",
    summary="Display system-wide information",
    run=_info,
    most=0,
    flags=(flag("format", "string", "f", "Go template for what is printed"),),
)
