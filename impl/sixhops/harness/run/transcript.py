"""A scenario's run on disk, written while it goes on: JSON lines, so that a run that is killed leaves what it had.

The kinds of lines, in this order (docs/results.md has every field):

    {"sixhops-transcript": 2, ...}    the header: scenario, target, clock, variables
    {"step": 0, ..., "messages": []}  an exchange, when its step has been judged, with the verdict on it
    {"late": {...}}                   a message that no step saw, or none saw ended
    {"amended": {...}}                what was found out about an exchange after its line had been written
    {"outcome": {...}}                what came of it; a file without it is of a run that broke off

A message is written in full in the first exchange that saw it, which is how it belongs to a step; where it is seen
again, as by the join of a background step, `{"$message": sequence}` stands for it. Text and bytes above `LARGE`
are kept apart by content (`Bodies`), and `{"$body": ...}` stands for them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.judge import format_mismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.judge import StepVerdict

__all__ = [
    "FORMAT",
    "LARGE",
    "Bodies",
    "Clock",
    "Judgement",
    "Transcript",
    "TranscriptWriter",
    "cause_of",
    "read_header",
    "read_transcript",
    "transcript_of",
]

FORMAT: Final = 2
"""The format's version; it changes when a reader of the old one would misread the new."""

LARGE: Final = 64 * 1024
"""Bytes (for text: characters) above which a value goes to a file of its own."""

_MARKERS: Final = frozenset({"$bytes", "$body", "$message", "$plain"})
_EXCHANGE_FIELDS: Final = tuple(item.name for item in fields(Exchange) if item.name != "messages")
_MESSAGE_FIELDS: Final = tuple(item.name for item in fields(HopMessage))


@dataclass(frozen=True, slots=True)
class Clock:
    """One moment by both clocks: seconds on the run's monotonic clock, and the time of day (UTC, RFC 3339)."""

    monotonic: float
    wall: str

    @classmethod
    def now(cls) -> Clock:
        """Read both clocks."""
        return cls(time.monotonic(), datetime.now(UTC).isoformat(timespec="microseconds"))

    def at(self, moment: float) -> datetime:
        """Return the time of day of a `moment` on the monotonic clock."""
        start = datetime.fromisoformat(self.wall).timestamp()
        return datetime.fromtimestamp(start + moment - self.monotonic, UTC)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one step as it was written: the failures in words, and what could not be observed."""

    status: str
    failures: tuple[dict[str, str], ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Transcript:
    """A transcript as it was read.

    `header` as in the file, without variables' markers; `judgements` by step; `late` are the messages that no step
    saw ended; `outcome` is empty when the run broke off.
    """

    path: Path
    header: dict[str, Any]
    clock: Clock
    exchanges: list[Exchange] = field(default_factory=list)
    judgements: dict[int, Judgement] = field(default_factory=dict)
    late: list[HopMessage] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def scenario(self) -> str:
        """Return the scenario's id."""
        return str(self.header["scenario"])

    def by_step(self) -> list[tuple[Exchange, list[HopMessage]]]:
        """Return each exchange with the messages that it caused: every message once, in its last version, by
        sequence.
        """
        newest = {message.sequence: message for exchange in self.exchanges for message in exchange.messages}
        owners: dict[int, int] = {}
        for at, exchange in enumerate(self.exchanges):
            for message in exchange.messages:
                owners.setdefault(message.sequence, at)
        for message in self.late:
            newest[message.sequence] = message
            owner = cause_of(message, self.exchanges)
            if owner is not None:
                owners.setdefault(message.sequence, owner)
        owned: list[list[HopMessage]] = [[] for _ in self.exchanges]
        for sequence in sorted(owners):
            owned[owners[sequence]].append(newest[sequence])
        return list(zip(self.exchanges, owned, strict=True))


def cause_of(message: HopMessage, exchanges: Sequence[Exchange]) -> int | None:
    """Return the position of the exchange during which, or after which, `message` began; None without exchanges.

    A step that was repeated until it held began before its last attempt did, and has the messages of all attempts.
    """
    for at, exchange in enumerate(exchanges):
        if message.started <= exchange.ended:
            between = message.started < exchange.started and exchange.attempts == 1
            return max(0, at - 1) if between else at
    return len(exchanges) - 1 if exchanges else None


