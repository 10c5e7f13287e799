"""The terminal that the client runs on: its size, raw mode, and the keys that detach."""

from __future__ import annotations

import os

__all__ = ["DEFAULT_DETACH_KEYS", "DetachKeys", "NoEcho", "RawMode", "is_terminal", "key_bytes", "size"]

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


def is_terminal(descriptor: int) -> bool:
    """Tell whether the descriptor is open and a terminal."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def size(descriptor: int) -> tuple[int, int]:
    """Return rows and columns of the terminal, (0, 0) when it has none to tell."""
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return found.lines, found.columns


def key_bytes(text: str) -> bytes:
    """Return the bytes of a detach sequence such as "ctrl-p,ctrl-q" or "a,b". Raises ValueError for an unknown key."""
    found = bytearray()
    for word in text.split(","):
        key = word.removeprefix("ctrl-")
        if len(word) == 1 and word.isascii():
            found += word.encode()
        elif (
            word.startswith("ctrl-")
            and len(key) == 1
            and (key.islower() or key in "@[\\]^_")
            and key.isascii()
        ):
            found.append(ord(key.upper()) & 0x1F)
        else:
            raise ValueError(f"Unknown character: '{word}'")
    return bytes(found)


class DetachKeys:
    """Watches what is typed for the detach sequence; a sequence that breaks off is passed on after all."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what to send to the container, and whether the sequence is complete (the rest is dropped then)."""
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            if self._matched and byte != self._keys[self._matched]:
                out += self._keys[: self._matched]
                self._matched = 0
            if byte != self._keys[self._matched]:
                out.append(byte)
                continue
            self._matched += 1
            if self._matched == len(self._keys):
                self._matched = 0
                return bytes(out), True
        return bytes(out), False


class RawMode:
    """Keys go to the container as they are typed, from `__enter__` to `__exit__`; the terminal is restored by then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[object] | None = None

    def __enter__(self) -> RawMode:
        import termios  # noqa: PLC0415 - only for terminals

        self._before = termios.tcgetattr(self._descriptor)
        inputs, outputs, control, local, in_speed, out_speed, characters = termios.tcgetattr(self._descriptor)
        inputs &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
        inputs &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        outputs &= ~termios.OPOST
        local &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        control = (control & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        characters = list(characters)
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        raw = [inputs, outputs, control, local, in_speed, out_speed, characters]
        # TCSANOW: what was typed ahead is for the container, TCSAFLUSH would throw it away
        termios.tcsetattr(self._descriptor, termios.TCSANOW, raw)
        return self

    def __exit__(self, *_: object) -> None:
        import termios  # noqa: PLC0415 - only for terminals

        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]  # as it was given
            self._before = None


class NoEcho:
    """What is typed is not shown, from `__enter__` to `__exit__`: a password."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[object] | None = None

    def __enter__(self) -> NoEcho:
        import termios  # noqa: PLC0415 - only for terminals

        self._before = termios.tcgetattr(self._descriptor)
        silent = termios.tcgetattr(self._descriptor)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(self._descriptor, termios.TCSANOW, silent)
        return self

    def __exit__(self, *_: object) -> None:
        import termios  # noqa: PLC0415 - only for terminals

        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)  # type: ignore[arg-type]  # as it was given
            self._before = None
