"""The `config:` of a recipe: what a container gets from its image, in Docker's own names and types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.documents import Node

__all__ = ["read_config", "read_history", "read_time"]

_DURATION: Final = re.compile(r"(\d+)(ns|us|ms|s|m|h)")
_NANOSECONDS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_VARIABLE: Final = re.compile(r"[^=\0]+=[^\0]*", re.DOTALL)


def read_config(node: Node) -> dict[str, Any]:
    """Return the `config` object of an image document. Raises ScenarioError.

    `ExposedPorts` and `Volumes` are lists in a recipe and sets (objects with empty values) in the document;
    durations in `Healthcheck` are texts such as 30s and become nanoseconds.
    """
    readers: dict[str, Callable[[Node], Any]] = {
        "User": lambda item: item.text(),
        "Env": _environment,
        "Entrypoint": lambda item: item.texts(),
        "Cmd": lambda item: item.texts(),
        "WorkingDir": lambda item: item.text(),
        "ExposedPorts": _ports,
        "Volumes": lambda item: {path: {} for path in sorted(item.texts())},
        "Labels": lambda item: item.text_map(),
        "StopSignal": lambda item: item.text(),
        "StopTimeout": lambda item: item.number(),
        "Healthcheck": _healthcheck,
        "OnBuild": lambda item: item.texts(),
        "Shell": lambda item: item.texts(),
        "ArgsEscaped": lambda item: item.flag(),
        "Tty": lambda item: item.flag(),
        "OpenStdin": lambda item: item.flag(),
        "AttachStdout": lambda item: item.flag(),
        "AttachStderr": lambda item: item.flag(),
        "AttachStdin": lambda item: item.flag(),
        "StdinOnce": lambda item: item.flag(),
        "Hostname": lambda item: item.text(),
        "Domainname": lambda item: item.text(),
        "Image": lambda item: item.text(),
    }
    return {key: readers[key](item) for key, item in node.mapping(readers).items()}


def read_history(node: Node) -> dict[str, Any]:
    """Return one history entry of an image document. Raises ScenarioError."""
    found: dict[str, Any] = {}
    for key, item in node.mapping({"created", "created_by", "author", "comment", "empty_layer"}).items():
        if key == "created":
            found[key] = read_time(item)
        else:
            found[key] = item.flag() if key == "empty_layer" else item.text()
    return found


def read_time(node: Node) -> str:
    """Return an RFC 3339 time in UTC as it was written. Raises ScenarioError."""
    text = node.text()
    if _TIME.fullmatch(text) is None:
        node.fail(f"{text!r} is no time; write 2020-01-01T00:00:00Z")
    return text


def _environment(node: Node) -> list[str]:
    for item in node.items():
        if _VARIABLE.fullmatch(item.text()) is None:
            item.fail(f"{item.text()!r} is not NAME=value")
    return node.texts()


def _ports(node: Node) -> dict[str, dict[str, Any]]:
    for item in node.items():
        if re.fullmatch(r"\d{1,5}/(tcp|udp|sctp)", item.text()) is None:
            item.fail(f"{item.text()!r} is no port; write 80/tcp")
    return {port: {} for port in sorted(node.texts())}


def _healthcheck(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in node.mapping({"Test", "Interval", "Timeout", "StartPeriod", "Retries"}).items():
        if key == "Test":
            found[key] = item.texts()
        elif key == "Retries" or item.is_a(int):
            found[key] = item.number()
        else:
            match = _DURATION.fullmatch(item.text())
            if match is None:
                item.fail(f"{item.text()!r} is no duration; write 30s")
            found[key] = int(match[1]) * _NANOSECONDS[match[2]]
    return found
