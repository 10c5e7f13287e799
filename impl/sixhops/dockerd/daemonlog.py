"""The engine's own log, on stderr: logfmt with a time in RFC 3339, or short lines in colour for a terminal."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixhops.dockerd.options import Options

__all__ = ["LEVELS", "set_up"]

#: Names of --log-level, with logging's numbers.
LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
_WORDS = {"WARNING": "warning", "CRITICAL": "fatal"}
_COLOURS = {"DEBUG": 37, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}
_BLUE = 36
_WIDTH = 44


class _LogFormat(logging.Formatter):
    """The lines of dockerd's log."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        word = _WORDS.get(record.levelname, record.levelname.lower())
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp = f"{second}.{int(record.created % 1 * 1e9):09d}Z"
        if self._coloured:
            colour = _COLOURS.get(record.levelname, _BLUE)
            return f"\x1b[{colour}m{word.upper()[:4]}\x1b[0m[{stamp}] {message:<{_WIDTH}} "
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'time="{stamp}" level={word} msg="{quoted}"'


def set_up(options: Options) -> None:
    """Make the log what the flags say; a terminal gets colours unless --raw-logs."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(_LogFormat(coloured=sys.stderr.isatty() and not options.raw_logs))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS["debug" if options.debug else options.log_level])
    for noisy in ("asyncio", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