class Bodies:
    """Large values, each in a file that is named by the SHA-256 of what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> dict[str, Any]:
        """Keep `data` and return what stands for it. Several processes may put the same."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / digest
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{digest}.{os.getpid()}.part")
            part.write_bytes(data)
            part.replace(path)
        return {"sha256": digest, "length": len(data)}

    def get(self, reference: Mapping[str, Any]) -> bytes:
        """Return what `reference` stands for. Raises ValueError when the file is gone or holds something else."""
        digest, length = str(reference["sha256"]), reference["length"]
        path = self.folder / digest
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(
                f"a body of {length} bytes is missing: {path} ({error.strerror}); a transcript is moved together "
                "with the folder `bodies` of its run"
            ) from error
        if len(data) != length or hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"the body in {path} is damaged: its content does not have this SHA-256")
        return data


class TranscriptWriter:
    """Writes one transcript; every line is in the file when the call that writes it returns.

    `begin` may be left out for a scenario that is not run. `finish` ends the file, `abandon` closes it as it is.
    """

    def __init__(self, path: Path, bodies: Path, header: Mapping[str, Any]) -> None:
        """Write to `path`, large values to the folder `bodies`; `header` is all of it but format, clock, variables."""
        self.path = path
        self._bodies = Bodies(bodies)
        self._header = dict(header)
        self._clock = Clock.now()
        self._file: IO[str] | None = None
        self._begun = False
        #: The version of each message that stands in the file, by sequence.
        self._written: dict[int, HopMessage] = {}
        self._errors: dict[int, str | None] = {}

    @property
    def has_begun(self) -> bool:
        """Say whether there is a file."""
        return self._begun

    def begin(self, variables: Mapping[str, Any] | None) -> None:
        """Write the header; `variables` are those that the scenario starts with (None: it is not run)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        self._begun = True
        header = {"sixhops-transcript": FORMAT, **self._header}
        header["clock"] = {"monotonic": self._clock.monotonic, "wall": self._clock.wall}
        header["bodies"] = os.path.relpath(self._bodies.folder, self.path.parent)
        header["variables"] = None if variables is None else self._encode(dict(variables))
        self._line(header)

    def exchange(self, exchange: Exchange, verdict: StepVerdict | None = None) -> None:
        """Write an exchange whose step has been judged."""
        data = {name: self._encode(getattr(exchange, name)) for name in _EXCHANGE_FIELDS}
        data["messages"] = [self._message(message) for message in exchange.messages]
        if verdict is not None:
            data["verdict"] = {
                "status": str(verdict.status),
                "failures": [
                    {
                        "facet": failure.facet,
                        "path": failure.path,
                        "hop": failure.hop,
                        "text": format_mismatch(failure).partition("\n")[2],
                    }
                    for failure in verdict.mismatches
                ],
                "skipped": verdict.skipped,
            }
        self._errors[exchange.step] = exchange.error
        self._line(data)

    def finish(
        self, outcome: Mapping[str, Any], exchanges: Iterable[Exchange] = (), late: Iterable[HopMessage] = ()
    ) -> None:
        """Write what the run found out last, and close the file.

        `exchanges`: all of them; those that have no line yet get one, those that have changed an amendment.
        """
        if not self._begun:
            self.begin(None)
        for exchange in exchanges:
            if exchange.step not in self._errors:
                self.exchange(exchange)
            elif self._errors[exchange.step] != exchange.error:
                self._line({"amended": {"step": exchange.step, "error": exchange.error}})
        for message in late:
            if self._written.get(message.sequence) != message:
                self._line({"late": self._message(message)})
        self._line({"outcome": self._encode(dict(outcome))})
        self.abandon()

    def abandon(self) -> None:
        """Close the file without an outcome: the run has broken off. More than one call does no harm."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _message(self, message: HopMessage) -> dict[str, Any]:
        written = self._written.get(message.sequence)
        # Taps hand out the same object again once a message has ended, so this is cheap.
        if written is message or written == message:
            return {"$message": message.sequence}
        self._written[message.sequence] = message
        return {name: self._encode(getattr(message, name)) for name in _MESSAGE_FIELDS}

    def _encode(self, value: Any) -> Any:
        if isinstance(value, dict):
            data = {key: self._encode(item) for key, item in value.items()}
            # What looks like one of our marks and is not is wrapped.
            return {"$plain": data} if len(data) == 1 and not _MARKERS.isdisjoint(data) else data
        if isinstance(value, list | tuple):
            return [self._encode(item) for item in value]
        if isinstance(value, bytes):
            if len(value) > LARGE:
                return {"$body": self._bodies.put(value)}
            return {"$bytes": base64.b64encode(value).decode("ascii")}
        if isinstance(value, str) and len(value) > LARGE:
            return {"$body": {**self._bodies.put(value.encode("utf-8", "surrogatepass")), "text": True}}
        return value

    def _line(self, data: Mapping[str, Any]) -> None:
        if self._file is None:
            raise ValueError(f"the transcript {self.path} has not begun, or has ended")
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()


