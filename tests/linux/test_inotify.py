"""Waiting for files by inotify."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING

import pytest

from sixhops.linux.inotify import DirectoryWatch

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_news_once(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        assert watch.drain() is False
        (tmp_path / "x").touch()
        (tmp_path / "y").touch()

        assert select.select([watch.fileno()], [], [], 5)[0]
        assert watch.drain() is True
        assert watch.drain() is False


def test_a_file_moved_in_is_news(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x").touch()
    with DirectoryWatch(tmp_path / "in") as watch:
        (tmp_path / "x").rename(tmp_path / "in" / "x")

        assert watch.drain() is True


def test_writing_is_no_news(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "x").write_text("more")

        assert watch.drain() is False


def test_a_waiter_is_woken_by_another_thread(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        maker = threading.Timer(0.01, (tmp_path / "x").touch)
        maker.start()

        assert select.select([watch.fileno()], [], [], 5)[0]
        maker.join()


@pytest.mark.parametrize(("name", "error"), [("none", FileNotFoundError), ("file", NotADirectoryError)])
def test_what_is_no_directory_cannot_be_watched(tmp_path: Path, name: str, error: type[OSError]) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(error, match=str(tmp_path)):
        DirectoryWatch(tmp_path / name)


def test_close_twice(tmp_path: Path) -> None:
    watch = DirectoryWatch(tmp_path)
    watch.close()
    watch.close()

    assert watch.fileno() == -1
