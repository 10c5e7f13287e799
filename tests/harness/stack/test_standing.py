"""What a standing stack asks for before anything runs: its door, and which stacks a word means."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import UsageError
from sixhops.harness.stack.standing import Door, choose
from sixhops.harness.stack.state import Record, StackDirectory, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder with a short path, because a socket's is limited."""
    with tempfile.TemporaryDirectory(prefix="six-", dir="/var/tmp") as name:
        monkeypatch.setenv("SIXHOPS_STATE", name)
        yield Path(name)


@pytest.fixture
def stack(base: Path) -> Iterator[Callable[[str], StackDirectory]]:
    made: list[StackDirectory] = []

    def make(purpose: str) -> StackDirectory:
        home = create(base)
        made.append(home)
        home.write_record(Record(home.id, "upstream", 17, started=float(len(made)), purpose=purpose))
        return home

    yield make
    for home in made:
        home.release()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:1", "it is unix:///PATH or tcp://"),
        ("unix://relative", "it is unix:///PATH"),
        ("tcp://127.0.0.1", "it is unix:///PATH or tcp://"),
        ("tcp://127.0.0.1:99999", "bad address"),
        ("tcp://0.0.0.0:2375", "only an address of the loopback"),
        ("tcp://example.org:2375", "only an address of the loopback"),
        ("unix:///" + "x" * 120, "too long"),
        ("unix:///no/such/folder/x", "No such file"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Door.open(address)


def test_a_unix_address_that_exists_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "s").touch()

    with pytest.raises(UsageError, match="it exists already"):
        Door.open(f"unix://{tmp_path}/s")
    assert (tmp_path / "s").exists()


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"tcp://127.0.0.1:{port}: Address already in use"):
            Door.open(f"tcp://127.0.0.1:{port}")


def test_a_door_says_which_port_the_kernel_chose() -> None:
    door = Door.open("tcp://localhost:0")
    port = door.listener.getsockname()[1]
    door.remove()

    assert door.text == f"tcp://localhost:{port}"


def test_a_removed_door_leaves_no_socket(tmp_path: Path) -> None:
    door = Door.open(f"unix://{tmp_path}/s")
    assert (tmp_path / "s").is_socket()
    door.remove()

    assert list(tmp_path.iterdir()) == []


def test_without_words_the_only_stack_is_meant(stack: Callable[[str], StackDirectory]) -> None:
    mine = stack("up")
    stack("suite")

    assert [chosen.id for chosen in choose([], everything=False)] == [mine.id]
    assert [chosen.id for chosen in choose([mine.id[:6], mine.id], everything=False)] == [mine.id]


def test_without_words_several_stacks_are_not_guessed(stack: Callable[[str], StackDirectory]) -> None:
    first, second = stack("up"), stack("up")

    with pytest.raises(UsageError, match=f"2 stacks run: {first.id}, {second.id}; say which, or --all"):
        choose([], everything=False)
    assert [chosen.id for chosen in choose([], everything=True)] == [first.id, second.id]


def test_a_stack_of_a_run_is_not_ours_to_stop(stack: Callable[[str], StackDirectory]) -> None:
    other = stack("suite")

    assert choose([], everything=True) == []
    with pytest.raises(UsageError, match="belongs to a run, process 17"):
        choose([other.id], everything=False)
    with pytest.raises(UsageError, match="no stack runs that `sixhops up` has started"):
        choose([], everything=False)


def test_a_word_that_means_no_stack(base: Path) -> None:
    with pytest.raises(UsageError, match="no such stack: 'x'"):
        choose(["x"], everything=False)
