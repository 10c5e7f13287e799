"""The engine's progress messages (one JSON value after another) as docker shows them while it pulls and pushes.

On a terminal each layer keeps its line and the bar moves in place; elsewhere the bars are left out and every change of
state is a line. `Display.show` takes messages, the text goes to the descriptor that it was made for.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from sixhops.docker.attached.relay import write_all
from sixhops.docker.errors import DockerError
from sixhops.docker.screen.human import decimal_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Display", "messages", "show"]

_BAR = 50
#: The width of what has none.
_WIDTH = 200


def messages(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a stream, however its bytes are cut. Raises DockerError for anything else."""
    decoder = json.JSONDecoder()
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield from _values(line, decoder)
    yield from _values(rest, decoder)


def show(pieces: Iterable[bytes], descriptor: int) -> None:
    """Display a stream of messages until its end. Raises DockerError for the error that the engine put into it."""
    display = Display(descriptor)
    for message in messages(pieces):
        display.show(message)


class Display:
    """The lines on one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        try:
            self._columns = os.get_terminal_size(descriptor).columns or _WIDTH
        except OSError:
            self._columns = _WIDTH
        self._terminal = os.isatty(descriptor)
        self._lines: dict[str, int] = {}

    def show(self, message: dict[str, Any]) -> None:
        """Show one message. Raises DockerError when it is the engine's error."""
        if "errorDetail" in message or message.get("error"):
            detail = message.get("errorDetail") or {}
            if detail.get("code") == 401:
                raise DockerError("authentication is required")
            raise DockerError(str(detail.get("message") or message.get("error")))
        if "aux" in message:
            return  # for programs: the digest of what was pushed
        layer = str(message.get("id") or "")
        out = ""
        below = 0
        if layer and ("progressDetail" in message or message.get("progress")):
            if layer not in self._lines:
                self._lines[layer] = len(self._lines)
                out += "\n" if self._terminal else ""
            below = len(self._lines) - self._lines[layer]
            if self._terminal and below:
                out += f"\x1b[{below}A"
        else:
            self._lines.clear()
        out += self._text(message, layer)
        if layer and self._terminal and below:
            out += f"\x1b[{below}B"
        write_all(self._descriptor, out.encode())

    def _text(self, message: dict[str, Any], layer: str) -> str:
        detail = message.get("progressDetail")
        bar = self._bar(detail) if isinstance(detail, dict) else ""
        name = f"{layer}: " if layer else ""
        if message.get("from"):
            name += f"(from {message['from']}) "
        if message.get("stream"):
            return f"{name}{message['stream']}"
        status = message.get("status") or ""
        if not self._terminal and isinstance(detail, dict):
            return "" if bar else f"{name}{status}\n"
        if isinstance(detail, dict):
            return f"\x1b[2K\r{name}{status} {bar}\r"
        if message.get("progress"):  # as engines before progressDetail said it, with no line feed of its own
            return f"{name}{status} {message['progress']}"
        return f"{name}{status}\n"

    def _bar(self, detail: dict[str, Any]) -> str:
        current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        if current <= 0 and total <= 0:
            return ""
        units = detail.get("units")
        if total <= 0:
            return f"{current} {units}" if units else f"{decimal_size(current):>8}"
        done = min(int(current / total * 100) // 2, _BAR)
        bar = f"[{'=' * done}>{' ' * (_BAR - done)}] " if self._columns > 110 else ""
        if detail.get("hidecounts"):
            count = ""
        elif units:
            count = f"{current}/{total} {units}"
        elif current > total:
            count = f"{decimal_size(current):>8}"
        else:
            count = f"{decimal_size(current):>8}/{decimal_size(total)}"
        return bar + count + self._left(detail, current, total, done)

    def _left(self, detail: dict[str, Any], current: int, total: int, done: int) -> str:
        start = detail.get("start")
        if not start or current <= 0 or done >= _BAR or self._columns <= 50:
            return ""
        passed = max(time.time() - float(start), 0)
        seconds = int((total - current) * passed / current)
        hours, minutes = seconds // 3600, seconds // 60 % 60
        return f" {f'{hours}h' if hours else ''}{f'{minutes}m' if hours or minutes else ''}{seconds % 60}s"


def _values(line: bytes, decoder: json.JSONDecoder) -> Iterator[dict[str, Any]]:
    text = line.decode(errors="replace").strip()
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except ValueError as error:
            raise DockerError(f"the engine's progress is not JSON: {text[:80]!r}") from error
        if not isinstance(value, dict):
            raise DockerError(f"the engine's progress holds {text[:80]!r}")
        yield value
        text = text[end:].strip()
