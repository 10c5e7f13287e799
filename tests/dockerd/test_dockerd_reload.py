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
        self.containers: Any = SimpleNamespace(runtimes=None, live_restore=False, shm_size=64 << 20)
        self.system: Any = SimpleNamespace()
        self.limits: list[int] = []
        self.puller: Any = SimpleNamespace(settings=SimpleNamespace(), limit=self.limits.append)
        self.reloader = Reloader(
            arguments, self.options, self.containers, self.system, self.puller, self.events, "ID"
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
    assert told["runtimes"] == "io.containerd.runc.v2:runc runc:runc x:/y"
    assert (told["default-runtime"], told["max-concurrent-downloads"], told["shutdown-timeout"]) == (
        "x",
        "7",
        "9",
    )


def test_what_the_file_no_longer_says_stays_but_for_the_downloads(file: Path) -> None:
    subject = Subject(file)
    subject.reload({"labels": ["a=b"], "max-concurrent-downloads": 7})
    told = subject.reload({})

    assert subject.system.labels == ["a=b"]
    assert (told["labels"], told["max-concurrent-downloads"]) == ('["a=b"]', "3")


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
