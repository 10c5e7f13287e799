"""A step that is under way: what foreground and background steps have in common.

One thread performs (`run`), others look (`snapshot`), wait (`wait`) and act (`send`, `close_stdin`,
`disconnect`). Everything that they share is guarded by one condition, which every change notifies; nothing
polls. All waits are bounded.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.harness.errors import InternalError, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.exchange import Facet

__all__ = ["Live", "Snapshot"]

#: Seconds that a thread gets to notice that its connection or process was cut.
_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A step as far as it has come. `begun`: the request is sent or the program started; `headed`: an
    answer is here.
    """

    facets: dict[str, Facet]
    begun: bool
    headed: bool
    done: bool
    error: str | None


class Live(ABC):
    """One performance of a step."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.sent: dict[str, Facet] = {}
        self.started = time.monotonic()
        self.deadline = self.started + timeout
        self.ended = self.started
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._begun = False
        self._headed = False
        self._done = False
        self._error: str | None = None
        self._crash: BaseException | None = None

    # For subclasses.

    @abstractmethod
    def _perform(self) -> None:
        """Do the step to its end; raise TargetError when it can't be done."""

    @abstractmethod
    def _facets(self) -> dict[str, Facet]:
        """Return the facets so far; called with the condition held."""

    @abstractmethod
    def _cut(self) -> None:
        """Make `_perform` end soon; called from another thread, perhaps twice, perhaps after the end."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to the container's stdin. Raises TargetError when that is not possible (any more)."""

    @abstractmethod
    def close_stdin(self) -> None:
        """End the container's stdin. Raises TargetError when there is no stdin to end."""

    # For everybody.

    def run(self) -> None:
        """Perform the step on this thread. A TargetError becomes the snapshot's error; anything else is
        raised.
        """
        try:
            self._perform()
        except TargetError as error:
            with self._changed:
                self._error = str(error)
        finally:
            with self._changed:
                self.ended = time.monotonic()
                self._done = True
                self._changed.notify_all()

    def start(self) -> None:
        """Perform the step on a thread of its own."""
        self._thread = threading.Thread(target=self._run_apart, name=f"step-{self.name}", daemon=True)
        self._thread.start()

    def snapshot(self) -> Snapshot:
        """Return what is known now. Raises InternalError when the step's thread has crashed."""
        with self._changed:
            return self._snapshot()

    def wait(self, condition: Callable[[Snapshot], bool], deadline: float) -> Snapshot:
        """Return the first snapshot that meets `condition` or that can't change any more, or the one at
        `deadline`.
        """
        while True:
            with self._changed:
                seen = self._snapshot()
                version = self._version()
            # Judged without the lock, so that a slow condition does not stop the reader.
            if condition(seen) or seen.done:
                return seen
            with self._changed:
                while self._version() == version:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return seen
                    self._changed.wait(left)

    def disconnect(self) -> None:
        """Go away without a good-bye and wait until the step's thread has ended."""
        self._cut()
        self.join_thread()

    def time_left(self) -> float:
        """Return the seconds until the step's time is over, 0 when it is."""
        return max(0.0, self.deadline - time.monotonic())

    def join_thread(self) -> None:
        """Wait until the step's thread has ended; it must have been cut or be done. Raises InternalError
        if it hangs.
        """
        if self._thread is not None:
            self._thread.join(_GRACE)
            if self._thread.is_alive():
                raise InternalError(
                    f"the thread of step {self.name!r} did not end {_GRACE:g} s after the cut"
                )

    def _run_apart(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001  (kept, and raised by `snapshot` on the asking thread)
            with self._changed:
                self._crash = error
                self._changed.notify_all()

    def _snapshot(self) -> Snapshot:
        if self._crash is not None:
            raise self._crash
        return Snapshot(self._facets(), self._begun, self._headed, self._done, self._error)

    def _version(self) -> tuple[int, bool, bool, bool]:
        return (self._progress(), self._begun, self._headed, self._done)

    def _progress(self) -> int:
        """Return a number that grows with everything that comes in."""
        return 0
