"""Times as protobuf has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["set_now", "set_seconds", "set_zero"]

ZERO = -62135596800


def set_now(target: Timestamp) -> None:
    """Set a timestamp to the time of now."""
    target.seconds, target.nanos = divmod(time.time_ns(), 10**9)


def set_seconds(target: Timestamp, seconds: float) -> None:
    """Set a timestamp to seconds since 1970."""
    target.seconds, target.nanos = divmod(int(seconds * 1e9), 10**9)


def set_zero(target: Timestamp) -> None:
    """Set a timestamp to the beginning of the year 1, which is what containerd sends for no time at all."""
    target.seconds, target.nanos = ZERO, 0
