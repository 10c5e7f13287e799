"""What the shim is told by its command line, and the notes that it leaves in the bundle.

No protobuf here: `delete` is a process of its own for every task, and must start fast.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sixhops.shim.runtime import RuntimeOptions

__all__ = [
    "DEFAULT_BINARY",
    "DEFAULT_ROOT",
    "Arguments",
    "UsageError",
    "is_ours",
    "load_options",
    "parse",
    "socket_address",
    "store_options",
]

SOCKETS = "/run/containerd/s"
OUR_RUNTIME = "sixhops-runc"
DEFAULT_BINARY = "runc"
DEFAULT_ROOT = "/run/containerd/runc"


class UsageError(Exception):
    """The command line is wrong."""


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


# containerd always names a publish binary; events go over its ttrpc socket, as upstream's do, so it isn't needed
VALUES = {
    "namespace": "namespace",
    "id": "id",
    "address": "address",
    "publish-binary": "publish_binary",
    "bundle": "bundle",
    "socket": "socket",
}
SWITCHES = {"debug": "debug", "v": "version", "info": "info"}


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
            found[SWITCHES[name]] = value not in ("false", "0", "f") if equals else True
        elif name in VALUES:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            found[VALUES[name]] = value
        else:
            raise UsageError(f"flag provided but not defined: -{name}")
    if rest:
        found["action"] = rest[0]
    return Arguments(**found)  # type: ignore[arg-type] # the two tables keep words and switches apart


def socket_address(containerd: str, namespace: str, identifier: str, *, debug: bool = False) -> str:
    """Return the shim's address, computed as upstream does: a digest of containerd's socket, namespace
    and id.
    """
    path = str(Path(containerd, namespace, identifier)) if containerd else str(Path(namespace, identifier))
    if debug:
        path += "/debug"
    return f"unix://{SOCKETS}/{hashlib.sha256(path.encode()).hexdigest()}"


def is_ours(binary: str) -> bool:
    """Tell whether `binary` is our runtime itself (a wrapper around it is not: it must be run to do its
    work).
    """
    found = shutil.which(binary)
    return Path(os.path.realpath(found or binary)).name == OUR_RUNTIME


def store_options(bundle: Path, options: RuntimeOptions) -> None:
    """Leave the options in the bundle for `delete`, in upstream's two files."""
    kept: dict[str, object] = {"binary_name": options.binary, "root": options.root}
    if options.systemd_cgroup:
        kept["systemd_cgroup"] = True
    (bundle / "options.json").write_text(json.dumps(kept, separators=(",", ":")))
    (bundle / "runtime").write_text(options.binary)


def load_options(bundle: Path) -> RuntimeOptions:
    """Return what `store_options` left; the defaults when the shim died before it."""
    try:
        kept = json.loads((bundle / "options.json").read_text())
    except FileNotFoundError:
        kept = {}
    return RuntimeOptions(
        binary=kept.get("binary_name") or DEFAULT_BINARY,
        root=kept.get("root") or DEFAULT_ROOT,
        systemd_cgroup=bool(kept.get("systemd_cgroup")),
    )
