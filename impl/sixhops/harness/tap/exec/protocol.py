"""What `programs/exectap.c` and the tap say to each other (the C source describes it); bytes in, values out.

The one speaks for a program that was just started and asks how to go on, the other one answers; later it says how the
program ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.exchange import Facet

__all__ = [
    "MESSAGE_LIMIT",
    "Descriptor",
    "Ended",
    "ReportError",
    "Started",
    "answer",
    "read_end",
    "read_start",
]

#: Bytes of a report. The kernel takes some 2 MiB of arguments and environment unless told otherwise.
MESSAGE_LIMIT = 8 * 1024 * 1024


class ReportError(ValueError):
    """The bytes are no report."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An open descriptor that the program inherits: its number, the file's type and what /proc says that it is."""

    number: int
    type: str
    target: str

    @property
    def kind(self) -> str:
        """null, terminal, pipe, fifo, socket, file, directory, character, block or anonymous."""
        if self.type == "character":
            if self.target == "/dev/null":
                return "null"
            return "terminal" if self.target.startswith(("/dev/pts/", "/dev/tty")) else self.type
        return "pipe" if self.type == "fifo" and self.target.startswith("pipe:") else self.type


@dataclass(frozen=True, slots=True)
class Started:
    """A program is about to run, as `name`; pids are those of its pid namespace."""

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    pid: int
    parent: int
    descriptors: dict[int, Descriptor]

    def fields(self) -> dict[str, Facet]:
        """Return what a message says of every program: argv, env, cwd, stdin, stdout, stderr, descriptors."""
        kinds = {number: item.kind for number, item in self.descriptors.items()}
        further: list[Facet] = [
            {"number": number, "kind": kind} for number, kind in sorted(kinds.items()) if number > 2
        ]
        return {
            "argv": list(self.argv),
            "env": dict(self.env),
            "cwd": self.cwd,
            **{
                name: kinds.get(number, "closed") for number, name in enumerate(("stdin", "stdout", "stderr"))
            },
            "descriptors": further,  # type: ignore[dict-item]
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended: `exit` is its status, or minus the number of the signal that killed it.

    `input` and `output` are what came on stdin and went to stdout, where that was captured.
    """

    exit: int
    seconds: float
    input: bytes | None = None
    output: bytes | None = None


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = field(default=0)

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ReportError("a text without an end")
        found = self.data[self.at : end]
        self.at = end + 1
        return found.decode(errors="surrogateescape")

    def number(self, limit: int = 1 << 62) -> int:
        text = self.text()
        try:
            found = int(text)
        except ValueError:
            raise ReportError(f"not a number: {text[:40]!r}") from None
        if not -limit <= found <= limit:
            raise ReportError(f"a number that can't be: {found}")
        return found

    def count(self) -> int:
        found = self.number(len(self.data))
        if found < 0:
            raise ReportError(f"a number that can't be: {found}")
        return found

    def blob(self) -> bytes:
        size = self.count()
        found = self.data[self.at : self.at + size]
        if len(found) < size:
            raise ReportError(f"{len(found)} bytes where {size} were announced")
        self.at += size
        return found

    def finish(self) -> None:
        if self.at != len(self.data):
            raise ReportError(f"{len(self.data) - self.at} bytes too many")


def read_start(data: bytes) -> Started:
    """Return what a first report says. Raises ReportError."""
    reader = _Reader(data)
    name = reader.text()
    argv = [reader.text() for _ in range(reader.count())]
    env: dict[str, str] = {}
    for _ in range(reader.count()):
        key, _, value = reader.text().partition("=")
        # The first one counts, as it does for getenv(3).
        env.setdefault(key, value)
    cwd, pid, parent = reader.text(), reader.number(), reader.number()
    descriptors = {}
    for _ in range(reader.count()):
        number = reader.number()
        descriptors[number] = Descriptor(number, reader.text(), reader.text())
    reader.finish()
    return Started(name, argv, env, cwd, pid, parent, descriptors)


def read_end(data: bytes) -> Ended:
    """Return what a second report says. Raises ReportError."""
    reader = _Reader(data)
    status, microseconds = reader.number(1 << 16), reader.number()
    given = written = None
    if reader.at < len(data):
        given, written = reader.blob(), reader.blob()
    reader.finish()
    signal = status & 0x7F
    return Ended(-signal if signal else status >> 8 & 0xFF, microseconds / 1e6, given, written)


def answer(*, capture: bool, env: Mapping[str, str]) -> bytes:
    """Return the answer to a first report: whether to capture stdin and stdout, and which variables to set."""
    words = ["capture" if capture else "pass", *(f"{name}={value}" for name, value in env.items())]
    return b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)
