"""Signals as users name them: `KILL`, `SIGKILL`, `sigkill`, `9`."""

from __future__ import annotations

import signal

from sixhops.dockerd.errors import invalid

__all__ = ["LAST_SIGNAL", "parse_signal"]

_RTMIN, _RTMAX = 34, 64
LAST_SIGNAL = _RTMAX


def parse_signal(text: str) -> int:
    """Return the number of a signal. Raises EngineError 400 `Invalid signal: text`.

    A number is taken as it is, negative ones and those beyond LAST_SIGNAL too: the engine refuses them later.
    """
    if text.isascii() and text.removeprefix("-").isdigit():
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
