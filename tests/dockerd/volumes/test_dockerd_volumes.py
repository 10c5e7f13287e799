"""The store of volumes: who holds one, what goes when, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.events import Events
from sixhops.dockerd.volumes import Volumes
from sixhops.dockerd.volumes.localdriver import check_options

if TYPE_CHECKING:
    from pathlib import Path


class Room:
    """A store with the containers that use its volumes."""

    def __init__(self, root: Path) -> None:
        self.users: dict[str, list[str]] = {}
        self.events = Events()
        self.volumes = Volumes(root, self.events, lambda name: self.users.get(name, []))

    def told(self) -> list[tuple[str, str]]:
        return [(event.action, event.actor) for event in self.events.past()]


def test_volume_is_made_once_and_told_each_time(tmp_path: Path) -> None:
    room = Room(tmp_path)

    first = room.volumes.create({"Name": "data", "Labels": {"a": "b"}})
    second = room.volumes.create({"Name": "data", "Labels": {"c": "d"}})

    assert first == second
    assert first["Labels"] == {"a": "b"}
    assert room.told() == [("create", "data"), ("create", "data")]


def test_volume_of_a_container_that_is_made_does_not_go(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.volumes.make("data", holder="c1")

    with pytest.raises(EngineError) as caught:
        room.volumes.remove("data", force=True)
    assert caught.value.message == "remove data: volume is in use - [c1]"
    assert room.volumes.prune({})["VolumesDeleted"] == []

    room.volumes.let_go("c1")
    room.volumes.remove("data", force=False)
    assert room.told()[-1] == ("destroy", "data")


def test_anonymous_volume_stays_with_its_last_container(tmp_path: Path) -> None:
    room = Room(tmp_path)
    name = room.volumes.make("").name
    room.users[name] = ["other"]

    room.volumes.remove_unused(name)
    assert room.volumes.get(name)

    room.users.clear()
    room.volumes.remove_unused(name)
    with pytest.raises(EngineError, match="no such volume"):
        room.volumes.get(name)


def test_prune_leaves_what_has_options_and_counts_bytes(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.volumes.make("plain").path.joinpath("file").write_bytes(b"12345")
    room.volumes.make("special", options={"type": "tmpfs", "device": "tmpfs"})

    found = room.volumes.prune({})

    assert found == {"VolumesDeleted": ["plain"], "SpaceReclaimed": 5}
    assert room.told()[-1] == ("prune", "")


def test_words_of_a_volume_survive_the_engine(tmp_path: Path) -> None:
    made = Room(tmp_path).volumes.create({"Name": "data", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})

    assert Room(tmp_path).volumes.inspect("data") == made


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["one", "two"]),
        ({"name": ["^o"]}, ["one"]),
        ({"name": ["("]}, []),
        ({"dangling": ["true"]}, ["two"]),
        ({"dangling": ["0"]}, ["one"]),
        ({"driver": ["nosuch"]}, []),
        ({"label": ["a=b"]}, ["two"]),
    ],
)
def test_filters_of_the_list(tmp_path: Path, filters: dict[str, list[str]], names: list[str]) -> None:
    room = Room(tmp_path)
    room.volumes.make("one")
    room.volumes.make("two", labels={"a": "b"})
    room.users["one"] = ["c1"]

    assert [entry["Name"] for entry in room.volumes.list_all(filters)] == names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "1"}, 'invalid option: "foo"'),
        ({"device": "x"}, 'missing required option: "type"'),
        ({"o": "x"}, 'missing required option: "device"'),
        ({"size": "x"}, "invalid size: 'x'"),
        ({"size": "1m"}, "quota size requested but no quota support"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_options(options)

    assert caught.value.message == message
