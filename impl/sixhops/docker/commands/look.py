"""`port` and `top`: what a running container has open, and what runs in it."""

from __future__ import annotations

import sys

from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError
from sixhops.docker.screen import table

__all__ = ["PORT", "TOP"]

_HIGHEST = 65535


def _port(context: Context) -> int:
    name, *asked = context.options.arguments
    ports = context.client.look("container", name)["NetworkSettings"]["Ports"] or {}
    if not asked:
        for port, bindings in sorted(ports.items(), key=lambda item: (int(item[0].split("/")[0]), item[0])):
            for binding in bindings or []:
                sys.stdout.write(f"{port} -> {binding['HostIp']}:{binding['HostPort']}\n")
        return 0
    number, _, protocol = asked[0].partition("/")
    if not number.isdigit():
        raise DockerError(f'strconv.ParseUint: parsing "{number}": invalid syntax')
    if int(number) > _HIGHEST:
        raise DockerError(f'strconv.ParseUint: parsing "{number}": value out of range')
    wanted = f"{number}/{protocol or 'tcp'}"
    if not ports.get(wanted):
        raise DockerError(f"Error: No public port '{wanted}' published for {name}")
    for binding in ports[wanted]:
        sys.stdout.write(f"{binding['HostIp']}:{binding['HostPort']}\n")
    return 0


def _top(context: Context) -> int:
    name, *arguments = context.options.arguments
    query = {"ps_args": " ".join(arguments)} if arguments else {}
    answer = context.client.json("GET", f"/containers/{name}/top", query)
    rows = [answer["Titles"], *(answer["Processes"] or [])]
    sys.stdout.write(table.align("".join("\t".join(row) + "\n" for row in rows), least=20))
    return 0


PORT = Command(
    usage="CONTAINER [PRIVATE_PORT[/PROTO]]",
    summary="List port mappings or a specific mapping for the container",
    run=_port,
    least=1,
    most=2,
)
TOP = Command(
    usage="CONTAINER [ps OPTIONS]",
    summary="Display the running processes of a container",
    run=_top,
    least=1,
    anywhere=False,
)
