"""`--publish` and `--expose`: [ADDRESS:][HOST[-HOST]:]PORT[-PORT][/PROTOCOL], or published=…,target=…,protocol=… fields."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from sixhops.docker.errors import DockerError

__all__ = ["published", "with_exposed"]

_PROTOCOLS = ("tcp", "udp", "sctp")


def published(texts: list[str]) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, str]]]]:
    """Return ExposedPorts and HostConfig.PortBindings for all --publish. Raises DockerError with docker's message."""
    exposed: dict[str, dict[str, Any]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        plain = _plain(text) if "=" in text else text
        for port, binding in _spec(plain):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    return exposed, bindings


def with_exposed(exposed: dict[str, dict[str, Any]], texts: list[str]) -> dict[str, dict[str, Any]]:
    """Return ExposedPorts with every --expose added. Raises DockerError."""
    found = dict(exposed)
    for text in texts:
        if ":" in text:
            raise DockerError(f"invalid port format for --expose: {text}")
        port, protocol = _split_protocol(text)
        try:
            first, last = _range(port)
        except ValueError as error:
            raise DockerError(f"invalid range format for --expose: {text}, error: {error}") from error
        for number in range(first, last + 1):
            found[f"{number}/{protocol}"] = {}
    return found


def _plain(text: str) -> str:
    """Return the long form in the short form's words."""
    target = host = ""
    protocol = "tcp"
    for item in text.split(","):
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if not equals:
            raise DockerError(f"invalid publish opts format (should be name=value but got '{item}')")
        if key == "target":
            target = value
        elif key == "published":
            host = value
        elif key == "protocol":
            protocol = value
        elif key != "mode":
            raise DockerError(f"invalid field key {key}")
    return f"{host}:{target}/{protocol}" if host else f"{target}/{protocol}"


def _spec(text: str) -> list[tuple[str, dict[str, str]]]:
    address, host, inside = _parts(text)
    inside, protocol = _split_protocol(inside)
    if address.startswith("["):
        address = address.removeprefix("[").removesuffix("]")
    if address:
        try:
            ipaddress.ip_address(address.split("%")[0])
        except ValueError as error:
            if ":" in address:
                raise DockerError(
                    f"Invalid ip address {address}: address {address}:: too many colons in address"
                ) from error
            raise DockerError(f"Invalid ip address: {address}") from error
    if not inside:
        raise DockerError(f"No port specified: {text}<empty>")
    try:
        first, last = _range(inside)
    except ValueError as error:
        raise DockerError(f"Invalid containerPort: {inside}") from error
    if protocol not in _PROTOCOLS:
        raise DockerError(f"Invalid proto: {protocol}")
    host_first = host_last = 0
    if host:
        try:
            host_first, host_last = _range(host)
        except ValueError as error:
            raise DockerError(f"Invalid hostPort: {host}") from error
        if last - first != host_last - host_first and first != last:
            raise DockerError(f"Invalid ranges specified for container and host Ports: {inside} and {host}")
    found = []
    for number in range(first, last + 1):
        if not host:
            chosen = ""
        elif first == last and host_first != host_last:
            chosen = f"{host_first}-{host_last}"
        else:
            chosen = str(host_first + number - first)
        found.append((f"{number}/{protocol}", {"HostIp": address, "HostPort": chosen}))
    return found


def _parts(text: str) -> tuple[str, str, str]:
    bracketed = re.fullmatch(r"(\[[^\]]*\]):([^:]*):([^:]*)", text)
    if bracketed:
        return bracketed[1], bracketed[2], bracketed[3]
    words = text.split(":")
    if len(words) == 1:
        return "", "", words[0]
    if len(words) == 2:
        return "", words[0], words[1]
    return ":".join(words[:-2]), words[-2], words[-1]


def _split_protocol(text: str) -> tuple[str, str]:
    port, _, protocol = text.partition("/")
    return port, protocol.lower() or "tcp"


def _range(text: str) -> tuple[int, int]:
    if not text:
        raise ValueError("Empty string specified for ports.")
    first, dash, last = text.partition("-")
    numbers = []
    for word in (first, last if dash else first):
        if not re.fullmatch(r"\d+", word):
            raise ValueError(f'strconv.ParseUint: parsing "{word}": invalid syntax')
        if int(word) > 65535:
            raise ValueError(f'strconv.ParseUint: parsing "{word}": value out of range')
        numbers.append(int(word))
    if numbers[1] < numbers[0]:
        raise ValueError(f"Invalid range specified for the Port: {text}")
    return numbers[0], numbers[1]
