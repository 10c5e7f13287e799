"""The lines that a pull prints: JSON objects with a bar and humanised sizes, as dockerd 20.10 writes them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Emit", "Meter", "encode_line", "human_size", "status_line"]

#: Takes one progress object; never blocks.
Emit: TypeAlias = "Callable[[dict[str, Any]], None]"

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BAR = 50
_INTERVAL = 0.1


def encode_line(value: dict[str, Any]) -> bytes:
    """Return one object as it goes over the wire: Go's HTML-safe JSON and CRLF."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text.encode() + b"\r\n"


def human_size(size: float) -> str:
    """Return decimal units with four significant digits: 321304 -> 321.3kB."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_UNITS[unit]}"


def status_line(text: str, layer: str) -> dict[str, Any]:
    """Return the object of a layer's change of state."""
    return {"status": text, "progressDetail": {}, "id": layer}


class Meter:
    """Counts the bytes of one transfer and emits at most ten objects a second.

    `layer` "" leaves out the id. A `total` that is not positive is not known.
    """

    def __init__(self, emit: Emit, status: str, layer: str, total: int) -> None:
        self._emit = emit
        self._status = status
        self._layer = layer
        self._total = total
        self._current = 0
        self._next = 0.0

    def add(self, size: int) -> None:
        """Count `size` more bytes."""
        self._current += size
        now = time.monotonic()
        if now >= self._next or self._current == self._total:
            self._next = now + _INTERVAL
            self._emit(self._line())

    def end(self) -> None:
        """Emit the last object once more, as the engine does when what it reads has ended."""
        self._emit(self._line())

    def _line(self) -> dict[str, Any]:
        detail = {"current": self._current} | ({"total": self._total} if self._total > 0 else {})
        line = {"status": self._status, "progressDetail": detail, "progress": self._bar()}
        return line | ({"id": self._layer} if self._layer else {})

    def _bar(self) -> str:
        """Return the picture; a total that is not known, or was passed, is not printed."""
        current = f"{human_size(self._current):>8}"
        if self._total <= 0:
            return current
        done = min(_BAR, int(self._current / self._total * 100) // 2)
        bar = "=" * done + ">" + " " * (_BAR - done)
        return f"[{bar}] {current}" + (f"/{human_size(self._total)}" if self._current <= self._total else "")
