"""Signals: runc's spelling of them, and the state in which a container's program must find them."""

from __future__ import annotations

import _signal

from sixhops.runc.errors import RuntimeFault

__all__ = ["parse_signal", "reset_signals"]

_NAMES = {
    name: number
    for number, name in enumerate(
        "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
        "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(),
        1,
    )
} | {"IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31}


def parse_signal(text: str) -> int:
    """Return a signal's number from `9`, `KILL` or `SIGKILL` in any case; raises RuntimeFault."""
    try:
        return int(text)
    except ValueError:
        number = _NAMES.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise RuntimeFault(f'unknown signal "{text}"')
    return number


def reset_signals() -> None:
    """Give every signal its default action and unblock all: an interpreter ignores SIGPIPE, its child must not."""
    for number in _signal.valid_signals():
        if number not in {9, 19} and _signal.getsignal(number) is not _signal.SIG_DFL:
            try:
                _signal.signal(number, _signal.SIG_DFL)
            except (OSError, ValueError, TypeError):
                continue  # those that the C library keeps for itself
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
