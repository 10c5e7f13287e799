"""SIGHUP: what a reload changes, what it leaves alone, and the event that tells of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.events import Events
from sixhops.dockerd.options import parse
from sixhops.dockerd.reload import Reloader

if TYPE_CHECKING:
    from pathlib import Path


class Subject:
    """A reloader, the file that it reads, and what it reaches."""

    def __init__(self, file: Path, *flags: str) -> None:
        self.file = file
        self.events = Events()
        arguments = ["--config-file", str(file), *flags]
        self.options = parse(arguments)
        self.root = file.parent
        self.containers: Any = SimpleNamespace(data_root=self.root)
        self.system: Any = SimpleNamespace()
        self.limits: list[int] = []
        self.puller: Any = SimpleNamespace(settings=SimpleNamespace(), limit=self.limits.append)
        self.uploads: list[int] = []
        pusher: Any = SimpleNamespace(limit=self.uploads.append)
        self.reloader = Reloader(
            arguments, self.options, self.containers, self.system, self.puller, pusher, self.events, "ID"
        )

    def reload(self, document: object) -> dict[str, str]:
        """Write the file, reload; return the attributes of the event, {} for none."""
        self.file.write_text(document if isinstance(document, str) else json.dumps(document))
        before = len(self.events.past())
        self.reloader.reload()
        found = self.events.past()[before:]
        return dict(found[0].attributes) if found else {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    return path


def test_everything_that_can_change(file: Path) -> None:
    subject = Subject(file)
    told = subject.reload(
        {
            "labels": ["a=b"],
            "live-restore": True,
            "registry-mirrors": ["http://127.0.0.1:1"],
            "insecure-registries": ["127.0.0.1:2"],
            "max-concurrent-downloads": 7,
            "shutdown-timeout": 9,
            "runtimes": {"x": {"path": "/y"}},
            "default-runtime": "x",
        }
    )

    assert (subject.system.labels, subject.system.live_restore) == (["a=b"], True)
    assert subject.puller.settings.mirrors == ("http://127.0.0.1:1",)
    assert subject.puller.settings.insecure == ("127.0.0.1:2",)
    assert subject.limits == [7]
    assert subject.options.shutdown_timeout == 9
    assert subject.containers.runtimes.get("").binary == "/y"
    assert told["labels"] == '["a=b"]'
    assert told["registry-mirrors"] == '["http://127.0.0.1:1/"]'
    assert told["runtimes"] == "runc:runc x:/y"
    assert (told["default-runtime"], told["max-concurrent-downloads"], told["shutdown-timeout"]) == (
        "x",
        "7",
        "9",
    )


def test_the_event_tells_what_is(file: Path) -> None:
    told = Subject(file).reload(
        {
            "default-ipc-mode": "shareable",
            "default-cgroupns-mode": "private",
            "default-shm-size": "1G",
            "features": {"x": False, "buildkit": True},
            "allow-nondistributable-artifacts": ["a.b"],
            "max-concurrent-uploads": 7,
            "max-download-attempts": 9,
        }
    )

    # dockerd 20.10.24 tells the same of the same file
    assert {
        "default-ipc-mode": "shareable",
        "default-cgroupns-mode": "private",
        "default-shm-size": "1073741824",
        "features": "map[buildkit:true x:false]",
        "allow-nondistributable-artifacts": '["a.b"]',
        "max-concurrent-uploads": "7",
        "max-download-attempts": "9",
    }.items() <= told.items()


def test_new_containers_get_the_new_defaults(file: Path) -> None:
    subject = Subject(file)
    subject.reload(
        {"default-ipc-mode": "shareable", "default-cgroupns-mode": "private", "default-shm-size": "1G"}
    )

    settings = subject.containers
    assert (settings.ipc_mode, settings.cgroup_namespace, settings.shm_size) == (
        "shareable",
        "private",
        1 << 30,
    )


def test_a_runtime_with_arguments_is_a_script(file: Path) -> None:
    subject = Subject(file)
    subject.reload({"runtimes": {"x": {"path": "/y", "runtimeArgs": ["--debug", "a b"]}}})

    script = subject.root / "runtimes" / "x"
    assert subject.containers.runtimes.get("x").binary == str(script)
    assert script.read_text() == "#!/bin/sh\n/y --debug a b $@\n"
    assert script.stat().st_mode & 0o777 == 0o700


def test_what_the_file_no_longer_says_stays_but_for_numbers_and_features(file: Path) -> None:
    subject = Subject(file)
    subject.reload({"labels": ["a=b"], "max-concurrent-downloads": 7, "features": {"x": True}})
    told = subject.reload({})

    assert subject.system.labels == ["a=b"]
    assert (told["labels"], told["max-concurrent-downloads"]) == ('["a=b"]', "3")
    assert (told["max-concurrent-uploads"], told["features"]) == ("5", "map[]")
    assert (subject.limits, subject.uploads) == ([7, 3], [5, 5])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "unexpected EOF"),
        ({"nosuch": 1}, "the following directives don't match any configuration option: nosuch"),
        ({"labels": ["a"]}, "bad attribute format: a"),
        ({"mtu": 1400}, "mtu: (from flag: 1300, from file: 1400)"),
    ],
)
def test_file_that_can_not_be_followed_changes_nothing(
    file: Path, document: object, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject(file, "--mtu", "1300")

    assert subject.reload(document) == {}
    assert message in caplog.text
    assert subject.limits == []
