"""The runtime options that come with Create: containerd.runc.v1.Options in an Any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from sixhops.shim.options import DEFAULT_BINARY, DEFAULT_ROOT, is_ours
from sixhops.shim.runtime import RuntimeOptions
from sixhops.wire.proto import runc_options_pb2
from sixhops.wire.proto.services import unpack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any

__all__ = ["runtime_options"]


def runtime_options(
    value: Any, *, default_binary: str = DEFAULT_BINARY, module: str | None = None
) -> RuntimeOptions:
    """Return the options in `value` (empty: the defaults). RpcError when it isn't
    containerd.runc.v1.Options.

    criu_path is not among them: runc ignores it since 1.1.

    `module` is our runtime if it is loaded; it is kept only when the binary that the options name is ours.
    """
    message = runc_options_pb2.Options()
    try:
        if value.type_url and not unpack(value, message):
            raise RpcError(Code.UNKNOWN, f"type with url {value.type_url}: not found")
    except DecodeError as error:
        raise RpcError(Code.UNKNOWN, f"runtime options: {error}") from error
    binary = message.binary_name or default_binary
    return RuntimeOptions(
        binary=binary,
        root=message.root or DEFAULT_ROOT,
        systemd_cgroup=message.systemd_cgroup,
        no_pivot_root=message.no_pivot_root,
        no_new_keyring=message.no_new_keyring,
        criu_work_path=message.criu_work_path,
        shim_cgroup=message.shim_cgroup,
        io_uid=message.io_uid,
        io_gid=message.io_gid,
        module=module if module and is_ours(binary) else None,
    )
