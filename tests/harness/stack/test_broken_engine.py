"""Expectations that can fail: the walkthrough through a proxy that tells one lie, and with a daemon that dies.

The proxy stands between the harness and a real engine. It passes every byte on, but for the answers to one
request, so what a scenario then reports is that lie and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.judge import Status, format_mismatches
from sixhops.harness.plugin.images import build_images
from sixhops.harness.run.scenario import run_scenario
from sixhops.harness.scenario.load import load_file
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.run.result import ScenarioRun
    from sixhops.harness.scenario.model import Scenario, Step

pytestmark = NEEDS_UPSTREAM

ROOT = Path(__file__).parents[3] / "scenarios"


@dataclasses.dataclass(frozen=True)
class Lie:
    """What the proxy does to the answers of requests whose line has `request` in it.

    `old` becomes `new`; both have the same length, so that frames and Content-Length still fit.
    """

    request: bytes
    old: bytes = b""
    new: bytes = b""
    hide_end: bool = False
    before: Callable[[], None] | None = None


class LyingProxy:
    """A proxy on a unix socket in front of another one, with a thread for each connection."""

    def __init__(self, path: Path, upstream: Path, lie: Lie) -> None:
        self.address = Address(f"unix://{path}", unix=path)
        self.told = 0
        self._upstream = upstream
        self._lie = lie
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._start(self._accept)

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            if select.select([self._listener], [], [], 0.1)[0]:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect(str(self._upstream))
            meant = False
            open_ends = [client, engine]
            while open_ends and not self._stopped.is_set():
                for end in select.select(open_ends, [], [], 0.1)[0]:
                    data = end.recv(1 << 20)
                    if not data and (end is client or not (meant and self._lie.hide_end)):
                        (engine if end is client else client).shutdown(socket.SHUT_WR)
                    if not data:
                        open_ends.remove(end)
                        # An engine that has ended has nothing more to hear, unless its end is kept secret.
                        if end is engine and not (meant and self._lie.hide_end):
                            return
                    elif end is client:
                        line = data.split(b"\r\n", 1)[0]
                        meant = self._lie.request in line if b" HTTP/1." in line else meant
                        if meant and self._lie.before is not None:
                            self._lie.before()
                        engine.sendall(data)
                    else:
                        client.sendall(self._changed(data) if meant else data)

    def _changed(self, data: bytes) -> bytes:
        self.told += bool(self._lie.old) and self._lie.old in data
        return data.replace(self._lie.old, self._lie.new) if self._lie.old else data


class Through:
    """A target whose engine is reached through a proxy."""

    def __init__(self, stack: PrivateStack, engine: Address) -> None:
        self._stack = stack
        self.engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stack, name)


def walkthrough(name: str, timeout: float | None = None) -> Scenario:
    """Return a scenario of the walkthrough, whose steps in the background last no longer than `timeout`."""
    (scenario,) = load_file(ROOT / f"walkthrough/{name}.yaml", ROOT)

    def bounded(step: Step) -> Step:
        return dataclasses.replace(step, timeout=timeout) if timeout and step.background else step

    return dataclasses.replace(scenario, steps=tuple(map(bounded, scenario.steps)))


def run_with(lie: Lie, stack: PrivateStack, scenario: Scenario, folder: Path) -> ScenarioRun:
    assert stack.engine.unix is not None
    proxy = LyingProxy(folder / "lie.sock", stack.engine.unix, lie)
    try:
        return run_scenario(scenario, Through(stack, proxy.address), build_images(scenario, ROOT))
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("name", "lie", "step", "place"),
    [
        (
            "hello-world",
            Lie(b"POST /v1.40/containers/create", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 409 Not Found"),
            "step 1: the image is not here yet",
            "[engine hop] status differs",
        ),
        (
            "hello-world",
            Lie(b"/wait", b'"StatusCode":0', b'"StatusCode":7'),
            "step 7: wait for what has already happened",
            "[engine hop] json $.StatusCode differs",
        ),
        (
            "hello-world",
            Lie(b"/json ", b'"RestartCount":0', b'"ReStartCount":0'),
            "step 8: inspect",
            "[engine hop] json $.RestartCount is not there",
        ),
        (
            "hello-world",
            Lie(b"/images/create", b"Pull complete", b"Pull completd"),
            "step 2: pull it",
            "[engine hop] stream",
        ),
        (
            "attach-without-upgrade",
            Lie(b"/attach", b"\x01\0\0\0\0\0\x03\x27", b"\x02\0\0\0\0\0\x03\x27"),
            "step 4: the greeting was there all the time, behind a binary header",
            "[engine hop] frames[0].stream differs",
        ),
        (
            "remove-image-first",
            Lie(b"DELETE ", b"No such image", b"no such image"),
            "step 1: the engine says that there is no such image",
            "[engine hop] json $.message differs",
        ),
    ],
    ids=["status", "JSON value", "JSON key", "stream line", "frame", "message"],
)
def test_one_lie_fails_the_step_that_hears_it(
    upstream: PrivateStack, tmp_path: Path, name: str, lie: Lie, step: str, place: str
) -> None:
    run = run_with(lie, upstream, walkthrough(name), tmp_path)

    text = format_mismatches(run.verdict.mismatches)
    assert run.verdict.status is Status.FAILED
    assert text.startswith(f"{step}\n")
    assert place in text
    assert f"walkthrough/{name}.yaml:" in text
    assert len({failure.step for failure in run.verdict.mismatches}) == 1


def test_an_end_of_stream_that_never_comes_fails_the_join(upstream: PrivateStack, tmp_path: Path) -> None:
    scenario = walkthrough("hello-world", timeout=3)

    run = run_with(Lie(b"/attach", hide_end=True), upstream, scenario, tmp_path)

    text = format_mismatches(run.verdict.mismatches)
    assert text.startswith("step 6: the program's output comes in one frame")
    assert "waited for the answer to go on until the step's time was over" in text
    assert "[engine hop] eof" in text


def test_without_a_lie_the_proxy_changes_nothing(upstream: PrivateStack, tmp_path: Path) -> None:
    run = run_with(Lie(b"no request has this"), upstream, walkthrough("hello-world"), tmp_path)

    assert format_mismatches(run.verdict.mismatches) == ""
    assert run.passed


def test_a_daemon_killed_mid_step_is_named_and_nothing_hangs(tmp_path: Path) -> None:
    stack = PrivateStack.start("upstream", directory=tmp_path / "logs", options=StackOptions())
    began = time.monotonic()
    try:
        lie = Lie(b"/wait", before=lambda: stack.kill("dockerd"))
        run = run_with(lie, stack, walkthrough("hello-world"), tmp_path)
    finally:
        left = stack.close()

    text = format_mismatches(run.verdict.mismatches)
    assert text.startswith("step 7: wait for what has already happened\n")
    assert run.target_error is not None
    assert run.target_error.startswith("stack upstream: dockerd was killed by SIGKILL; its log ends with:\n")
    assert time.monotonic() - began < 60
    assert left == []
