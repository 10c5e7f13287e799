"""Where taps put what they saw: an ordered, thread-safe log of `HopMessage`s.

The runner takes a mark before a step and asks for what came since; that is how a message is attributed to
its step.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sixhops.harness.exchange import Facet, HopMessage

if TYPE_CHECKING:
    from sixhops.harness.scenario.model import Hop

__all__ = ["OpenMessage", "Recorder"]


class OpenMessage:
    """A message that has begun and not ended; `finish` makes it a HopMessage, in the place where it began."""

    def __init__(self, recorder: Recorder, hop: Hop, sequence: int) -> None:
        self._recorder = recorder
        self._hop = hop
        self._sequence = sequence
        self._started = time.monotonic()
        self._finished = False

    def finish(self, summary: str, fields: dict[str, Facet]) -> None:
        """Record the message. A second call is a mistake of the tap's and raises RuntimeError."""
        if self._finished:
            raise RuntimeError(f"message {self._sequence} on {self._hop} was finished twice")
        self._finished = True
        self._recorder.put(
            HopMessage(
                hop=self._hop,
                sequence=self._sequence,
                started=self._started,
                ended=time.monotonic(),
                summary=summary,
                fields=fields,
            )
        )


class Recorder:
    """The log of one target. Taps on any thread append; the runner reads.

    A message is numbered when it begins, so the order is the order of requests, not of answers. `since`
    waits (bounded)
    for messages that had begun before the call and are not yet finished, unless they are streams that
    outlive the step: those
    are reported once they end.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[HopMessage] = []
        self._open: set[int] = set()
        self._next = 0

    def begin(self, hop: Hop) -> OpenMessage:
        """Note that a message has begun on `hop`; the caller must `finish` it, also on failure."""
        with self._changed:
            sequence = self._next
            self._next += 1
            self._open.add(sequence)
        return OpenMessage(self, hop, sequence)

    def put(self, message: HopMessage) -> None:
        """Append a finished message; used by `OpenMessage.finish`."""
        with self._changed:
            self._open.discard(message.sequence)
            self._messages.append(message)
            self._changed.notify_all()

    def mark(self) -> int:
        """Return the sequence number that the next message will get."""
        with self._changed:
            return self._next

    def since(self, mark: int, settle: float = 0.0) -> list[HopMessage]:
        """Return finished messages with sequence >= mark, in order of beginning.

        Waits up to `settle` seconds for open ones.
        """
        deadline = time.monotonic() + settle
        with self._changed:
            while any(sequence >= mark for sequence in self._open):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return sorted((m for m in self._messages if m.sequence >= mark), key=lambda m: m.sequence)
