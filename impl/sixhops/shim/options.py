"""What the shim is told by its command line, and the notes that it leaves in the bundle.

No protobuf here: `delete` is a process of its own for every task, and must start fast.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from sixhops.shim.runtime import RuntimeOptions

__all__ = [
    "DEFAULT_BINARY",
    "DEFAULT_ROOT",
    "SOCKETS",
    "SOCKET_LINK",
    "Arguments",
    "UsageError",
    "is_ours",
    "load_options",
    "parse",
    "socket_address",
    "store_options",
]

SOCKETS = "/run/containerd/s"
#: In the bundle, where containerd wants sockets elsewhere than is usual; `delete` needs to know.
SOCKET_LINK = "s"
OUR_RUNTIME = "sixhops-runc"
DEFAULT_BINARY = "runc"
DEFAULT_ROOT = "/run/containerd/runc"


class UsageError(Exception):
    """The command line is wrong; the text is for stderr, with the list of flags."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The shim's command line, flags as upstream's (Go style: one or two dashes, `-flag value` or
    `-flag=value`).
    """

    namespace: str = ""
    id: str = ""
    address: str = ""
    publish_binary: str = ""
    bundle: str = ""
    socket: str = ""
    debug: bool = False
    version: bool = False
    info: bool = False
    action: str = ""


VALUES = {
    "namespace": ("namespace", "namespace that owns the shim"),
    "id": ("id", "id of the task"),
    "address": ("address", "grpc address back to main containerd"),
    "publish-binary": (
        "publish_binary",
        "path to publish binary (used where containerd has no ttrpc socket)",
    ),
    "bundle": ("bundle", "path to the bundle if not workdir"),
    "socket": ("socket", "socket path to serve"),
}
SWITCHES = {
    "debug": ("debug", "enable debug output in logs"),
    "v": ("version", "show the shim version and exit"),
    "version": ("version", "show the shim version and exit"),
    "info": ("info", "get the option protobuf from stdin, print the shim info protobuf to stdout, and exit"),
}


def usage() -> str:
    """Return the list of flags as Go's package flag prints it."""
    lines = {name: f"  -{name} string\n    \t{text}" for name, (_, text) in VALUES.items()}
    lines |= {name: f"  -{name}\n    \t{text}" for name, (_, text) in SWITCHES.items()}
    return "\n".join(lines[name] for name in sorted(lines))


def parse(words: list[str]) -> Arguments:
    """Return the command line as data; UsageError with Go's words for an unknown or incomplete flag."""
    found: dict[str, str | bool] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in SWITCHES:
            found[SWITCHES[name][0]] = value not in ("false", "0", "f") if equals else True
        elif name in VALUES:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            found[VALUES[name][0]] = value
        else:
            raise UsageError(f"flag provided but not defined: -{name}")
    if rest:
        found["action"] = rest[0]
    return Arguments(**found)  # type: ignore[arg-type] # the two tables keep words and switches apart


def socket_address(
    containerd: str, namespace: str, identifier: str, *, debug: bool = False, directory: str = SOCKETS
) -> str:
    """Return the shim's address, computed as upstream does: a digest of containerd's socket, namespace
    and id, in `directory`.
    """
    import hashlib  # noqa: PLC0415  a forked shim is told its address, and need not map what this brings

    path = os.path.normpath("/".join(part for part in (containerd, namespace, identifier) if part))
    if debug:
        path += "/debug"
    return f"unix://{directory}/{hashlib.sha256(path.encode()).hexdigest()}"


def is_ours(binary: str) -> bool:
    """Tell whether `binary` is our runtime itself (a wrapper around it is not: it must be run to do its
    work).
    """
    if "/" in binary:
        return _is_ours(binary)
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{directory}/{binary}"
        if os.access(path, os.X_OK):
            return _is_ours(path)
    return False


def _is_ours(path: str) -> bool:
    """Follow the last name's links; not os.path.realpath, because a shim does this once, and pays for all it touches."""
    for _ in range(40):
        try:
            target = os.readlink(path)
        except OSError:
            break
        path = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
    return path.rpartition("/")[2] == OUR_RUNTIME


def store_options(bundle: str, options: RuntimeOptions) -> None:
    """Leave the options in the bundle for `delete`, in upstream's two files. OSError names the file."""
    kept = f'{{"binary_name":{json.dumps(options.binary)},"root":{json.dumps(options.root)}'
    kept += ',"systemd_cgroup":true}' if options.systemd_cgroup else "}"
    for name, text in (("options.json", kept), ("runtime", options.binary)):
        descriptor = os.open(f"{bundle}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def load_options(bundle: str) -> RuntimeOptions:
    """Return what `store_options` left; the defaults when the shim died before it."""
    try:
        with open(f"{bundle}/options.json", encoding="utf-8") as file:
            kept = json.load(file)
    except FileNotFoundError:
        kept = {}
    return RuntimeOptions(
        binary=kept.get("binary_name") or DEFAULT_BINARY,
        root=kept.get("root") or DEFAULT_ROOT,
        systemd_cgroup=bool(kept.get("systemd_cgroup")),
    )
