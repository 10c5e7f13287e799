"""What is kept of the suite: found again only where all that it was made of is as it was."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sixhops
from sixhops.harness.plugin import kept, library
from sixhops.harness.plugin.kept import Pack, forget, key_of
from sixhops.harness.plugin.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Inner
    from sixhops.harness.scenario.model import Scenario

    Read = Callable[[], tuple[list[Scenario], list[str], list[str]]]

COUNT = 50
SCENARIO = """\
title: number {number}
refs: [r/one]
images: [box]
steps:
  - request: GET /_ping
    expect: {{status: 200}}
"""
REQUIREMENTS = """\
prefix: r
hop: engine
source: a test
version: "1"
requirements:
  one: {level: must, text: it answers}
"""
PROFILE = """\
engine: "20.10"
differences:
  - {scenario: engine/s01, facet: status, reason: it does}
"""
ACCEPTED = """\
varies:
  - {scenario: engine/s02, reason: it does}
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXHOPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path, cache: Path) -> Path:
    """A suite that is just large enough to be kept."""
    root = tmp_path / "scenarios"
    for name in ("engine", "images", "requirements", "engines", "diff"):
        (root / name).mkdir(parents=True)
    for number in range(COUNT):
        (root / "engine" / f"s{number:02}.yaml").write_text(SCENARIO.format(number=number))
    (root / "images" / "box.yaml").write_text("tags: [box]\n")
    (root / "requirements" / "r.yaml").write_text(REQUIREMENTS)
    (root / "engines" / "e.yaml").write_text(PROFILE)
    (root / "diff" / "d.yaml").write_text(ACCEPTED)
    return root


