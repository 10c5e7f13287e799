"""A transcript with stand-ins for what is random in it, so that thousands of them compress into little. Pure.

Most of what makes saved runs large after compression is ids, times and names that no comparison looks at. `reduce` puts
others of the same form and length in their place: the first id of every transcript is the same, the second one as well, and
all moments of a run are one. What `sixhops diff` sees of a transcript does not change by this (`is_faithful` says so of one,
and one of which it is not true is kept as it was), and it remains a transcript that every other command reads.

The rules of what is random are those of `diff.tokens`; here is only what is put in the place of what they find.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.decoded import body_value
from sixhops.harness.diff.known import rules_of
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.diff.tokens import UNIQUE, Tokens, parsed_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sixhops.harness.diff.model import Normal
    from sixhops.harness.run.transcript import Transcript

__all__ = ["is_faithful", "reduce", "without_search_path"]

_STACK: Final = "5a5e11e5"
_UNIQUE: Final = "ba5e11e5"
_REGISTRY: Final = "127.0.0.1:44444"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DAY: Final = timedelta(days=1)
_FACTORS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MARKS: Final = frozenset({"$body", "$message"})
#: Bytes that stay of a body that was too long for the tap as well.
_HEAD: Final = 1024
_SIDES: Final = ("request", "response", "upstream_stream")
#: Seconds: the monotonic clock when a reduced transcript begins; how finely its times are kept, and by how much two that
#: would fall together stay apart.
_BEGINNING: Final = 1000.0
_GRAIN: Final = 0.001
_TICK: Final = 0.00001


def reduce(lines: Iterable[str], transcript: Transcript, moment: datetime) -> list[str]:
    """Return a transcript's lines with stand-ins. `transcript` is what the lines say.

    `moment` (a full second, UTC) is when all of it is said to have happened: no sooner than it did, and within a day.
    """
    standins = _Standins(*rules_of(transcript), moment=moment)
    clock = _moments(transcript)
    return [json.dumps(_line(json.loads(line), standins, clock)) for line in lines if line.strip()]


def without_search_path(lines: Iterable[str]) -> list[str]:
    """Return a transcript's lines with another PATH in its clients' environments: it tells places on the machine."""
    return [json.dumps(_with_search_path(json.loads(line))) for line in lines if line.strip()]


def is_faithful(transcript: Transcript, reduced: Transcript) -> bool:
    """Say whether a comparison sees the same in both."""
    return _without_times(normalise(transcript)) == _without_times(normalise(reduced))


def _without_times(run: Normal) -> Normal:
    steps = tuple(
        replace(
            step,
            started=0.0,
            ended=0.0,
            messages=tuple(replace(message, started=0.0, ended=0.0) for message in step.messages),
        )
        for step in run.steps
    )
    return replace(run, steps=steps)


def _moments(transcript: Transcript) -> dict[float, float]:
    """Return the time that stands for each of a transcript's, to the millisecond; what came later stays later."""
    exchanges = transcript.exchanges
    messages = [*transcript.late, *(message for exchange in exchanges for message in exchange.messages)]
    start = transcript.clock.monotonic
    points = {start}
    points.update(moment for item in exchanges for moment in (item.started, item.ended))
    points.update(moment for item in messages for moment in (item.started, item.ended))
    found: dict[float, float] = {}
    last = -math.inf
    for point in sorted(points):
        coarse = math.floor((point - start) / _GRAIN) * _GRAIN
        last = max(coarse, last + _TICK)
        found[point] = round(_BEGINNING + last, 5)
    return found


def _line(data: dict[str, Any], standins: _Standins, clock: Mapping[float, float]) -> dict[str, Any]:
    if "sixhops-transcript" in data:
        begun = {"monotonic": _BEGINNING, "wall": standins.moment.isoformat(timespec="microseconds")}
        return {**standins.mapping({**data, "clock": {}}), "clock": begun}
    if "outcome" in data:
        outcome = standins.mapping(data["outcome"])
        # What daemons log is of no use without the engine, and much.
        return {"outcome": {**outcome, "seconds": round(float(outcome.get("seconds", 0.0)), 2), "logs": {}}}
    if "late" in data:
        return {"late": _timed(data["late"], standins, clock)}
    if "amended" in data:
        return standins.mapping(data)
    made = _timed({name: item for name, item in data.items() if name != "messages"}, standins, clock)
    made["messages"] = [_timed(message, standins, clock) for message in data["messages"]]
    return made


def _timed(data: dict[str, Any], standins: _Standins, clock: Mapping[float, float]) -> dict[str, Any]:
    """Return a message or an exchange."""
    made = _with_search_path(standins.mapping(data))
    for name in ("started", "ended"):
        if name in data:
            made[name] = clock[data[name]]
    fields = made.get("fields")
    if isinstance(fields, dict):
        if isinstance(fields.get("duration"), float):
            fields["duration"] = round(fields["duration"], 3)
        for side in _SIDES:
            body, digest = fields.get(f"{side}_body"), f"{side}_sha256"
            if body is not None and fields.get(f"{side}_truncated"):
                fields[f"{side}_body"] = _beginning(body)
            elif digest in fields and body is not None:
                fields[digest] = _digest(body, fields[digest])
    return made


def _with_search_path(data: dict[str, Any]) -> dict[str, Any]:
    """Return an exchange with the search path of a known machine for that of the one it was recorded on."""
    sent = data.get("sent")
    environment = sent.get("env") if isinstance(sent, dict) else None
    if isinstance(sent, dict) and isinstance(environment, dict) and "PATH" in environment:
        return {**data, "sent": {**sent, "env": {**environment, "PATH": _PATH}}}
    return data


