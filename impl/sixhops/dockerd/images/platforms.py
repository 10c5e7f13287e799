"""Platforms as users write them: `linux/arm64`, `amd64`, `windows`; no I/O.

Source: containerd's package `platforms` (specifiers and their messages), as dockerd 20.10 has it.
"""

from __future__ import annotations

import platform as host
import re
from typing import Final

from sixhops.dockerd.errors import invalid
from sixhops.dockerd.goquote import quote
from sixhops.wire.image import Platform

__all__ = ["parse", "this_architecture"]

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_SYSTEMS: Final = frozenset(
    (
        "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "js",
        "linux", "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
    )
)  # fmt: skip
_ARCHITECTURES: Final = frozenset(
    (
        "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "mips", "mipsle", "mips64",
        "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
    )
)  # fmt: skip
_OTHER_NAMES: Final = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
#: Names that say the variant as well.
_ARMS: Final = {"armhf": "v7", "armel": "v6"}
_MOST_PARTS: Final = 3


def parse(text: str) -> Platform:
    """Return the platform that a specifier means. Raises EngineError 400."""
    if "*" in text:
        raise invalid(f"{quote(text)}: wildcards not yet supported: invalid argument")
    parts = text.split("/")
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise invalid(
                f"{quote(part)} is an invalid component of {quote(text)}: platform specifier component must match "
                '"^[A-Za-z0-9_-]+$": invalid argument'
            )
    if len(parts) > _MOST_PARTS:
        raise invalid(f"{quote(text)}: cannot parse platform specifier: invalid argument")
    system = parts[0].lower().replace("macos", "darwin")
    if len(parts) == 1:
        if system in _SYSTEMS:
            return Platform(this_architecture(), system)
        architecture, variant = _architecture(parts[0], "")
        if architecture in _ARCHITECTURES:
            return Platform(architecture, "linux", variant)
        raise invalid(f"{quote(text)}: unknown operating system or architecture: invalid argument")
    architecture, variant = _architecture(parts[1], parts[2] if len(parts) == _MOST_PARTS else "")
    if len(parts) == _MOST_PARTS and architecture == "arm64":
        variant = variant or "v8"
    return Platform(architecture, system, variant)


def this_architecture() -> str:
    """Return the architecture of this machine by Go's name."""
    machine = host.machine()
    return _OTHER_NAMES.get(machine, machine)


def _architecture(text: str, variant: str) -> tuple[str, str]:
    """Return the usual names of an architecture and its variant; "" stands for the usual variant."""
    name, variant = text.lower(), variant.lower()
    if name in _ARMS:
        return "arm", _ARMS[name].removeprefix("v7")
    name = _OTHER_NAMES.get(name, name)
    if name in {"386", "amd64"} and text.lower() != name:
        return name, ""
    if name == "arm64":
        return name, "" if variant in {"8", "v8"} else variant
    if name == "arm" and variant:
        return name, f"v{variant}" if variant in {"5", "6", "7", "8"} else variant
    return name, variant
