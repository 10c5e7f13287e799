"""The question before something is removed."""

from __future__ import annotations

import sys

__all__ = ["confirmed"]


def confirmed(question: str) -> bool:
    """Ask on stdout and read the answer from stdin; only y, in either case, is a yes."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().rstrip("\r\n").lower() == "y"
