"""A transcript as lines for a terminal: steps, verdicts, and the messages of each hop in time order.

Nothing that a program sent reaches the terminal as it is: control characters and bytes that are no text are written as
escapes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.show.calls import sent_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.run.transcript import Transcript

__all__ = ["Choice", "Line", "lines_of", "message_lines", "printable"]

_SEVERAL: Final = re.compile(r"(\d{1,6})-(\d{1,6})")
_LONGEST: Final = 16 * 1024
_HEX_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a transcript is wanted. `hops` empty: all. `step`: a number from 1, several (`3-5`), or a glob of names.

    `details` adds what was sent, what was seen, and the fields of messages.
    """

    hops: frozenset[str] = frozenset()
    step: str = "*"
    details: bool = False

    def has_step(self, exchange: Exchange) -> bool:
        """Say whether the step is wanted."""
        several = _SEVERAL.fullmatch(self.step)
        if several is not None and int(several[1]) <= exchange.step + 1 <= int(several[2]):
            return True
        return self.step == str(exchange.step + 1) or fnmatchcase(exchange.name, self.step)

    def has_hop(self, hop: str) -> bool:
        """Say whether the hop is wanted."""
        return not self.hops or hop in self.hops


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, without control characters; `word` says what it is, for its colour."""

    text: str
    word: str = ""


def lines_of(transcript: Transcript, choice: Choice) -> Iterator[Line]:
    """Yield the lines that show what is chosen of a transcript; times are seconds since it began."""
    yield from _head(transcript)
    for exchange, messages in transcript.by_step():
        if not choice.has_step(exchange):
            continue
        yield from _step(transcript, exchange, choice)
        for message in sorted(messages, key=lambda item: (item.started, item.sequence)):
            if choice.has_hop(message.hop):
                yield from _message(transcript, message, choice)
    yield from _outcome(transcript)


def _head(transcript: Transcript) -> Iterator[Line]:
    header = transcript.header
    target = header["target"]
    began = transcript.clock.at(transcript.clock.monotonic)
    yield Line(printable(f"{header['scenario']}  {header['title']}"), "title")
    yield Line(
        printable(
            f"  on {target['name']}, engine {target['engine_version']}, {began:%Y-%m-%d %H:%M:%S.%f} UTC"
        )
    )
    hidden: dict[str, list[str]] = {}
    for hop, reason in target["hops"].items():
        if reason is not None:
            hidden.setdefault(reason, []).append(hop)
    for reason, hops in hidden.items():
        yield Line(printable(f"  not seen: {', '.join(hops)}: {reason}"), "dim")


def _step(transcript: Transcript, exchange: Exchange, choice: Choice) -> Iterator[Line]:
    judgement = transcript.judgements.get(exchange.step)
    status = judgement.status if judgement is not None else "unjudged"
    took = max(0.0, exchange.ended - exchange.started)
    repeated = f", {exchange.attempts} attempts" if exchange.attempts > 1 else ""
    open_ = "" if exchange.complete else ", still open"
    yield Line(
        printable(
            f"{_time(transcript, exchange.started)}  {status:8} {exchange.step + 1}. {exchange.name}"
            f"  ({exchange.kind}, {_milliseconds(took)}{repeated}{open_})"
        ),
        status,
    )
    line = sent_line(exchange)
    if line:
        yield Line(printable(f"{'':12}{line}"))
    if exchange.error is not None:
        yield Line(printable(f"{'':12}error: {exchange.error}"), "failed")
    if judgement is not None:
        for failure in judgement.failures:
            yield from _block(failure["text"], "failed")
        for facet, reason in judgement.skipped.items():
            yield Line(printable(f"{'':12}{facet} not judged: {reason}"), "skipped")
    if choice.details:
        yield from _fields({"sent": exchange.sent} if exchange.sent else {})
        yield from _fields(_without_repetition(exchange.facets))


def _without_repetition(facets: dict[str, Any]) -> dict[str, Any]:
    # The raw body is shown only where nothing was decoded from it.
    decoded = next((name for name in ("json", "frames", "stream") if name in facets), None)
    hidden = {"json": {"body", "stream"}, "frames": {"body"}, "stream": {"body"}}.get(decoded or "", set())
    return {name: value for name, value in facets.items() if name not in hidden}


def _message(transcript: Transcript, message: HopMessage, choice: Choice) -> Iterator[Line]:
    indented = f"{_time(transcript, message.started)}      "
    return message_lines(message, indented, details=choice.details)


def message_lines(message: HopMessage, before: str, *, details: bool, open_: bool = False) -> Iterator[Line]:
    """Yield a message's line, `before` in front of it, and with `details` its fields; an open one has no time."""
    took = "" if open_ else f"  ({_milliseconds(max(0.0, message.ended - message.started))})"
    yield Line(printable(f"{before}{message.hop:10} {message.summary}{took}"), message.hop)
    if details:
        fields = dict(message.fields)
        for side in ("request", "response"):
            if f"{side}_json" in fields:
                fields.pop(f"{side}_body", None)
        yield from _fields(fields)


