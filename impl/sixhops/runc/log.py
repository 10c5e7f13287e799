"""The log that shims read errors from: `--log FILE --log-format text|json`, in the form of runc's."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
import time

__all__ = ["configure", "debug", "error", "escape", "note", "warning"]

_settings = {"path": "", "format": "text", "debug": ""}


def configure(path: str, form: str, *, debug: bool) -> None:
    """Say where the log goes (empty: stderr) and in which form; makes the file. Raises OSError."""
    _settings.update(path="", format=form, debug="1" if debug else "")
    if path:
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        _settings["path"] = path


def error(message: str) -> None:
    """Log a fatal error, and show it on stderr too if the log is elsewhere."""
    _write("error", message)
    if _settings["path"]:
        sys.stderr.write(f"{message}\n")


def note(message: str) -> None:
    """Log an error that does not fail the operation."""
    _write("error", message)


def warning(message: str) -> None:
    """Log something that did not stop the operation."""
    _write("warning", message)


def debug(message: str) -> None:
    """Log a detail if `--debug` was given."""
    if _settings["debug"]:
        _write("debug", message)


def escape(text: str) -> str:
    """Return JSON with the characters escaped that runc escapes in all that it prints."""
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _write(level: str, message: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"
    if _settings["format"] == "json":
        import json

        line = escape(
            json.dumps(
                {"level": level, "msg": message, "time": stamp}, separators=(",", ":"), ensure_ascii=False
            )
        )
    else:
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        line = f'time="{stamp}" level={level} msg="{quoted}"'
    if not _settings["path"]:
        sys.stderr.write(f"{line}\n")
        return
    try:
        with open(_settings["path"], "a") as file:
            file.write(f"{line}\n")
    except OSError as failure:
        sys.stderr.write(f"{line}\n(log {_settings['path']}: {failure})\n")
