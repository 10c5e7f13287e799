"""The programs' log files: where each ends now, and the last lines since then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["last_lines", "log_marks", "log_since"]

# Bytes read from a log's end: enough for any number of lines that a person reads in a failure.
_TAIL = 64 * 1024


def log_marks(logs: Mapping[str, Path]) -> dict[str, int]:
    """Return each log's length in bytes; 0 where there is none yet."""
    return {name: path.stat().st_size if path.exists() else 0 for name, path in logs.items()}


def log_since(logs: Mapping[str, Path], marks: Mapping[str, int], lines: int) -> dict[str, str]:
    """Return the last `lines` lines that each log got since its mark; logs without news are left out."""
    news = {name: last_lines(path, lines, marks.get(name, 0)) for name, path in logs.items()}
    return {name: text for name, text in news.items() if text}


def last_lines(path: Path, lines: int, start: int = 0) -> str:
    """Return the last `lines` lines of a log that stand behind byte `start`."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(max(start, end - _TAIL))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
