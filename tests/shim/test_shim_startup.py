import os
import subprocess
import sys
from pathlib import Path

import pytest

from sixhops.shim.options import Arguments
from sixhops.shim.startup import _bootstrap
from sixhops.shim.varint import fields, varint


def text(number: int, value: str) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value.encode()


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 32, (1 << 64) - 4])
def test_number_is_read_as_it_was_written(number: int) -> None:
    assert fields(b"\x08" + varint(number)) == [(1, number)]


BAD = [b"\x08", b"\x08\x80", b"\x0a\x05abc", b"\x0b", b"\x00\x01", b"\x08" + b"\xff" * 11]


@pytest.mark.parametrize("data", BAD)
def test_bad_message(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        fields(data)


def test_bootstrap_parameters() -> None:
    level = varint(3 << 3) + varint((1 << 64) - 4)
    data = (
        text(1, "c1")
        + text(2, "moby")
        + level
        + text(5, "/t")
        + text(6, "/g")
        + text(7, "/b")
        + text(9, "/s")
    )

    found = _bootstrap(data, Arguments(id="c1"))

    assert found is not None
    assert (found.id, found.namespace, found.debug, found.sockets) == ("c1", "moby", True, "/s")
    assert (found.events, found.address, found.publish_binary) == ("/t", "/g", "/b")


OTHER = [b"", text(1, "containerd.runc.v1.Options") + text(2, "x"), b"not a message"]


@pytest.mark.parametrize("data", OTHER)
def test_options_are_no_bootstrap_parameters(data: bytes) -> None:
    assert _bootstrap(data, Arguments(id="c1")) is None


# in a process of its own: a process that forks must have one thread
REHEARSAL = """
import gc, os, signal, sys
from sixhops.shim.rehearsal import CAUGHT, rehearse

def read(name):
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read()

def standing():
    links = {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) < 3}
    handlers = [signal.getsignal(number) for number in CAUGHT]
    names = [read(name) for name in ("comm", "cmdline", "oom_score_adj")]
    return handlers, names, links, len(os.listdir("/proc/self/fd")), os.getcwd(), os.getpgrp(), os.listdir(sys.argv[1])

before = standing()
rehearse(2)
gc.collect()
after = standing()
assert after == before, (before, after)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    sys.stdout.write("as it was")
"""


def test_rehearsal_succeeds_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REHEARSAL, str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)

    # a call that the shim refused would be told on stderr
    assert (done.returncode, done.stdout, done.stderr) == (0, "as it was", "")
