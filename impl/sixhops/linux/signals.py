"""The state of signals in which a program that is about to be executed must find itself."""

from __future__ import annotations

import signal

__all__ = ["reset_signals"]


def reset_signals() -> None:
    """Give every signal its default action and unblock all: an interpreter ignores SIGPIPE, its child must not."""
    for number in signal.valid_signals():
        if number not in {9, 19} and signal.getsignal(number) is not signal.SIG_DFL:
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError, TypeError):
                continue  # those that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
