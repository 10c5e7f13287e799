"""What the program in front of another one and the tap say to each other, and the shim's command line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.exec.protocol import (
    Descriptor,
    Ended,
    ReportError,
    Started,
    answer,
    read_end,
    read_start,
)
from sixhops.harness.tap.exec.shimcall import Bootstrap, ShimCall, read_bootstrap
from sixhops.harness.tap.recorder import Recorder
from sixhops.wire.proto import shim_v2_pb2

START = b"runc\0002\0runc\0list\0003\0A=1\0B=x=y\0A=2\0/b\0005\0004\0002\0000\0character\0/dev/null\0007\0fifo\0pipe:[1]\0"


def test_a_first_report() -> None:
    found = read_start(START)
    assert found == Started(
        "runc",
        ["runc", "list"],
        {"A": "1", "B": "x=y"},
        "/b",
        5,
        4,
        {0: Descriptor(0, "character", "/dev/null"), 7: Descriptor(7, "fifo", "pipe:[1]")},
    )
    assert found.fields() == {
        "argv": ["runc", "list"],
        "env": {"A": "1", "B": "x=y"},
        "cwd": "/b",
        "stdin": "null",
        "stdout": "closed",
        "stderr": "closed",
        "descriptors": [{"number": 7, "kind": "pipe"}],
    }


@pytest.mark.parametrize("end", range(len(START)))
def test_a_torn_first_report(end: int) -> None:
    with pytest.raises(ReportError):
        read_start(START[:end])


@pytest.mark.parametrize("data", [START + b"\0", b"x\0-1\0", b"x\000999999999999\0", b"x\0one\0"])
def test_a_wrong_first_report(data: bytes) -> None:
    with pytest.raises(ReportError):
        read_start(data)


@pytest.mark.parametrize("seed", range(100))
def test_random_reports_are_refused_or_read(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(START)
    for _ in range(5):
        data[chance.randrange(len(data))] = chance.randrange(256)
    for read in (read_start, read_end):
        for raw in (bytes(data), chance.randbytes(50)):
            try:
                read(raw)  # type: ignore[operator]
            except ReportError:
                continue


@pytest.mark.parametrize(
    ("data", "ended"),
    [
        (b"0\0001500\0", Ended(0, 0.0015)),
        (b"256\0000\0", Ended(1, 0.0)),
        (b"9\0000\0", Ended(-9, 0.0)),
        (b"139\0000\0", Ended(-11, 0.0)),
        (b"0\0000\0002\0in3\0out", Ended(0, 0.0, b"in", b"out")),
        (b"0\0000\0000\0000\0", Ended(0, 0.0, b"", b"")),
    ],
)
def test_a_second_report(data: bytes, ended: Ended) -> None:
    assert read_end(data) == ended


@pytest.mark.parametrize(
    "data", [b"", b"0\0", b"x\0000\0", b"0\0000\0005\0in", b"0\0000\0000\0", b"0\0000\0000\0000\0x"]
)
def test_a_wrong_second_report(data: bytes) -> None:
    with pytest.raises(ReportError):
        read_end(data)


def test_answers() -> None:
    assert answer(capture=False, env={}) == b"pass\0"
    assert answer(capture=True, env={"A": "1", "B": "\udcff"}) == b"capture\0A=1\0B=\xff\0"


@pytest.mark.parametrize(
    ("kind", "target", "wanted"),
    [
        ("character", "/dev/null", "null"),
        ("character", "/dev/pts/3", "terminal"),
        ("character", "/dev/zero", "character"),
        ("fifo", "pipe:[5]", "pipe"),
        ("fifo", "/x/init-stdout", "fifo"),
        ("socket", "socket:[5]", "socket"),
        ("file", "/x", "file"),
    ],
)
def test_kinds_of_descriptors(kind: str, target: str, wanted: str) -> None:
    assert Descriptor(1, kind, target).kind == wanted


@pytest.mark.parametrize(
    ("output", "bootstrap"),
    [
        (b"unix:///run/s/1", Bootstrap("unix:///run/s/1", "ttrpc", Path("/run/s/1"))),
        (b"/run/s/1\n", Bootstrap("/run/s/1", "ttrpc", Path("/run/s/1"))),
        (
            b'{"version":3,"address":"unix:///run/s/1","protocol":"grpc"}',
            Bootstrap("unix:///run/s/1", "grpc", Path("/run/s/1")),
        ),
        (b'{"address":"unix:///s"}', Bootstrap("unix:///s", "ttrpc", Path("/s"))),
        (b"vsock://3:1", Bootstrap("vsock://3:1", "ttrpc", None)),
        (b"\0abstract", Bootstrap("\0abstract", "ttrpc", None)),
        (b"", None),
        (b"{", None),
        (b"{}", None),
        (b"a warning\nunix:///s", None),
    ],
)
def test_what_a_shim_prints_at_its_start(output: bytes, bootstrap: Bootstrap | None) -> None:
    assert read_bootstrap(output) == bootstrap


def shim(line: str) -> tuple[ShimCall, Recorder]:
    recorder = Recorder()
    started = Started("shim", ["shim", *line.split()], {}, "/bundle", 5, 4, {})
    return ShimCall(recorder, started), recorder


def only(recorder: Recorder) -> tuple[str, dict[str, Any]]:
    (message,) = recorder.since(0)
    assert message.hop == Hop.SHIM
    return message.summary, dict(message.fields)


def test_the_start_of_a_shim() -> None:
    call, recorder = shim(
        "-namespace moby -address /c.sock -publish-binary /usr/bin/containerd -id c1 -debug start"
    )
    assert call.captures
    options = b"\x0a\x12containerd.runc.v1\x12\0"
    call.end(Ended(0, 0.25, options, b"unix:///run/s"))
    summary, fields = only(recorder)
    assert summary == "shim start -> 0"
    assert fields["flags"] == {
        "namespace": "moby",
        "address": "/c.sock",
        "publish-binary": "/usr/bin/containerd",
        "id": "c1",
        "debug": True,
    }
    assert (fields["call"], fields["command"], fields["exit"]) == ("shim start", "start", 0)
    assert (fields["id"], fields["container"], fields["bundle"]) == ("c1", "c1", "/bundle")
    assert (fields["namespace"], fields["address"]) == ("moby", "/c.sock")
    assert fields["stdin"] == {"@type": "containerd.runc.v1", "value": b""}
    assert fields["stdout"] == "unix:///run/s"


def test_the_delete_of_a_shim() -> None:
    call, recorder = shim("-namespace moby -id c1 -bundle /other delete")
    answered = shim_v2_pb2.DeleteResponse(pid=7, exit_status=137)
    call.end(Ended(0, 0.0, b"", answered.SerializeToString()))
    summary, fields = only(recorder)
    assert summary == "shim delete -> 0"
    assert fields["stdout"] == {"pid": 7, "exit_status": 137}
    assert fields["bundle"] == "/other"
    assert fields["stdin"] == "closed"


@pytest.mark.parametrize(
    ("line", "name", "captures"),
    [
        ("-v", "shim -v", True),
        ("-info", "shim -info", True),
        ("--id=c1 start", "shim start", True),
        ("-id c1 unheard", "shim unheard", True),
        ("-id c1 -debug", "shim serve", False),
        ("-id c1 -socket /s", "shim serve", False),
        ("", "shim serve", False),
    ],
)
def test_other_command_lines(line: str, name: str, captures: bool) -> None:
    call, recorder = shim(line)
    call.vanish("it was killed")
    summary, fields = only(recorder)
    assert summary == f"{name} -> no answer"
    assert fields["complete"] is False
    assert call.captures is captures


def test_a_bootstrap_document_is_shown_as_json() -> None:
    call, recorder = shim("-id c1 start")
    call.end(Ended(0, 0.0, b"", b'{"version": 3, "address": "unix:///s"}'), "no tap for it")
    _, fields = only(recorder)
    assert fields["stdout"] == {"version": 3, "address": "unix:///s"}
    assert fields["error"] == "no tap for it"
    other, again = shim("-id c1 start")
    other.end(Ended(1, 0.0, b"", b"{\xff"))
    assert only(again)[1]["stdout"] == b"{\xff"
