import gc
import signal
from pathlib import Path

import pytest

from sixhops.shim.options import Arguments
from sixhops.shim.rehearsal import rehearse
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


def standing() -> tuple[list[object], set[str]]:
    """Return what a rehearsal might change: handlers, and the descriptors that are open."""
    handlers = [signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)]
    return handlers, {path.name for path in Path("/proc/self/fd").iterdir()}


def test_rehearsal_leaves_nothing() -> None:
    # What earlier tests have left to the collector goes now, and not while it is looked at.
    gc.collect()
    handlers, descriptors = standing()

    rehearse()

    then, open_now = standing()
    assert then == handlers
    assert open_now <= descriptors
