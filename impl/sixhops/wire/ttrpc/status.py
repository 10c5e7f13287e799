"""How a call fails: gRPC's status codes and containerd's way of putting a kind of error into words.

containerd's errors end in the kind ("...: not found"), and its gRPC and ttrpc servers map that kind to a
code. Our programs raise `RpcError` with both already right; the message is exactly what the peer sees.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code", "RpcError"]


class Code(IntEnum):
    """Status codes of gRPC that containerd uses."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call that ended with a status other than OK."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = Code(code) if code in _CODES else Code.UNKNOWN
        self.message = message

    def __repr__(self) -> str:
        return f"RpcError({self.code.name}, {self.message!r})"


_CODES = frozenset(int(code) for code in Code)
