"""Directories of stacks: their locks, and the sweep of what nobody keeps."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import UsageError
from sixhops.harness.stack.state import (
    Record,
    base_directory,
    create,
    living,
    mark_kept,
    read_record,
    sweep,
)

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_stack_that_somebody_holds_is_not_swept(tmp_path: Path) -> None:
    home = create(tmp_path)

    assert sweep(tmp_path) == []
    assert home.path.is_dir()
    home.release()


def test_a_stack_that_nobody_holds_is_swept(tmp_path: Path) -> None:
    home = create(tmp_path)
    (home.path / "deep" / "er").mkdir(parents=True)
    home.release()

    assert sweep(tmp_path) == [home.id]
    assert names(tmp_path) == [".lock"]


def test_a_kept_directory_is_not_swept(tmp_path: Path) -> None:
    home = create(tmp_path)
    mark_kept(home.path)
    home.release()

    assert sweep(tmp_path) == []
    assert home.path.is_dir()


def test_a_half_removed_directory_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".gone-0123abcd" / "x").mkdir(parents=True)

    sweep(tmp_path)

    assert names(tmp_path) == [".lock"]


def test_what_is_not_a_stack_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    (tmp_path / "file").touch()

    assert sweep(tmp_path) == []
    assert names(tmp_path) == [".lock", "file", "something"]


def test_sweeping_where_nothing_ever_was(tmp_path: Path) -> None:
    assert sweep(tmp_path / "none") == []


def test_the_record_is_read_back(tmp_path: Path) -> None:
    home = create(tmp_path)
    record = Record(home.id, "upstream", 1, 2, 3, "sixhops-x")
    home.write_record(record)

    assert read_record(home.path) == record
    home.release()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"id": "x"}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)

    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    ("base", "message"), [("/" + "x" * 90, "too long"), ("/run/x", "/run of its own"), ("/proc/x", "/proc")]
)
def test_a_base_that_cannot_work_is_refused(base: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXHOPS_STATE", base)

    with pytest.raises(UsageError, match=message):
        base_directory()


def test_a_base_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="SIXHOPS_STATE names another"):
        create(tmp_path / "file" / "x")


def test_a_directory_elsewhere_is_found_and_swept(tmp_path: Path) -> None:
    base, chosen = tmp_path / "base", tmp_path / "chosen"
    home = create(base, chosen)
    home.write_record(Record(home.id, "upstream", 1))

    assert [(stack.id, stack.path) for stack in living(base)] == [(home.id, chosen)]
    assert sweep(base) == []
    home.release()
    assert living(base) == []
    assert sweep(base) == [home.id]
    assert names(base) == [".lock"]
    assert not chosen.exists()


def test_a_directory_in_use_names_the_stack(tmp_path: Path) -> None:
    home = create(tmp_path / "base", tmp_path / "chosen")

    with pytest.raises(UsageError, match=f"is in use by stack {home.id}"):
        create(tmp_path / "base", tmp_path / "chosen")
    home.release()


@pytest.mark.parametrize(
    ("made", "message"), [("full/file", "Directory not empty"), ("full", "Not a directory")]
)
def test_a_directory_with_something_in_it_is_not_taken(tmp_path: Path, made: str, message: str) -> None:
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).touch()

    with pytest.raises(UsageError, match=f"can't use .*: {message}"):
        create(tmp_path / "base", tmp_path / "full")
    assert (tmp_path / made).exists()
    assert names(tmp_path / "base") == [".lock"]


def test_a_directory_that_is_somebody_elses_by_now_is_not_swept(tmp_path: Path) -> None:
    home = create(tmp_path / "base", tmp_path / "chosen")
    home.release()
    (tmp_path / "chosen" / "lock").write_text("mine")

    assert sweep(tmp_path / "base") == []
    assert names(tmp_path / "chosen") == ["lock"]
    assert names(tmp_path / "base") == [".lock"]


def test_a_socket_outside_goes_with_the_stack_and_nothing_else_does(tmp_path: Path) -> None:
    base = tmp_path / "base"
    for name in ("socket", "file"):
        path = tmp_path / name
        home = create(base)
        home.write_record(Record(home.id, "upstream", 1, outside=str(path)))
        home.release()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))

    assert len(sweep(base)) == 2
    assert names(tmp_path) == ["base", "file"]
