"""Where taps put what they saw: an ordered, thread-safe log of `HopMessage`s.

The runner takes a mark before a step and asks for what came since; that is how a message is attributed to
its step.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from sixhops.harness.exchange import Facet, HopMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sixhops.harness.scenario.model import Hop

__all__ = ["OpenMessage", "Recorder", "break_off", "note_broken"]


class OpenMessage:
    """A message that has begun and not ended; `finish` makes it a HopMessage, in the place where it began."""

    def __init__(self, recorder: Recorder, hop: Hop, sequence: int, *, lasting: bool) -> None:
        self._recorder = recorder
        self._hop = hop
        self._sequence = sequence
        self._started = time.monotonic()
        self._finished = False
        self._lasting = lasting
        self._view: tuple[str, dict[str, Facet]] | None = None

    @property
    def is_lasting(self) -> bool:
        """Say whether nobody should wait for its end."""
        return self._lasting

    def lasts(self) -> None:
        """Note that the message may stay open for long (a wait, a stream): `since` no longer waits for its end."""
        self._lasting = True
        self._recorder.announce()

    def update(self, summary: str, fields: Mapping[str, Facet]) -> None:
        """Set what `since` reports of the message as long as it is open; without a call it reports nothing.

        By convention such a summary ends with ` -> ...`, and `fields` has `complete` False.
        """
        self._view = (summary, dict(fields))
        self._recorder.announce()

    def finish(self, summary: str, fields: dict[str, Facet]) -> None:
        """Record the message. A second call is a mistake of the tap's and raises RuntimeError."""
        if self._finished:
            raise RuntimeError(f"message {self._sequence} on {self._hop} was finished twice")
        self._finished = True
        self._recorder.put(self._message(summary, fields, time.monotonic()))

    def view(self) -> HopMessage | None:
        """Return the message as it stands, ended at the time when it began; None before the first `update`."""
        return self._message(*self._view, self._started) if self._view is not None else None

    def _message(self, summary: str, fields: dict[str, Facet], ended: float) -> HopMessage:
        return HopMessage(self._hop, self._sequence, self._started, ended, summary, fields)


class Recorder:
    """The log of one target. Taps on any thread append; the runner reads.

    A message is numbered when it begins, so the order is the order of requests, not of answers.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[HopMessage] = []
        self._open: dict[int, OpenMessage] = {}
        self._next = 0
        self._changes = 0

    def begin(self, hop: Hop, *, lasting: bool = False) -> OpenMessage:
        """Note that a message has begun on `hop`; the caller must `finish` it, also on failure."""
        with self._changed:
            sequence = self._next
            self._next += 1
            message = self._open[sequence] = OpenMessage(self, hop, sequence, lasting=lasting)
        return message

    def note(self, hop: Hop, summary: str, fields: dict[str, Facet]) -> None:
        """Record a message that begins and ends at once, as an event does."""
        self.begin(hop).finish(summary, fields)

    def put(self, message: HopMessage) -> None:
        """Append a finished message; used by `OpenMessage.finish`."""
        with self._changed:
            self._open.pop(message.sequence, None)
            self._messages.append(message)
            self._changes += 1
            self._changed.notify_all()

    def announce(self) -> None:
        """Wake whoever waits in `since` or `follow`; used by `OpenMessage`."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def follow(
        self, mark: int, seen: int, bound: float
    ) -> tuple[int, list[HopMessage], list[tuple[HopMessage, bool]]]:
        """Wait up to `bound` seconds for a change after the `seen`-th (0: from the beginning).

        Returns the number of the last change, what has ended since `mark`, in order of its end, and the views of what
        is open, each with whether it lasts.
        """
        deadline = time.monotonic() + bound
        with self._changed:
            while self._changes <= seen and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            ended = [message for message in self._messages if message.sequence >= mark]
            views = [(item.view(), item.is_lasting) for number, item in self._open.items() if number >= mark]
            return self._changes, ended, [(view, lasting) for view, lasting in views if view is not None]

    def mark(self) -> int:
        """Return the sequence number that the next message will get."""
        with self._changed:
            return self._next

    def forget(self, mark: int) -> None:
        """Drop finished messages with a sequence number below `mark`; nobody will ask for them again."""
        with self._changed:
            self._messages = [message for message in self._messages if message.sequence >= mark]

    def since(self, mark: int, settle: float = 0.0) -> list[HopMessage]:
        """Return messages with sequence >= mark, in order of beginning.

        Waits up to `settle` seconds for open ones to end, but not for those that last. Those still open are among
        the answer as far as they have a view (`OpenMessage.update`).
        """
        deadline = time.monotonic() + settle
        with self._changed:
            while any(number >= mark and not item.is_lasting for number, item in self._open.items()):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            views = [item.view() for number, item in self._open.items() if number >= mark]
            found = [message for message in self._messages if message.sequence >= mark]
        found += [view for view in views if view is not None]
        return sorted(found, key=lambda message: message.sequence)


class _Call(Protocol):
    """What a reader of a hop keeps of a call that nobody has answered yet."""

    def break_off(self, reason: str) -> None:
        """End its message with `reason` as the error."""


def break_off(calls: Iterable[_Call], reason: str) -> bool:
    """End the calls that were open when their connection went; return whether there was any."""
    found = False
    for call in calls:
        call.break_off(reason)
        found = True
    return found


def note_broken(recorder: Recorder, hop: Hop, client: int, reason: str, head: bytes | None) -> None:
    """Record a connection that broke while no call was open; `head` are its first bytes when no call ever began."""
    fields: dict[str, Facet] = {"complete": False, "error": reason, "client": client}
    if head is not None:
        fields["request_raw"] = head
    recorder.note(hop, "? -> no answer", fields)
