"""Signals in runc's spelling."""

from __future__ import annotations

from sixhops.runc.errors import RuntimeFault

__all__ = ["parse_signal"]

_NAMES = {
    name: number
    for number, name in enumerate(
        [
            "HUP",
            "INT",
            "QUIT",
            "ILL",
            "TRAP",
            "ABRT",
            "BUS",
            "FPE",
            "KILL",
            "USR1",
            "SEGV",
            "USR2",
            "PIPE",
            "ALRM",
            "TERM",
            "STKFLT",
            "CHLD",
            "CONT",
            "STOP",
            "TSTP",
            "TTIN",
            "TTOU",
            "URG",
            "XCPU",
            "XFSZ",
            "VTALRM",
            "PROF",
            "WINCH",
            "IO",
            "PWR",
            "SYS",
        ],
        1,
    )
}


def parse_signal(text: str) -> int:
    """Return a signal's number from `9`, `KILL` or `SIGKILL` in any case; raises RuntimeFault."""
    try:
        return int(text)
    except ValueError:
        number = _NAMES.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise RuntimeFault(f'unknown signal "{text}"')
    return number
