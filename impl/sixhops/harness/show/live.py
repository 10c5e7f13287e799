"""The messages of a target's taps as lines, while they come: what ended, and what begins to last, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.harness.show.text import Line, message_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import HopMessage
    from sixhops.harness.show.text import Choice
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["LiveMessages"]


class LiveMessages:
    """The messages that begin after this was made. Times are seconds since `origin` (the run's monotonic clock).

    A message has one line, when it has ended, with that time. One that lasts (a wait, a stream) has a line as soon as it
    is known to, with the time of its beginning, and another when it ends.
    """

    def __init__(self, recorder: Recorder, origin: float, choice: Choice) -> None:
        self._recorder = recorder
        self._mark = recorder.mark()
        self._origin = origin
        self._choice = choice
        self._changes = 0
        self._told: set[tuple[int, bool]] = set()
        self.open = 0

    def next(self, bound: float) -> Iterator[tuple[HopMessage, list[Line]]]:
        """Wait up to `bound` seconds for something new; yield the messages that have not been told, with their lines.

        `open` is then the number of those that have not ended and don't last.
        """
        self._changes, ended, views = self._recorder.follow(self._mark, self._changes, bound)
        self.open = sum(1 for _, lasting in views if not lasting)
        for view, lasting in views:
            if lasting:
                yield from self._tell(view, open_=True)
        for message in ended:
            yield from self._tell(message, open_=False)

    def _tell(self, message: HopMessage, *, open_: bool) -> Iterator[tuple[HopMessage, list[Line]]]:
        key = (message.sequence, open_)
        # one that ended before anybody looked was never seen open
        if key in self._told or (message.sequence, False) in self._told:
            return
        self._told.add(key)
        if self._choice.has_hop(message.hop):
            before = f"{message.ended - self._origin:8.3f} s  "
            yield message, list(message_lines(message, before, details=self._choice.details, open_=open_))
        else:
            yield message, []
