"""What must vary between two runs, and the tokens that stand for it in texts.

A token is written ⟨kind⟩ or ⟨kind N⟩. One without a number stands for any value of its kind (a time in the run). One with
a number stands for one value: N counts the different values of a kind in the order in which the transcript shows them, so
that two sides can be compared by what is the same as what (`compare.Partners`).

Each rule is as narrow as it can be. A time is a token only when it lies within the run, so that 0001-01-01 and the fixed
time of an image stay; an id only when it has the length of one and does not follow `sha256:`; a digest only when it is
that of one of the scenario's images.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "GENERATED_NAME",
    "TOKEN",
    "UNIQUE",
    "Period",
    "Tokens",
    "is_token",
    "parsed_time",
    "split_tokens",
    "token",
]

_OPEN: Final = "\u27e8"
_CLOSE: Final = "\u27e9"
TOKEN: Final = re.compile(rf"{_OPEN}([^{_OPEN}{_CLOSE}]*?)(?: (\d+))?{_CLOSE}")
"""A token in a text: its kind and, where it has one, its number."""

#: Inode numbers of the first namespaces are constants of the kernel (include/linux/proc_ns.h); others are given out.
_FIRST_GIVEN_NAMESPACE: Final = 0xF0000000
UNIQUE: Final = "unique"
"""What `${scenario.unique}` becomes; names are made by putting letters before and behind it."""
GENERATED_NAME: Final = re.compile(r"/?[a-z]+_[a-z]+\d?")
"""What docker calls a container that was given no name: adjective_surname, with a digit after a clash."""

_FIRST: Final = (
    r"(?P<namespace>(?<=:\[)\d{10}(?=\]))"
    r"|(?P<overlay>(?<=/overlay2/l/)[A-Z2-7]{26}\b)"
    r"|(?P<uuid>(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f]))"
    r"|(?P<opaque>(?<=[?&]_state=)[\w%=-]+)"
    r"|(?P<scratch>(?<=/)sixhops-[a-z0-9_]{8}(?=/))"
    r"|(?P<temporary>(?<=/runc-process)\w+|(?<=/pty)\w+(?=/pty\.sock))"
    r"|(?P<inode>(?:(?<=pipe:\[)|(?<=socket:\[))\d+(?=\]))"
    r"|(?P<sequence>(?<=\bsixhops/)\d+(?=/)|(?<=\bmoby/)\d+(?=/))"
    r"|(?P<peers>(?:(?<= shared:)|(?<= master:)|(?<= propagate_from:))\d+(?= ))"
    r"|(?P<snapshot>(?<=/snapshots/)\d+(?=/|$))"
    r"|(?P<proc>(?<=/proc/)\d+(?=/))"
    r"|(?P<lease>(?<![\w-])\d{5,9}-[\w-]{4}(?![\w-])|^\d{1,4}-(?=\d*[A-Za-z_-])[\w-]{4}$)"
    r"|(?P<engine>\b(?:[A-Z2-7]{4}:){11}[A-Z2-7]{4}\b)|"
)
_DATES: Final = (
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| ?[+-]\d\d:?\d\d(?: UTC)?))"
    r"|(?P<httpdate>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<unix>(?<![\w.])\d{10}(?:\.\d+)?(?![\w.]))"
)
_REST: Final = (
    r"|(?P<hex>(?:(?<![0-9a-f])|(?<=%22))(?:[0-9a-f]{64}(?![0-9a-f]{2})|[0-9a-f]{12}(?![0-9a-f])))"
    r"|(?P<veth>\bveth[0-9a-f]{7}\b)"
    r"|(?P<mac>\b02:42(?::[0-9a-f]{2}){4}\b)"
    r"|(?P<address>(?<![\d.])172\.(?:1[6-9]|2\d|3[01])\.\d{1,3}\.\d{1,3}(?![\d.]))"
    r"|(?P<port>(?<=127\.0\.0\.1:)\d{5}\b)"
    r"|(?P<lasts>(?:Up|Exited \(\d+\)|Created|Restarting \(\d+\)) (?:Less than a second|About an? (?:minute|hour)|\d+ \w+)"
    r"(?: ago)?)"
)
_LASTS: Final = re.compile(r"(?:Less than a second|About an? (?:minute|hour)|\d+ \w+)( ago)?$")


def token(kind: str, number: int | None = None) -> str:
    """Return the text of a token."""
    return f"{_OPEN}{kind}{_CLOSE}" if number is None else f"{_OPEN}{kind} {number}{_CLOSE}"


def is_token(value: object) -> bool:
    """Say whether a value is a token and nothing else."""
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


@lru_cache(maxsize=1 << 16)
def split_tokens(text: str) -> tuple[str, list[tuple[str, int]]]:
    """Return `text` with the numbers taken out of its tokens, and the numbered tokens in order."""
    if _OPEN not in text:
        return text, []
    found = [(kind, int(number)) for kind, number in TOKEN.findall(text) if number]
    return TOKEN.sub(lambda part: token(part[1]), text), found


@dataclass(frozen=True, slots=True)
class Period:
    """The time in which a run may have made times: from the start of its target to its end."""

    first: datetime
    last: datetime

    #: A stack may be as old as this when the scenario begins, and clean-up goes on after its last step.
    BEFORE = timedelta(days=1)
    AFTER = timedelta(minutes=10)

    @classmethod
    def around(cls, began: datetime, ended: datetime) -> Period:
        """Return the period for a scenario's first and last moment."""
        return cls(began - cls.BEFORE, ended + cls.AFTER)

    def has(self, moment: datetime) -> bool:
        """Say whether a time lies within."""
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return self.first <= moment <= self.last

    def unit_of(self, number: float) -> str | None:
        """Return which unit makes `number` a time since the epoch within the period: s, ms, us, ns or None."""
        for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
            if self.first.timestamp() <= number / factor <= self.last.timestamp():
                return unit
        return None