def _beginning(body: Any) -> Any:
    """Return the first bytes of a body that the tap has cut already: the whole is compared by its digest."""
    if isinstance(body, str):
        return body[:_HEAD]
    if isinstance(body, dict) and body.keys() == {"$bytes"}:
        return {"$bytes": base64.b64encode(base64.b64decode(body["$bytes"])[:_HEAD]).decode("ascii")}
    return body


def _digest(body: Any, otherwise: Any) -> Any:
    """Return the SHA-256 of a body as it is in the file."""
    if isinstance(body, str):
        return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(body, dict) and body.keys() == {"$bytes"}:
        return hashlib.sha256(base64.b64decode(body["$bytes"])).hexdigest()
    return otherwise


@dataclass(slots=True)
class _Standins(Tokens):
    """Puts a stand-in of the same form and length where `Tokens` would put a token."""

    moment: datetime = field(kw_only=True)

    def mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mapping of a transcript's file with stand-ins in keys and values."""
        return {self.text(key): self.value(item) for key, item in value.items()}

    def value(self, value: Any) -> Any:
        """Return a value of a transcript's file with stand-ins."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            if value.keys() == {"$bytes"}:
                data = base64.b64decode(value["$bytes"])
                if _is_opaque(data):
                    return value
                text = self.text(data.decode("latin-1"))
                return {"$bytes": base64.b64encode(text.encode("latin-1")).decode("ascii")}
            return value if len(value) == 1 and not _MARKS.isdisjoint(value) else self.mapping(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            unit = self.period.unit_of(value)
            return value if unit is None else type(value)(int(self.moment.timestamp()) * _FACTORS[unit])
        return value

    def number(self, kind: str, value: str) -> str:
        """Return the stand-in for one value of a kind: itself where it takes little room."""
        numbers = self._numbers.setdefault(kind, {})
        count = numbers.setdefault(value, len(numbers) + 1)
        if kind == "id":
            return hashlib.sha256(f"id {count}".encode()).hexdigest()
        if kind == "uuid":
            return f"{count:08x}-5a5e-4a5e-8a5e-{count:012x}"
        if kind == "network sandbox":
            return f"{count:012x}"
        if kind == "overlay link":
            return base64.b32encode(hashlib.sha256(f"link {count}".encode()).digest()).decode()[: len(value)]
        return value

    def _known(self, found: re.Match[str]) -> str:
        text, name = found[0], self.known[found[0]]
        if name in {"stack", "data root"}:
            return _replaced_id(text, self.known)
        standin = {UNIQUE: _UNIQUE, "stack id": _STACK, "registry": _REGISTRY}.get(name)
        if name == "generated name":
            return re.sub("[a-z]", "n", text)
        return standin if standin is not None and len(standin) == len(text) else text

    def _time(self, found: re.Match[str]) -> str:
        text = found[0]
        moment = parsed_time(text)
        if moment is None:
            return text
        if self.period.has(moment):
            stands = self.moment
        elif moment.year > 1 and self.period.has(moment - _DAY):
            # When what dockerd leases ends.
            stands = self.moment + _DAY
        else:
            return text
        there = stands.astimezone(moment.tzinfo)
        tail = re.sub(r"\.\d+", lambda part: "." + "5" * (len(part[0]) - 1), text[19:])
        return f"{there:%Y-%m-%d}{text[10]}{there:%H:%M:%S}{tail}"

    def _httpdate(self, found: re.Match[str]) -> str:
        is_token = super(_Standins, self)._httpdate(found) != found[0]
        return format_datetime(self.moment, usegmt=True) if is_token else found[0]

    def _unix(self, found: re.Match[str]) -> str:
        if self.period.unit_of(float(found[0])) is None:
            return found[0]
        return f"{int(self.moment.timestamp())}{re.sub('[0-9]', '5', found[0][10:])}"

    def _hex(self, found: re.Match[str]) -> str:
        text = found[0]
        before = found.string[: found.start()]
        if before.endswith("sha256:"):
            return text
        if len(text) == 64:
            return self.number("id", text)
        whole = self._short.get(text)
        if whole is not None:
            return self.number("id", whole)[:12]
        return self.number("network sandbox", text) if before.endswith("/netns/") else text

    def _veth(self, found: re.Match[str]) -> str:
        numbers = self._numbers.setdefault("veth", {})
        return f"veth{numbers.setdefault(found[0], len(numbers) + 1):07x}"

    def _lease(self, found: re.Match[str]) -> str:
        numbers = self._numbers.setdefault("lease", {})
        digits, _, _ = found[0].partition("-")
        return f"{numbers.setdefault(found[0], len(numbers) + 1):0{len(digits)}d}-aaaa"

    def _mac(self, found: re.Match[str]) -> str:
        return found[0]

    def _opaque(self, found: re.Match[str]) -> str:
        return "o" * len(found[0])

    def _scratch(self, found: re.Match[str]) -> str:
        head, _, end = found[0].partition("-")
        return f"{head}-{_STACK if end in self.known else 'scratch0'}"

    def _temporary(self, found: re.Match[str]) -> str:
        return "0" * len(found[0])

    def _sequence(self, found: re.Match[str]) -> str:
        return found[0]

    def _lasts(self, found: re.Match[str]) -> str:
        return found[0]


def _is_opaque(data: bytes) -> bool:
    """Say whether a comparison knows bytes by their digest only: no text, and of no form that it takes apart."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return body_value(data) is data
    return False


def _replaced_id(path: str, known: Mapping[str, str]) -> str:
    """Return a path in a stack's directory with the stack's id replaced."""
    for text, name in known.items():
        if name == "stack id":
            return path.replace(text, _STACK)
    return path
