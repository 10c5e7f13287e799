"""The log on standard error: lines of text or of JSON, each with the configuration's own fields."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Final

from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from sixhops.registry.settings.config import Config

_LEVELS: Final = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_log = logging.getLogger("sixhops.registry")


class _Json(logging.Formatter):
    """One JSON object a line, with logrus's names for level, time and text."""

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._fields = dict(fields)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        told = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": text,
            "time": self.formatTime(record, self.datefmt),
        }
        return json.dumps(self._fields | told, ensure_ascii=False)


def begin_log(config: Config) -> None:
    """Send what is logged to standard error, in the configuration's form."""
    handler = logging.StreamHandler(sys.stderr)
    if config.formatter == "json":
        handler.setFormatter(_Json(config.fields))
    else:
        tail = "".join(f" {name}={value}".replace("%", "%%") for name, value in config.fields)
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s %(name)s %(message)s{tail}"))
    logging.basicConfig(level=_LEVELS[config.level], handlers=[handler])
    logging.getLogger("aiohttp.server").addFilter(_not_the_clients_fault)


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    """Keep bytes that are not HTTP from filling the log with tracebacks: aiohttp answers them with 400."""
    if record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError):
        return True
    _log.debug("malformed request: %s", record.exc_info[1])
    return False
