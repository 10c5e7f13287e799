"""The shim's log: lines as containerd's own components write them, to stderr (the bundle's log fifo)."""

from __future__ import annotations

import json
import os
import time

__all__ = ["Log"]


class Log:
    """Writes one line a message; never blocks and never fails, because nobody may be reading the fifo."""

    def __init__(self, *, debug: bool = False, descriptor: int = 2, **fields: str) -> None:
        self._debug = debug
        self._descriptor = descriptor
        self._fields = "".join(f" {key}={value}" for key, value in fields.items())

    def debug(self, message: str) -> None:
        """Write `message` when -debug was given."""
        if self._debug:
            self._write("debug", message)

    def info(self, message: str) -> None:
        """Write `message` at level info."""
        self._write("info", message)

    def warning(self, message: str) -> None:
        """Write `message` at level warning."""
        self._write("warning", message)

    def error(self, message: str) -> None:
        """Write `message` at level error."""
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f'time="{now}" level={level} msg={json.dumps(message)}{self._fields}\n'
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            # the fifo is full or has no reader: a lost log line must not cost the container
            return