def read_transcript(path: Path) -> Transcript:
    """Return the transcript in `path`, with large values put back.

    Raises ScenarioError that names file and line when it is none, is of another format, or a body is missing. A last
    line that was cut off in the middle, as by a full disk or a kill, is left out: the run broke off.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ScenarioError(f"not a transcript of format {FORMAT}: {error}", Mark(str(path), 1, 1)) from error
    return transcript_of(lines, path)


def transcript_of(lines: Sequence[str], path: Path) -> Transcript:
    """Return the transcript that `lines` are, as if they stood in `path`. Raises ScenarioError as `read_transcript` does."""
    number = 1
    try:
        header = _header(lines[0])
        reader = _Reader(Bodies(path.parent / header["bodies"]))
        header["variables"] = reader.decode(header["variables"])
        found = Transcript(path, header, Clock(**header["clock"]))
        for number, line in enumerate(lines[1:], start=2):
            if line and (number < len(lines) or _is_whole(line)):
                reader.take(found, json.loads(line))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
        what = repr(error) if isinstance(error, KeyError) else str(error)
        raise ScenarioError(
            f"not a transcript of format {FORMAT}: {what}", Mark(str(path), number, 1)
        ) from error
    return found


def read_header(path: Path) -> dict[str, Any]:
    """Return a transcript's first line, without reading the rest. Raises ScenarioError as `read_transcript` does."""
    try:
        with path.open(encoding="utf-8") as file:
            return _header(file.readline())
    except (OSError, ValueError) as error:
        raise ScenarioError(f"not a transcript of format {FORMAT}: {error}", Mark(str(path), 1, 1)) from error


def _header(line: str) -> dict[str, Any]:
    header = json.loads(line)
    if not isinstance(header, dict) or "sixhops-transcript" not in header:
        raise ValueError("its first line is no header")
    if header["sixhops-transcript"] != FORMAT:
        raise ValueError(
            f"it is of format {header['sixhops-transcript']!r}; another version of sixhops wrote it, "
            "so run the scenario again"
        )
    return header


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class _Reader:
    """Undoes what the writer did, line by line."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._messages: dict[int, HopMessage] = {}

    def take(self, transcript: Transcript, data: dict[str, Any]) -> None:
        if "outcome" in data:
            transcript.outcome = self.decode(data["outcome"])
        elif "late" in data:
            transcript.late.append(self._message(data["late"]))
        elif "amended" in data:
            amended = data["amended"]
            for exchange in transcript.exchanges:
                if exchange.step == amended["step"]:
                    exchange.error = amended["error"]
        else:
            messages = [self._message(message) for message in data.pop("messages")]
            verdict = data.pop("verdict", None)
            exchange = Exchange(**self.decode(data), messages=messages)
            transcript.exchanges.append(exchange)
            if verdict is not None:
                transcript.judgements[exchange.step] = Judgement(
                    verdict["status"], tuple(verdict["failures"]), verdict["skipped"]
                )

    def _message(self, data: dict[str, Any]) -> HopMessage:
        if data.keys() == {"$message"}:
            return self._messages[data["$message"]]
        message = HopMessage(**self.decode(data))
        self._messages[message.sequence] = message
        return message

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key == "$bytes":
                return base64.b64decode(inner)
            if key == "$body":
                data = self._bodies.get(inner)
                return data.decode("utf-8", "surrogatepass") if inner.get("text") else data
            if key == "$plain":
                return {name: self.decode(item) for name, item in inner.items()}
        return {key: self.decode(item) for key, item in value.items()}
