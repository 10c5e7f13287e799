from __future__ import annotations

import threading
import time

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.recorder import Recorder


def summaries(recorder: Recorder, mark: int = 0, settle: float = 0.0) -> list[str]:
    return [message.summary for message in recorder.since(mark, settle)]


def test_messages_are_in_the_order_in_which_they_began() -> None:
    recorder = Recorder()
    first, second = recorder.begin(Hop.ENGINE), recorder.begin(Hop.REGISTRY)
    second.finish("second", {})
    first.finish("first", {})

    assert summaries(recorder) == ["first", "second"]


def test_an_open_message_is_reported_once_it_has_a_view() -> None:
    recorder = Recorder()
    message = recorder.begin(Hop.CONTAINERD)
    assert recorder.since(0) == []

    message.update("Tasks/Wait -> ...", {"complete": False})
    (seen,) = recorder.since(0)
    assert (seen.summary, seen.fields) == ("Tasks/Wait -> ...", {"complete": False})
    assert seen.ended == seen.started

    message.finish("Tasks/Wait -> OK", {"complete": True})
    assert summaries(recorder) == ["Tasks/Wait -> OK"]


def test_nobody_waits_for_a_message_that_lasts() -> None:
    recorder = Recorder()
    recorder.begin(Hop.SHIM, lasting=True)
    begun = time.monotonic()

    assert recorder.since(0, settle=30) == []
    assert time.monotonic() - begun < 5


def test_waiting_ends_when_the_open_message_ends_or_turns_out_to_last() -> None:
    for end in ("finish", "lasts"):
        recorder = Recorder()
        message = recorder.begin(Hop.SHIM)
        call = (lambda m=message: m.finish("Create -> OK", {})) if end == "finish" else message.lasts
        timer = threading.Timer(0.05, call)
        timer.start()
        begun = time.monotonic()
        recorder.since(0, settle=30)
        timer.join()

        assert time.monotonic() - begun < 5


def test_what_is_forgotten_is_not_reported() -> None:
    recorder = Recorder()
    recorder.note(Hop.ENGINE, "old", {})
    lasting = recorder.begin(Hop.SHIM, lasting=True)
    mark = recorder.mark()
    recorder.forget(mark)
    recorder.note(Hop.ENGINE, "new", {})
    lasting.finish("from before", {})

    assert summaries(recorder) == ["from before", "new"]
    assert summaries(recorder, mark) == ["new"]


def test_a_message_ends_once() -> None:
    message = Recorder().begin(Hop.ENGINE)
    message.finish("GET / -> 200", {})

    with pytest.raises(RuntimeError, match="finished twice"):
        message.finish("GET / -> 200", {})
