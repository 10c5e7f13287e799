"""An event loop for a process that forks: descriptors, timers, children, coroutines; no threads, no asyncio.

asyncio costs 40 ms and some megabytes to import, and its child watchers want a thread or one descriptor a
child. A shim needs three things: to be told when a descriptor is ready, when a time has come and when a
child has ended.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sixhops.linux.signals import set_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["ExitStatus", "Future", "Lock", "Loop", "Task", "TimedOutError"]

T = TypeVar("T")
EVENTS = 16  # at a time; more are told the next time
READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class TimedOutError(Exception):
    """What was awaited did not come in time."""


class Future(Generic[T]):
    """A value that will be there later; awaited by coroutines of `Loop`."""

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    def set(self, value: T) -> None:
        """Give the value; a second one is ignored (a time-out may have come first)."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: BaseException) -> None:
        """Give an error instead."""
        if not self.done:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` when done, at once if it is."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def result(self) -> T:
        """Return the value or raise the error; only when done."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value] # set together with `done`

    def __await__(self) -> Generator[Future[Any], None, T]:
        if not self.done:
            yield self
        return self.result()


class Task(Future[T]):
    """A coroutine under way; its result is the future's value."""

    def __init__(self, coroutine: Coroutine[Future[Any], None, T]) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._step()

    def _step(self) -> None:
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as stop:
            self.set(stop.value)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the task
            self.fail(error)
        else:
            awaited.on_done(self._step)


class Lock:
    """Lets one coroutine at a time into an `async with`; the others follow in order."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._held:
            turn: Future[None] = Future()
            self._waiting.append(turn)
            await turn
        self._held = True

    async def __aexit__(self, *exception: object) -> None:
        if self._waiting:
            self._waiting.popleft().set(None)  # stays held: the next one is in already
        else:
            self._held = False


class ExitStatus:
    """How a child ended: `status` as a shell counts it (128 + signal), `at` in seconds since 1970."""

    __slots__ = ("at", "status")

    def __init__(self, wait_status: int, at: float) -> None:
        code = os.waitstatus_to_exitcode(wait_status)
        self.status = code if code >= 0 else 128 - code
        self.at = at


class Loop:
    """Runs until `stop`. Children are reaped by SIGCHLD, whoever started them."""

    def __init__(self) -> None:
        # takes what a handler raises; without it the error ends `run`. A shim must outlive its own mistakes,
        # because the container goes with it
        self.on_error: Callable[[Exception], None] | None = None
        # bare epoll: every object that `selectors` puts around it would be a page of memory in every shim
        self._epoll = select.epoll()
        self._handlers: dict[int, dict[int, Callable[[], None]]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ready: list[Callable[[], None]] = []
        self._running = True
        self._children: dict[int, Future[ExitStatus]] = {}
        self._unclaimed: dict[int, ExitStatus] = {}
        self._holds = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeups: dict[int, Callable[[], None]] = {}

    def catch_signals(self, handlers: dict[int, Callable[[], None]] | None = None) -> None:
        """Reap on SIGCHLD and call `handlers` by signal number, all from inside the loop."""
        self._wakeups = {signal.SIGCHLD: self.reap, **(handlers or {})}
        for number in self._wakeups:
            set_handler(number, _nothing)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.on_readable(self._wake_read, self._woken)

    def _woken(self) -> None:
        for number in set(os.read(self._wake_read, 4096)):
            handler = self._wakeups.get(number)
            if handler is not None:
                handler()

    def on_readable(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `descriptor` can be read, until `forget`."""
        self._watch(descriptor, READ, handler)

    def on_writable(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `descriptor` can be written, until `forget`."""
        self._watch(descriptor, WRITE, handler)

    def _watch(self, descriptor: int, event: int, handler: Callable[[], None]) -> None:
        handlers = self._handlers.get(descriptor)
        if handlers is None:
            self._epoll.register(descriptor, event)
            self._handlers[descriptor] = {event: handler}
            return
        fresh = event not in handlers
        handlers[event] = handler
        if fresh:
            self._epoll.modify(descriptor, sum(handlers))

    def forget(self, descriptor: int, event: int | None = None) -> None:
        """Stop watching `descriptor`, or only for `event` (READ or WRITE). Must come before it is closed."""
        handlers = self._handlers.get(descriptor)
        if handlers is None:
            return
        if event is not None:
            handlers.pop(event, None)
        if event is None or not handlers:
            del self._handlers[descriptor]
            self._epoll.unregister(descriptor)
        else:
            self._epoll.modify(descriptor, sum(handlers))

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` in `seconds`."""
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, callback))

    def soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` before the loop waits again."""
        self._ready.append(callback)

    def sleep(self, seconds: float) -> Future[None]:
        """Return a future that is done in `seconds`."""
        future: Future[None] = Future()
        self.later(seconds, lambda: future.set(None))
        return future

    async def within(self, future: Future[T], seconds: float) -> T:
        """Return the value of `future`; TimedOutError when it takes longer than `seconds`."""
        if not future.done:
            either: Future[None] = Future()
            future.on_done(lambda: either.set(None))
            self.later(seconds, lambda: either.set(None))
            await either
        if not future.done:
            raise TimedOutError(f"not done within {seconds:g} s")
        return future.result()

    def readable(self, descriptor: int) -> Future[None]:
        """Return a future that is done when `descriptor` can be read."""
        future: Future[None] = Future()

        def ready() -> None:
            self.forget(descriptor, READ)
            future.set(None)

        self.on_readable(descriptor, ready)
        return future

    def hold_exits(self) -> None:
        """Keep exit statuses of unknown children: one of them may prove to be a process that is being
        started.
        """
        self._holds += 1

    def release_exits(self) -> None:
        """End `hold_exits`; unclaimed statuses are dropped with the last one."""
        self._holds -= 1
        if not self._holds:
            self._unclaimed.clear()

    def child(self, pid: int) -> Future[ExitStatus]:
        """Return the future exit of child `pid`, which may have ended already (see `hold_exits`)."""
        future: Future[ExitStatus] = Future()
        early = self._unclaimed.pop(pid, None)
        if early is not None:
            future.set(early)
        else:
            self._children[pid] = future
        return future

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exit_status = ExitStatus(status, time.time())
            future = self._children.pop(pid, None)
            if future is not None:
                future.set(exit_status)
            elif self._holds:
                self._unclaimed[pid] = exit_status

    def stop(self) -> None:
        """End `run` after the handlers that are due."""
        self._running = False

    def run(self) -> None:
        """Handle what comes until `stop`."""
        while self._running or self._ready:
            while self._ready:
                ready, self._ready = self._ready, []
                for callback in ready:
                    self._call(callback)
            if not self._running:
                return
            timeout = -1.0
            if self._timers:
                timeout = max(0.0, self._timers[0][0] - time.monotonic())
            for descriptor, events in self._epoll.poll(timeout, EVENTS):
                # an end or an error without data is for whoever watches, to find it at his next call
                ended = events & ~(READ | WRITE)
                for event in (READ, WRITE):
                    # looked up anew each time: an earlier handler may have stopped the watch
                    handler = self._handlers.get(descriptor, {}).get(event)
                    if handler is not None and (events & event or ended):
                        self._call(handler)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._call(heapq.heappop(self._timers)[2])

    def close(self) -> None:
        """Close what the loop itself has open; nothing is watched any more."""
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _call(self, handler: Callable[[], None]) -> None:
        try:
            handler()
        except Exception as error:
            if self.on_error is None:
                raise
            self.on_error(error)


def _nothing(_number: int, _frame: object) -> None:
    """Signals reach the loop through its wake-up pipe; the interpreter's handler has nothing to do."""
