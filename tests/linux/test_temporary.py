import os
from pathlib import Path

import pytest

from sixhops.linux.temporary import make_directory, make_file, remove_tree


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_directory_is_new_and_ours_alone(place: Path) -> None:
    made = [Path(make_directory("pty")) for _ in range(2)]

    assert len(set(made)) == 2
    for path in made:
        assert (path.parent, path.name.startswith("pty"), path.stat().st_mode & 0o777) == (place, True, 0o700)


def test_a_file_is_new_and_ours_alone(place: Path) -> None:
    descriptor, name = make_file("process")
    os.write(descriptor, b"text")

    assert (Path(name).parent, Path(name).read_text()) == (place, "text")
    assert Path(name).stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("make", [make_directory, make_file])
def test_a_name_that_is_taken_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    words = [b"\x01" * 8, b"\x02" * 8]
    (place / f"x{words[0].hex()}").symlink_to("/dev/null")
    monkeypatch.setattr(os, "urandom", lambda _size: words.pop(0))

    made = make("x")  # type: ignore[operator]
    if isinstance(made, tuple):
        os.close(made[0])
        made = made[1]
    assert Path(made).name == "x" + "02" * 8


def test_a_tree_goes_and_what_its_links_lead_to_stays(place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    tree = Path(make_directory("tree"))
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_text("")
    (tree / "a" / "link").symlink_to(kept)
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")

    remove_tree(str(tree))

    assert [path.name for path in place.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_what_is_not_there_is_an_error(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(str(place / "missing"))
