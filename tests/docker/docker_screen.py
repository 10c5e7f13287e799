"""A terminal for a client under test: types when something has appeared, and says what the screen shows at the end."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from docker_case import Keys

__all__ = ["rendered", "run_on_terminal"]

_SEQUENCE = re.compile(r"\x1b\[(\d*)(?:;(\d*))?([A-Za-z])")


def run_on_terminal(
    argv: list[str], keys: Keys, environment: dict[str, str], directory: Path, bound: float
) -> tuple[int, bytes]:
    """Run a program on a terminal of its own; return its status (negative: a signal) and all that it wrote."""
    ours, theirs = os.openpty()
    _size(theirs, keys.rows, keys.columns)
    program = subprocess.Popen(
        # what a shell has put in the background ignores interrupts, and so would all that it starts
        ["setsid", "--ctty", "env", "--default-signal=INT", *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=directory,
        env=environment,
    )
    os.close(theirs)
    waiting = list(keys.typed)
    seen = bytearray()
    mark = 0
    end = time.monotonic() + bound
    try:
        while True:
            if time.monotonic() > end:
                raise TimeoutError(f"{argv}: still running, waits for {waiting[:1]}; wrote {bytes(seen)!r}")
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(ours, 1 << 14)
            except OSError:
                break  # how Linux tells that the other end of a pty has gone
            if not piece:
                break
            seen += piece
            while waiting and (found := re.search(waiting[0][0].encode(), seen[mark:])):
                mark += found.end()
                _act(ours, program, waiting.pop(0)[1])
        return program.wait(bound), bytes(seen)
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
        os.close(ours)


def rendered(output: bytes) -> str:
    """Return what a terminal shows after `output`, one line a row, without blanks at the ends.

    Knows line feeds, carriage returns and the cursor sequences that docker writes; any other sequence is shown as it is.
    """
    rows: list[list[str]] = [[]]
    row = column = 0
    text = output.decode(errors="replace")
    position = 0
    while position < len(text):
        found = _SEQUENCE.match(text, position)
        if found:
            position = found.end()
            count = int(found[1] or 1)
            if found[3] == "A":
                row = max(0, row - count)
            elif found[3] == "B":
                row += count
            elif found[3] == "H":
                row, column = int(found[1] or 1) - 1, int(found[2] or 1) - 1
            elif found[3] == "K":
                _room(rows, row)
                rows[row] = [] if found[1] == "2" else rows[row][:column]
            elif found[3] == "J":
                rows = [[] for _ in rows]
            else:
                _room(rows, row)
                rows[row][column:] = list(repr(found[0]))
            continue
        sign = text[position]
        position += 1
        if sign == "\n":
            row += 1
        elif sign == "\r":
            column = 0
        else:
            _room(rows, row)
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = sign
            column += 1
    return "\n".join("".join(cells).rstrip() for cells in rows).rstrip("\n") + "\n"


def _room(rows: list[list[str]], row: int) -> None:
    rows += [[] for _ in range(row + 1 - len(rows))]


def _size(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _act(terminal: int, program: subprocess.Popen[bytes], text: str) -> None:
    if text.startswith("<resize "):
        rows, columns = text.strip("<>").split()[1:]
        _size(terminal, int(rows), int(columns))
    elif text.startswith("<signal "):
        program.send_signal(signal.Signals[text.strip("<>").split()[1]])
    else:
        os.write(terminal, text.encode())
