"""`sixhops trace`: messages as they come, process trees, and one command on a stack of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.show.live import LiveMessages
from sixhops.harness.show.text import Choice
from sixhops.harness.show.tree import tree_lines
from sixhops.harness.stack.programs import ROLES, find_upstream
from sixhops.harness.tap.recorder import Recorder

_MISSING = [role.upstream for role in ROLES.values() if find_upstream(role) is None]
NEEDS_UPSTREAM = pytest.mark.skipif(
    os.geteuid() != 0 or bool(_MISSING), reason=f"needs root and {', '.join(_MISSING) or 'nothing more'}"
)


def _texts(live: LiveMessages) -> list[str]:
    return [line.text.split(" s  ", 1)[1].split("  (")[0] for _, lines in live.next(0) for line in lines]


def test_a_message_has_one_line_when_it_ends():
    recorder = Recorder()
    live = LiveMessages(recorder, 0.0, Choice())
    first, second = recorder.begin(Hop.ENGINE), recorder.begin(Hop.SHIM)

    second.finish("Start -> OK", {})
    before = _texts(live)
    first.finish("GET / -> 200", {})

    assert before == ["shim       Start -> OK"]
    assert _texts(live) == ["engine     GET / -> 200"]
    assert _texts(live) == []


def test_what_lasts_has_a_line_at_its_beginning_and_one_at_its_end():
    recorder = Recorder()
    live = LiveMessages(recorder, 0.0, Choice())
    message = recorder.begin(Hop.CONTAINERD, lasting=True)

    message.update("Events/Subscribe -> ...", {"complete": False})
    begun = _texts(live)
    message.finish("Events/Subscribe -> OK", {})

    assert begun == ["containerd Events/Subscribe -> ..."]
    assert _texts(live) == ["containerd Events/Subscribe -> OK"]


def test_what_was_there_before_and_other_hops_are_not_told():
    recorder = Recorder()
    recorder.note(Hop.ENGINE, "GET /old -> 200", {})
    live = LiveMessages(recorder, 0.0, Choice(hops=frozenset({"registry"})))

    recorder.note(Hop.ENGINE, "GET /new -> 200", {})
    recorder.note(Hop.REGISTRY, "GET /v2/ -> 200", {})

    assert _texts(live) == ["registry   GET /v2/ -> 200"]


def test_details_show_the_fields():
    recorder = Recorder()
    live = LiveMessages(recorder, 0.0, Choice(details=True))

    recorder.note(
        Hop.ENGINE, "GET / -> 200", {"status": 200, "response_json": {"a": 1}, "response_body": "x"}
    )

    lines = [line.text for _, lines in live.next(0) for line in lines]
    assert any("status: 200" in line for line in lines)
    assert not any("response_body" in line for line in lines)


def test_open_messages_are_counted_but_not_those_that_last():
    recorder = Recorder()
    live = LiveMessages(recorder, 0.0, Choice())
    recorder.begin(Hop.ENGINE).update("GET / -> ...", {})
    recorder.begin(Hop.ENGINE, lasting=True).update("GET /events -> ...", {})

    list(live.next(0))

    assert live.open == 1


def test_a_tree_has_children_below_their_parents():
    table = [
        {"pid": 1, "ppid": 0, "comm": "init", "argv": ["init"]},
        {"pid": 7, "ppid": 3, "comm": "sh", "argv": ["sh", "-c", "a\nb"]},
        {"pid": 3, "ppid": 1, "comm": "dockerd", "argv": []},
        {"pid": 9, "ppid": 99, "comm": "lost", "argv": ["lost"]},
    ]

    texts = [line.text for line in tree_lines(table)]

    assert texts == [
        "         1  init",
        "         3    [dockerd]",
        "         7      sh -c a\\x0ab",
        "         9  lost",
    ]


@NEEDS_UPSTREAM
def test_every_hop_of_a_run_is_told_and_its_output_stays_its_own(tmp_path):
    """One real stack, because what is tested is that the taps' messages come through while it runs."""
    done = subprocess.run(
        [
            sys.executable, "-m", "sixhops", "trace", "--target", "upstream", "--images", "hello-world", "-v",
            "-o", str(tmp_path / "trace"), "--", "run", "--rm", "hello-world", "nosuch",
        ],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    trace = (tmp_path / "trace").read_text()

    assert done.returncode == 1
    assert done.stdout == ""
    assert "executable file not found" in done.stderr
    assert "docker ended with exit status 127" in trace
    for hop in (
        "engine     POST",
        "registry   HEAD",
        "containerd Tasks/Create",
        "shim       Create",
        "runtime    create",
    ):
        assert f"  {hop}" in trace, hop
    assert (
        trace.index("processes at the start")
        < trace.index("engine     POST")
        < trace.index("processes at the end")
    )
    assert '"Image": "hello-world"' in trace


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "nowhere", "--", "ps"], "nowhere"),
        (["--images", "nosuch", "--", "ps"], "no image recipe"),
        ([], "Missing argument"),
    ],
)
def test_bad_use_is_one_line_and_4(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "sixhops", "trace", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 4
    assert message in done.stderr