def _outcome(transcript: Transcript) -> Iterator[Line]:
    outcome = transcript.outcome
    if not outcome:
        yield Line("  the run broke off here", "failed")
        return
    word = str(outcome.get("verdict", ""))
    yield Line(printable(f"  {word} in {float(outcome.get('seconds', 0)):.2f} s"), word)
    for name in ("brief", "fault"):
        if outcome.get(name):
            yield from _block(f"{name}: {outcome[name]}", word)
    for item in outcome.get("leftovers", ()):
        yield Line(printable(f"{'':12}left behind: {item}"), "failed")
    for program, text in outcome.get("logs", {}).items():
        if text.strip():
            yield Line(printable(f"{'':12}{program} logged:"))
            yield from _block(text, "dim")


def _fields(fields: dict[str, Any]) -> Iterator[Line]:
    for name, value in fields.items():
        text = _value(value)
        if "\n" in text:
            yield Line(printable(f"{'':16}{name}:"), "dim")
            yield from (Line(f"{'':20}{line}", "dim") for line in text.split("\n"))
        else:
            yield Line(printable(f"{'':16}{name}: ") + text, "dim")


def _value(value: Any) -> str:
    """Return a value as lines without control characters."""
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, str):
        return "\n".join(printable(line) for line in _cut(value).rstrip("\n").split("\n"))
    if isinstance(value, dict | list) and value:
        text = json.dumps(_textual(value), indent=1, ensure_ascii=False)
        return "\n".join(printable(line) for line in _cut(text).split("\n"))
    return json.dumps(value)


def _textual(value: Any) -> Any:
    if isinstance(value, bytes):
        return _bytes(value).replace("\n", " ")
    if isinstance(value, dict):
        return {key: _textual(item) for key, item in value.items()}
    return [_textual(item) for item in value] if isinstance(value, list) else value


def _bytes(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text and all(character.isprintable() or character in "\n\t" for character in text):
        return "\n".join(printable(line) for line in _cut(text).rstrip("\n").split("\n"))
    rows = []
    for at in range(0, min(len(data), _HEX_BYTES), 16):
        row = data[at : at + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{at:06x}  {row.hex(' '):47}  {letters}")
    if len(data) > _HEX_BYTES:
        rows.append(f"... {len(data)} bytes")
    return "\n".join(rows) or "(no bytes)"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... {len(text)} characters"


def _block(text: str, word: str) -> Iterator[Line]:
    yield from (Line(f"{'':12}{printable(line)}", word) for line in text.splitlines())


def printable(text: str) -> str:
    """Return `text` with every character that a terminal may act upon as an escape, also line breaks."""
    return "".join(character if _is_harmless(character) else _escape(character) for character in text)


def _is_harmless(character: str) -> bool:
    # Besides controls: marks that turn the direction of writing, and halves of surrogate pairs.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _time(transcript: Transcript, moment: float) -> str:
    return f"{moment - transcript.clock.monotonic:8.3f} s"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
