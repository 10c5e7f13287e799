"""Signals as users name them: `KILL`, `SIGKILL`, `sigkill`, `9`."""

from __future__ import annotations

import signal

from sixhops.dockerd.errors import invalid

__all__ = ["parse_signal"]

_RTMIN, _RTMAX = 34, 64


def parse_signal(text: str) -> int:
    """Return the number of a signal. Raises EngineError 400 `Invalid signal: text`."""
    if text.isascii() and text.isdigit():
        if int(text) == 0:
            raise invalid(f"Invalid signal: {text}")
        return int(text)
    name = text.upper().removeprefix("SIG")
    base, plus, offset = name.partition("+")
    if base in {"RTMIN", "RTMAX"} or name.startswith("RTMAX-"):
        start = _RTMIN if base == "RTMIN" else _RTMAX
        shift = offset if plus else name.partition("-")[2]
        if (not plus and not shift) or shift.isdigit():
            number = start + (int(shift or 0) if start == _RTMIN else -int(shift or 0))
            if _RTMIN <= number <= _RTMAX:
                return number
    found = getattr(signal, f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise invalid(f"Invalid signal: {text}")
    return int(found)
