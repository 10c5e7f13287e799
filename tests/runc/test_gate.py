"""What `create` offers a caller that stays, and what that can do with it instead of a `start`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sixhops.runc.lifecycle.gate import offer_gate, open_gate
from sixhops.runc.lifecycle.state import Container

Offer = tuple[str, tuple[int, ...]]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A container whose process waits at the gate: the descriptor is in `pid`."""
    made = Container(str(tmp_path), "one")
    Path(made.directory).mkdir()
    os.mkfifo(made.gate)
    frozen = tmp_path / "freezer.state"
    frozen.write_text("THAWED\n")
    made.groups = {"freezer": str(tmp_path)}
    made.pid = os.open(made.gate, os.O_RDWR | os.O_NONBLOCK)
    yield made
    os.close(made.pid)


def offered(container: Container) -> list[Offer]:
    """Return the offers, with copies of their descriptors."""
    offers: list[Offer] = []
    offer_gate(container, lambda path, given: offers.append((path, tuple(map(os.dup, given)))))
    return offers


def close(offer: Offer) -> None:
    for descriptor in offer[1]:
        os.close(descriptor)


def test_the_process_goes_on_and_the_gate_is_gone(container: Container) -> None:
    (offer,) = offered(container)

    assert open_gate(*offer)
    assert os.read(container.pid, 16) == b"0"
    assert not Path(container.gate).exists()
    close(offer)


def test_a_container_without_groups_is_offered_too(container: Container) -> None:
    container.groups = {}
    (offer,) = offered(container)

    assert len(offer[1]) == 1
    assert open_gate(*offer)
    close(offer)


def test_there_is_nothing_to_offer_where_start_has_more_to_do(container: Container) -> None:
    container.hooks = {"poststart": [{"path": "/bin/true"}]}
    assert offered(container) == []

    container.hooks = {}
    Path(container.notify).mkdir()
    assert offered(container) == []


def test_there_is_nothing_to_offer_when_the_process_has_ended(container: Container) -> None:
    os.close(container.pid)
    assert offered(container) == []
    container.pid = os.open("/dev/null", os.O_RDONLY)


@pytest.mark.parametrize("state", ["FROZEN\n", "FREEZING\n", "1\n"])
def test_a_paused_container_is_left_to_start(container: Container, tmp_path: Path, state: str) -> None:
    (offer,) = offered(container)
    (tmp_path / "freezer.state").write_text(state)

    assert not open_gate(*offer)
    assert Path(container.gate).exists()
    close(offer)


def test_one_that_was_started_already_is_left_to_start(container: Container) -> None:
    (offer,) = offered(container)
    Path(container.gate).unlink()

    assert not open_gate(*offer)
    with pytest.raises(BlockingIOError):
        os.read(container.pid, 16)
    close(offer)


def test_one_that_has_ended_meanwhile_is_left_to_start(container: Container) -> None:
    (offer,) = offered(container)
    os.close(container.pid)

    assert not open_gate(*offer)
    container.pid = os.open("/dev/null", os.O_RDONLY)
    close(offer)
