"""Directories that are renamed at once and emptied later."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd import removal
from sixhops.dockerd.removal import Removals

if TYPE_CHECKING:
    from pathlib import Path


def test_name_is_free_at_once_and_content_goes_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "one"
    (directory / "inner").mkdir(parents=True)
    may_go = threading.Event()
    remove = removal._remove

    def wait(path: Path) -> None:
        may_go.wait(10)
        remove(path)

    monkeypatch.setattr(removal, "_remove", wait)
    removals = Removals()
    removals.take(directory)
    assert [path.name for path in tmp_path.iterdir()] == [".removed-one"]
    directory.mkdir()
    may_go.set()
    removals.close()
    assert list(tmp_path.iterdir()) == [directory]


def test_what_cannot_be_renamed_is_the_callers_fault(tmp_path: Path) -> None:
    removals = Removals()
    with pytest.raises(FileNotFoundError):
        removals.take(tmp_path / "missing")
    removals.close()


def test_what_does_not_go_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").mkdir()

    def refuse(_path: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(removal.shutil, "rmtree", refuse)
    removals = Removals()
    with caplog.at_level(logging.ERROR):
        removals.take(tmp_path / "one")
        removals.close()
    assert "Operation not permitted" in caplog.text
