"""containerd's kinds of errors: the words at the end of a message and the status code that goes with them."""

from __future__ import annotations

from sixhops.wire.ttrpc.status import Code, RpcError

__all__ = [
    "already_exists",
    "failed_precondition",
    "from_shim",
    "invalid_argument",
    "not_found",
    "not_implemented",
    "unavailable",
    "unknown",
]

KINDS = {
    Code.INVALID_ARGUMENT: "invalid argument",
    Code.NOT_FOUND: "not found",
    Code.ALREADY_EXISTS: "already exists",
    Code.FAILED_PRECONDITION: "failed precondition",
    Code.UNAVAILABLE: "unavailable",
    Code.UNIMPLEMENTED: "not implemented",
    Code.CANCELLED: "context canceled",
    Code.DEADLINE_EXCEEDED: "context deadline exceeded",
}


def _make(code: Code, text: str) -> RpcError:
    return RpcError(code, f"{text}: {KINDS[code]}")


def invalid_argument(text: str) -> RpcError:
    """Return the error `text: invalid argument`."""
    return _make(Code.INVALID_ARGUMENT, text)


def not_found(text: str) -> RpcError:
    """Return the error `text: not found`."""
    return _make(Code.NOT_FOUND, text)


def already_exists(text: str) -> RpcError:
    """Return the error `text: already exists`."""
    return _make(Code.ALREADY_EXISTS, text)


def failed_precondition(text: str) -> RpcError:
    """Return the error `text: failed precondition`."""
    return _make(Code.FAILED_PRECONDITION, text)


def unavailable(text: str) -> RpcError:
    """Return the error `text: unavailable`."""
    return _make(Code.UNAVAILABLE, text)


def not_implemented(text: str) -> RpcError:
    """Return the error `text: not implemented`."""
    return _make(Code.UNIMPLEMENTED, text)


def unknown(text: str) -> RpcError:
    """Return the error `text: unknown`, what containerd makes of an error without a kind from elsewhere."""
    return RpcError(Code.UNKNOWN, f"{text}: unknown")


def from_shim(error: RpcError, prefix: str = "") -> RpcError:
    """Return a shim's error as containerd hands it on: the kind once at the end, `prefix` in front."""
    kind = KINDS.get(error.code, "unknown")
    text = error.message.removesuffix(f": {kind}")
    if prefix:
        text = f"{prefix}: {text}"
    return RpcError(error.code, f"{text}: {kind}")
