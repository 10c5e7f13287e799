"""The members of a container's Config, which containers and images share: their defaults, and which are printed.

Source: moby's api/types/container/config.go, with its `omitempty`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIG_DEFAULTS", "CONFIG_MEMBERS", "NOT_WHEN_EMPTY", "NOT_WHEN_NULL"]

#: In the order in which dockerd prints them.
CONFIG_DEFAULTS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "ExposedPorts": None,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Healthcheck": None,
    "ArgsEscaped": False,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "NetworkDisabled": False,
    "MacAddress": "",
    "OnBuild": None,
    "Labels": None,
    "StopSignal": "",
    "StopTimeout": None,
    "Shell": None,
}
CONFIG_MEMBERS = frozenset(CONFIG_DEFAULTS)
#: Members that are not printed when they are empty, and those that are not when nothing was said.
NOT_WHEN_EMPTY = frozenset(
    {"ExposedPorts", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "Shell"}
)
NOT_WHEN_NULL = frozenset({"Healthcheck", "StopTimeout"})
