"""What the shim is told: its command line, the runtime options in an Any, and the notes that it leaves in
the bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from sixhops.shim.runtime import RuntimeOptions
from sixhops.wire.proto import runc_options_pb2
from sixhops.wire.proto.services import type_name, unpack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any

__all__ = [
    "Arguments",
    "UsageError",
    "load_options",
    "parse",
    "runtime_options",
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


def runtime_options(
    value: Any, *, default_binary: str = DEFAULT_BINARY, module: str | None = None
) -> RuntimeOptions:
    """Return the options in `value` (empty: the defaults). RpcError when it isn't
    containerd.runc.v1.Options.

    `module` is our runtime if it is loaded; it is kept only when the binary that the options name is ours.
    """
    message = runc_options_pb2.Options()
    try:
        if value.type_url and not unpack(value, message):
            raise RpcError(
                Code.INVALID_ARGUMENT, f"unsupported runtime options {type_name(value)}: invalid argument"
            )
    except DecodeError as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"runtime options: {error}: invalid argument") from error
    binary = message.binary_name or default_binary
    return RuntimeOptions(
        binary=binary,
        root=message.root or DEFAULT_ROOT,
        systemd_cgroup=message.systemd_cgroup,
        no_pivot_root=message.no_pivot_root,
        no_new_keyring=message.no_new_keyring,
        io_uid=message.io_uid,
        io_gid=message.io_gid,
        module=module if module and is_ours(binary) else None,
    )


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
