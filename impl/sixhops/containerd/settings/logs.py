"""The program's log, on standard error, as text or as JSON lines."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

__all__ = ["LEVELS", "start"]

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
TEXT = 'time="%(asctime)s" level=%(levelname)s msg="%(message)s" name=%(name)s'


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            "name": record.name,
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start(level: str, form: str) -> None:
    """Log from `level` on, in the form "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=LEVELS[level], handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