@pytest.fixture
def read(root: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Return what reads the suite: its scenarios, its errors, and the files that were read and not found in the pack."""
    names: list[str] = []
    load_file = library.load_file

    def noting(path: Path, *arguments: object, **options: object) -> list[Scenario]:
        names.append(path.stem)
        return load_file(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(library, "load_file", noting)

    def reading() -> tuple[list[Scenario], list[str], list[str]]:
        names.clear()
        suite = Library(root)
        scenarios = suite.everything()
        return scenarios, [str(error) for error in suite.errors], list(names)

    return reading


def test_what_was_read_once_is_found_as_it_was(read: Read, cache: Path) -> None:
    first, errors, names = read()
    assert (len(first), errors, len(names)) == (COUNT, [], COUNT)

    again, errors, names = read()

    assert (errors, names) == ([], [])
    assert again == first
    assert len(list((cache / "suite").iterdir())) == 1


def test_an_edited_file_is_read_and_only_that_one(read: Read, root: Path) -> None:
    read()
    path = root / "engine/s07.yaml"
    before = path.stat()
    path.write_text(path.read_text().replace("number 7", "number 8"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    scenarios, errors, names = read()

    assert (errors, names) == ([], ["s07"])
    assert scenarios[7].title == "number 8"


def test_a_mistake_names_its_place_every_time(read: Read, root: Path) -> None:
    read()
    path = root / "engine/s07.yaml"
    path.write_text(path.read_text().replace("status: 200", "statu: 200"))

    for _ in range(2):
        scenarios, errors, names = read()

        assert names == ["s07"]
        assert len(scenarios) == COUNT - 1
        assert [line.startswith(f"{path}:6:") for line in errors] == [True]


def test_a_renamed_file_has_its_new_name(read: Read, root: Path) -> None:
    read()
    (root / "engine/s49.yaml").rename(root / "engine/z.yaml")

    scenarios, _, names = read()

    assert names == ["z"]
    assert (scenarios[-1].id, scenarios[-1].mark.path) == ("engine/z", str(root / "engine/z.yaml"))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("requirements/r.yaml", "one:", "two:", "refs: unknown requirement 'r/one'"),
        ("engines/e.yaml", "engine/s01", "engine/none", "no scenario is called 'engine/none'"),
        ("diff/d.yaml", "engine/s02", "engine/none", "no scenario is called 'engine/none'"),
        ("requirements/r.yaml", "level: must", "level: never", "level must be one of"),
    ],
)
def test_what_scenarios_are_held_against_counts(
    read: Read, root: Path, file: str, old: str, new: str, message: str
) -> None:
    read()
    path = root / file
    path.write_text(path.read_text().replace(old, new))

    for _ in range(2):
        _, errors, _ = read()

        assert message in "\n".join(errors)


def test_a_recipe_that_has_gone_is_missed(read: Read, root: Path) -> None:
    read()
    (root / "images/box.yaml").unlink()

    _, errors, names = read()

    assert len(names) == COUNT
    assert "there is no recipe images/box.yaml" in errors[0]


def test_a_file_that_speaks_of_another_is_read_every_time(read: Read, root: Path) -> None:
    body = root / "engine/body.txt"
    body.write_text("x")
    (root / "engine/t.yaml").write_text(
        "title: with a body\nsteps:\n  - request: POST /x\n    body: {file: body.txt}\n    expect: {status: 200}\n"
    )
    read()

    _, errors, names = read()
    assert (errors, names) == ([], ["t"])
    body.unlink()
    _, errors, _ = read()

    assert "there is no file body.txt beside the scenario" in errors[0]


def test_a_suite_with_mistakes_is_not_kept(read: Read, root: Path, cache: Path) -> None:
    (root / "engine/s07.yaml").write_text("title: nothing is done\n")

    read()

    assert not (cache / "suite").exists()


def test_a_small_suite_is_not_kept(read: Read, root: Path, cache: Path) -> None:
    (root / "engine/s00.yaml").unlink()

    read()

    assert not (cache / "suite").exists()


def damage_flip(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


@pytest.mark.parametrize(
    "damage",
    [damage_flip, lambda data: data[:-1], lambda _: b"", lambda _: pickle.dumps({b"": b""})],
    ids=["flipped", "cut", "empty", "without digest"],
)
def test_a_damaged_pack_is_none_and_is_made_again(
    read: Read, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    first, _, _ = read()
    (pack,) = (cache / "suite").iterdir()
    good = pack.read_bytes()
    pack.write_bytes(damage(good))

    scenarios, errors, names = read()

    assert (scenarios == first, errors, len(names)) == (True, [], COUNT)
    assert read()[2] == []


def test_a_pack_that_others_can_write_is_none(read: Read, cache: Path) -> None:
    read()
    (pack,) = (cache / "suite").iterdir()
    pack.chmod(0o666)

    assert len(read()[2]) == COUNT
    assert read()[2] == []


def test_other_code_has_a_pack_of_its_own(read: Read, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read()

    monkeypatch.setattr(kept, "code_version", lambda: "other")

    assert len(read()[2]) == COUNT
    assert (cache / "suite/other.pack").is_file()
    assert read()[2] == []


def test_only_the_newest_packs_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        monkeypatch.setattr(kept, "code_version", lambda number=number: f"v{number:02}")
        pack = Pack()
        pack.put(key_of("a"), number)
        pack.write()
        os.utime(cache / f"suite/v{number:02}.pack", (number, number))

    assert sorted(path.stem for path in (cache / "suite").iterdir()) == [f"v{n:02}" for n in range(4, 12)]


def test_entries_that_nobody_needs_are_dropped_in_the_end(cache: Path) -> None:
    for round_ in range(4):
        pack = Pack()
        assert pack.get(key_of("always")) == (None if round_ == 0 else "here")
        pack.put(key_of("always"), "here")
        for number in range(600):
            pack.put(key_of(str(round_), str(number)), number)
        pack.write()

    assert len(pickle.loads(next((cache / "suite").iterdir()).read_bytes()[16:])) <= 1601
    assert Pack().get(key_of("always")) == "here"


def test_the_code_version_changes_with_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("a = 1\n")
    two.write_text("b = 1\n")
    monkeypatch.setattr(kept, "sources", lambda: [one, two])
    version = kept.code_version.__wrapped__
    before = version()
    assert version() == before

    two.write_text("b = 2\n")

    assert version() != before


def test_all_code_that_reads_the_suite_counts(root: Path) -> None:
    """So that no module of ours can change what is read without the version of the code changing."""
    (root / "engine/grpc.yaml").write_text(
        "title: a call\nsteps:\n  - grpc: Version/Version\n    expect: {status: OK}\n"
    )
    script = (
        "import sys\nfrom pathlib import Path\nfrom sixhops.harness.plugin.library import Library\n"
        f"library = Library(Path({str(root)!r}))\nlibrary.everything()\nassert not library.errors, library.errors\n"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.startswith('sixhops')), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    known = {str(path.resolve()) for path in kept.sources()}
    loaded = [str(Path(line).resolve()) for line in done.stdout.splitlines()]

    assert len(loaded) > 30
    assert any(line.endswith("_pb2.py") for line in loaded)
    assert [line for line in loaded if line not in known] == []


def test_where_nothing_can_be_written_nothing_is_kept(read: Read, cache: Path) -> None:
    cache.write_text("a file where the folder should be")

    assert read()[1] == []
    scenarios, errors, names = read()

    assert (len(scenarios), errors, len(names)) == (COUNT, [], COUNT)


def test_a_folder_of_others_is_left_alone(root: Path, cache: Path) -> None:
    """Read-only to whom it does not belong to."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    cache.mkdir(mode=0o755)
    for path in (root, *root.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    script = (
        "import os\nfrom pathlib import Path\nfrom sixhops.harness.plugin.library import Library\n"
        f"library = Library(Path({str(root)!r}))\nos.setuid(65534)\n"
        "print(len(library.everything()), library.errors)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == (f"{COUNT} []\n", "")
    assert list(cache.iterdir()) == []


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def unreadable() -> str:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(("name", "instead"), [("cache_folder", no_home), ("code_version", unreadable)])
def test_without_a_place_or_a_version_nothing_is_kept(
    read: Read, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, instead: Callable[[], object]
) -> None:
    monkeypatch.setattr(kept, name, instead)

    for _ in range(2):
        scenarios, errors, names = read()

        assert (len(scenarios), errors, len(names)) == (COUNT, [], COUNT)
    forget()
    assert not cache.exists()


def test_many_writers_leave_one_whole_pack(root: Path, cache: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom sixhops.harness.plugin.library import Library\n"
        "sys.stdin.read()\n"
        f"library = Library(Path({str(root)!r}))\nprint(len(library.everything()), library.errors)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None

    assert [process.communicate(timeout=60)[0] for process in started] == [f"{COUNT} []\n"] * 6
    (pack,) = (cache / "suite").iterdir()
    assert len(kept._read(pack)) == COUNT + 1


def test_forget_removes_packs(read: Read, cache: Path) -> None:
    read()
    (cache / "blobs").mkdir()

    forget()

    assert list((cache / "suite").iterdir()) == []
    assert (cache / "blobs").is_dir()
    (cache / "suite").rmdir()
    forget()


def test_cache_clear_forgets_what_was_kept(inner: Inner, read: Read, cache: Path) -> None:
    read()
    inner.scenario("engine/a")

    result = inner.run("conformance", "--cache-clear", "-o", "addopts=-p no:anyio")

    result.assert_outcomes(passed=1)
    assert list((cache / "suite").iterdir()) == []


def test_the_package_is_where_it_is_looked_for() -> None:
    package = Path(next(iter(sixhops.__path__)))

    assert package / "harness/scenario/load.py" in list(kept.sources())
