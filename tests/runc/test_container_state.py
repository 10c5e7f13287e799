"""The record of a container on disk: what other versions of the program wrote, and what is no record."""

import json
import os
from pathlib import Path

import pytest

from sixhops.runc.errors import NoSuchContainer, RuntimeFault
from sixhops.runc.lifecycle import state

#: What the program wrote before checkpoints.
BEFORE_CHECKPOINTS = (
    '{"annotations": {"a": "b"}, "bundle": "/b", "created": "2026-11-20T10:00:00.5Z", '
    '"groups": {"pids": "/sys/fs/cgroup/pids/c"}, "hooks": {"poststop": [{"path": "/bin/true"}]}, "on_host": true, '
    '"own_pids": false, "owner": 0, "pid": 7, "ready": false, "rootfs": "/b/rootfs", "start_time": 99, '
    '"version": "1.0.2-dev"}'
)
#: The members of its first version.
FIRST = (
    "annotations",
    "bundle",
    "created",
    "groups",
    "hooks",
    "own_pids",
    "owner",
    "pid",
    "rootfs",
    "start_time",
    "version",
)


def write(root: Path, text: str) -> None:
    (root / "c").mkdir()
    (root / "c/state.json").write_text(text)


def test_a_record_from_before_checkpoints(tmp_path: Path) -> None:
    write(tmp_path, BEFORE_CHECKPOINTS)

    loaded = state.load(str(tmp_path), "c")

    assert loaded.descriptors == []
    for name, value in json.loads(BEFORE_CHECKPOINTS).items():
        assert getattr(loaded, name) == value


def test_a_record_of_the_first_version(tmp_path: Path) -> None:
    record = json.loads(BEFORE_CHECKPOINTS)
    write(tmp_path, json.dumps({name: record[name] for name in FIRST} | {"pid": os.getpid()}))

    loaded = state.load(str(tmp_path), "c")

    # there was a record only once the container was made
    assert (loaded.ready, loaded.on_host, loaded.descriptors) == (True, False, [])
    assert loaded.status() == "stopped"  # it began at another time


def test_a_record_of_a_later_version(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(json.loads(BEFORE_CHECKPOINTS) | {"something": [1]}))

    assert state.load(str(tmp_path), "c").bundle == "/b"


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, BEFORE_CHECKPOINTS)
    saved = state.load(str(tmp_path), "c")
    saved.ready = True
    saved.descriptors = ["pipe:[1]", "/dev/null", ""]
    state.save(saved)

    loaded = state.load(str(tmp_path), "c")

    for name in state.Container.__slots__:
        assert getattr(loaded, name) == getattr(saved, name)


@pytest.mark.parametrize("missing", FIRST)
def test_a_record_without_what_was_always_there_is_damaged(tmp_path: Path, missing: str) -> None:
    record = json.loads(BEFORE_CHECKPOINTS)
    del record[missing]
    write(tmp_path, json.dumps(record))

    with pytest.raises(RuntimeFault, match=f"^state of container c is damaged: '{missing}'$"):
        state.load(str(tmp_path), "c")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"text"'])
def test_what_is_no_record_is_damaged(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)

    with pytest.raises(RuntimeFault, match=r"^state of container c is damaged: "):
        state.load(str(tmp_path), "c")


def test_a_container_without_a_record_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()

    with pytest.raises(NoSuchContainer):
        state.load(str(tmp_path), "c")