@dataclass(slots=True)
class Tokens:
    """Turns texts of one transcript into texts with tokens.

    `known`: texts that have a name of their own (the stack's directory, the digest of an image). `ids`: all 64-digit ids
    of the transcript, so that their short forms are known.
    """

    period: Period
    known: Mapping[str, str]
    ids: Iterable[str] = ()
    _numbers: dict[str, dict[str, int]] = field(default_factory=dict)
    _short: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _pattern: re.Pattern[str] = field(default_factory=lambda: re.compile(""))

    def __post_init__(self) -> None:
        """Make one pattern of all rules; known texts come first, longer ones before shorter."""
        self._short = {identifier[:12]: identifier for identifier in self.ids}
        known = sorted((text for text in self.known if text), key=len, reverse=True)
        literals = "|".join(
            re.escape(text) if self.known[text] == UNIQUE else _bounded(text) for text in known
        )
        head = f"(?P<known>{literals})|" if literals else "(?P<known>(?!))|"
        self._pattern = re.compile(head + _FIRST + _DATES + _REST)

    def number(self, kind: str, value: str) -> str:
        """Return the token of one value of a kind; the same for the same value."""
        numbers = self._numbers.setdefault(kind, {})
        return token(kind, numbers.setdefault(value, len(numbers) + 1))

    def text(self, text: str) -> str:
        """Return `text` with tokens in place of what must vary."""
        # The same texts come again and again: a container's specification passes every hop.
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = self._pattern.sub(self._replace, text)
        return known

    def _replace(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        rule: Callable[[re.Match[str]], str] = getattr(self, f"_{kind}")
        return rule(found)

    def _known(self, found: re.Match[str]) -> str:
        return token(self.known[found[0]])

    def _time(self, found: re.Match[str]) -> str:
        moment = parsed_time(found[0])
        if moment is None or not self.period.has(moment):
            return found[0]
        return token("time" if found[0].endswith("Z") else "time with zone")

    def _httpdate(self, found: re.Match[str]) -> str:
        try:
            moment = parsedate_to_datetime(found[0])
        except ValueError:
            return found[0]
        return token("date") if self.period.has(moment) else found[0]

    def _unix(self, found: re.Match[str]) -> str:
        unit = self.period.unit_of(float(found[0]))
        if unit is None:
            return found[0]
        return token("seconds with fraction" if "." in found[0] else "seconds")

    def _hex(self, found: re.Match[str]) -> str:
        text = found[0]
        if found.string[: found.start()].endswith("sha256:"):
            return text
        if len(text) == 64:
            return self.number("id", text)
        whole = self._short.get(text)
        if whole is None and found.string[: found.start()].endswith("/netns/"):
            return self.number("network sandbox", text)
        return text if whole is None else self.number("id", whole).replace("id", "short id")

    def _veth(self, found: re.Match[str]) -> str:
        return self.number("veth", found[0])

    def _mac(self, found: re.Match[str]) -> str:
        parts = [int(part, 16) for part in found[0].split(":")]
        address = ".".join(map(str, parts[2:]))
        if ipaddress.ip_address(address).is_private and parts[2] == 172:
            # The bridge driver makes it of the address, so it must be that of the right one.
            return self.number("address", address).replace("address", "mac of address")
        return self.number("mac", found[0])

    def _address(self, found: re.Match[str]) -> str:
        # The first one of a network is the bridge's own and does not vary.
        return found[0] if found[0].endswith((".0.1", ".0.0")) else self.number("address", found[0])

    def _port(self, found: re.Match[str]) -> str:
        return self.number("port", found[0])

    def _namespace(self, found: re.Match[str]) -> str:
        return self.namespace(int(found[0]))

    def namespace(self, inode: int) -> str:
        """Return what stands for a namespace; those that the kernel begins with keep their numbers."""
        return str(inode) if inode < _FIRST_GIVEN_NAMESPACE else self.number("namespace", str(inode))

    def _overlay(self, found: re.Match[str]) -> str:
        return self.number("overlay link", found[0])

    def _uuid(self, found: re.Match[str]) -> str:
        return self.number("uuid", found[0])

    def _opaque(self, _found: re.Match[str]) -> str:
        # Signed by the registry for itself; nobody else may read anything out of it.
        return token("opaque state")

    def _scratch(self, found: re.Match[str]) -> str:
        # A stack's control group looks the same, and has a name of its own.
        head, _, end = found[0].partition("-")
        return f"{head}-{token(self.known[end])}" if end in self.known else token("scratch directory")

    def _temporary(self, _found: re.Match[str]) -> str:
        return token("any")

    def _inode(self, found: re.Match[str]) -> str:
        return self.number("inode", found[0])

    def _snapshot(self, found: re.Match[str]) -> str:
        return self.number("snapshot", found[0])

    def _peers(self, found: re.Match[str]) -> str:
        # A line of mountinfo that a program in a container prints.
        return self.number("peer group", found[0])

    def _sequence(self, _found: re.Match[str]) -> str:
        # Under what a snapshotter keeps a snapshot: namespace, count, name.
        return token("count")

    def _proc(self, found: re.Match[str]) -> str:
        return found[0] if found[0] == "1" else self.number("pid", found[0])

    def _lease(self, found: re.Match[str]) -> str:
        return self.number("lease", found[0])

    def _engine(self, found: re.Match[str]) -> str:
        return self.number("fingerprint", found[0])

    def _lasts(self, found: re.Match[str]) -> str:
        return _LASTS.sub(rf"{token('a while')}\1", found[0])


def _bounded(text: str) -> str:
    # A known text that is a word must not be found inside another one.
    start = r"(?<![0-9A-Za-z])" if text[0].isalnum() else ""
    end = r"(?![\w.-])" if text[0] == "/" else r"(?![0-9A-Za-z])" if text[-1].isalnum() else ""
    return f"{start}{re.escape(text)}{end}"


def parsed_time(text: str) -> datetime | None:
    """Return the time that a text in one of the usual forms says; None for another text."""
    plain = text.removesuffix(" UTC").replace("Z", "+00:00")
    # More digits than microseconds are no business of Python's.
    plain = re.sub(r"(\.\d{6})\d+", r"\1", plain)
    plain = re.sub(r"\.(\d{1,5})(?=\D|$)", lambda part: "." + part[1].ljust(6, "0"), plain)
    plain = re.sub(r" (?=[+-]\d)", "", plain)
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
