"""Signals as users name them: `KILL`, `SIGKILL`, `sigkill`, `9`."""

from __future__ import annotations

import re
import signal

from sixhops.dockerd.errors import invalid

__all__ = ["LAST_SIGNAL", "parse_signal"]

_RTMIN, _RTMAX = 34, 64
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
#: The real-time signals that have names: some from either end, not all.
_REAL_TIME = (
    {"RTMIN": _RTMIN, "RTMAX": _RTMAX}
    | {f"RTMIN+{offset}": _RTMIN + offset for offset in range(1, 16)}
    | {f"RTMAX-{offset}": _RTMAX - offset for offset in range(1, 15)}
)
LAST_SIGNAL = _RTMAX


def parse_signal(text: str) -> int:
    """Return the number of a signal. Raises EngineError 400 `Invalid signal: text`.

    A number is taken as it is, negative ones and those beyond LAST_SIGNAL too: the engine refuses them later.
    """
    if _NUMBER.fullmatch(text):
        if int(text) == 0 or not -(2**63) <= int(text) < 2**63:
            raise invalid(f"Invalid signal: {text}")
        return int(text)
    name = text.upper().removeprefix("SIG")
    if name in _REAL_TIME:
        return _REAL_TIME[name]
    found = getattr(signal, f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise invalid(f"Invalid signal: {text}")
    return int(found)
