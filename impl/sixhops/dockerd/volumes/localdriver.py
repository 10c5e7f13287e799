"""Options of the `local` volume driver: what `--opt` may say, and the mount that it asks for.

Source: moby 20.10, volume/local/local_unix.go.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.linux import mounts
from sixhops.linux.libc import LinuxError
from sixhops.linux.mountlist import parse_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["check_options", "mount", "needs_mount"]

_KNOWN = frozenset({"type", "o", "device", "size"})
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?", re.ASCII)
_PROPAGATIONS = {
    "private": mounts.MS_PRIVATE,
    "shared": mounts.MS_SHARED,
    "slave": mounts.MS_SLAVE,
    "unbindable": mounts.MS_UNBINDABLE,
}


def check_options(options: Mapping[str, str]) -> None:
    """Check driver options. Raises EngineError 400, and 500 for a size that is none."""
    for name in options:
        if name not in _KNOWN:
            raise invalid(f"invalid option: {quote(name)}")
    for name, needed in _NEEDS.items():
        for other in needed if name in options else ():
            if other not in options:
                raise invalid(f"missing required option: {quote(other)}")
    if "size" in options:
        found = _SIZE.fullmatch(options["size"])
        if found is None:
            raise system(f"invalid size: '{options['size']}'")
        if float(found[1]) > 0:
            raise invalid("quota size requested but no quota support")


def needs_mount(options: Mapping[str, str]) -> bool:
    """Whether the options ask for a mount on the volume's directory."""
    return bool(options.get("device") or options.get("type"))


def mount(options: Mapping[str, str], target: Path) -> None:
    """Mount what the options ask for. Raises EngineError 500."""
    device, kind = options.get("device", ""), options.get("type", "")
    if not device:
        raise system("missing device in volume options")
    text = options.get("o", "")
    if kind in {"nfs", "cifs"}:
        text = _with_address(text)
    words = [word for word in text.split(",") if word]
    propagation = 0
    for word in list(words):
        flag = _PROPAGATIONS.get(word, 0) or (
            _PROPAGATIONS.get(word.removeprefix("r"), 0) and _PROPAGATIONS[word[1:]] | mounts.MS_REC
        )
        if flag:
            propagation |= flag
            words.remove(word)
    flags, data = parse_options(words)
    try:
        mounts.mount(
            device, str(target), "" if flags & mounts.MS_BIND else kind, flags & ~mounts.MS_REMOUNT, data
        )
        if propagation:
            mounts.mount("", str(target), "", propagation, "")
        if flags & mounts.MS_BIND and flags & mounts.MS_RDONLY:
            # the kernel ignores "ro" in the call that binds
            mounts.mount("", str(target), "", flags | mounts.MS_REMOUNT, "")
    except LinuxError as error:
        shown = f", flags: 0x{flags:x}" if flags else ""
        shown += f", data: {data}" if data else ""
        reason = (error.strerror or str(error)).lower()
        raise system(f"failed to mount local volume: mount {device}:{target}{shown}: {reason}") from error


def _with_address(text: str) -> str:
    """Replace a name in `addr=` by its address, since the kernel resolves none. Raises EngineError 500."""
    found = next((word for word in text.split(",") if word.startswith("addr=")), None)
    if found is None:
        return text
    name = found.removeprefix("addr=")
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        try:
            address = str(socket.getaddrinfo(name, None)[0][4][0])
        except OSError as error:
            raise system(
                f"error resolving passed in network volume address: lookup {name}: {error.strerror or error}"
            ) from error
        return text.replace(found, f"addr={address}", 1)
    return text
