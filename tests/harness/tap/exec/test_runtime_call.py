"""The runtime's command line, and what is recorded of a call."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.exec.machinefiles import FILE_LIMIT, absolute, read_file, read_json, size_of
from sixhops.harness.tap.exec.protocol import Descriptor, Ended, Started
from sixhops.harness.tap.exec.runtimecall import RuntimeCall, parse
from sixhops.harness.tap.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "command", "identifier", "arguments", "flags"),
    [
        (
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p c1",
            "create",
            "c1",
            [],
            "bundle pid-file",
        ),
        ("create -b /b c1", "create", "c1", [], "bundle"),
        ("--debug kill c1 15", "kill", "c1", ["15"], ""),
        ("kill --all c1 KILL", "kill", "c1", ["KILL"], "all"),
        ("delete --force c1", "delete", "c1", [], "force"),
        ("delete c1 --force", "delete", "c1", [], "force"),
        (
            "exec --process /p -d --console-socket /s --pid-file /f c1",
            "exec",
            "c1",
            [],
            "process detach console-socket pid-file",
        ),
        ("exec -t -e A=1 -u 1:2 c1 ls -l --all", "exec", "c1", ["ls", "-l", "--all"], "tty env user"),
        ("update --resources - c1", "update", "c1", [], "resources"),
        ("ps --format json c1", "ps", "c1", [], "format"),
        ("ps --format=json c1 -o pid", "ps", "c1", ["pid"], "format o"),
        ("list", "list", "", [], ""),
        ("--version", "--version", "", [], ""),
        ("-v", "-v", "", [], ""),
        ("--root", "--root", "", [], ""),
        ("", "", "", [], ""),
        ("kill -- c1 9", "kill", "c1", ["9"], ""),
        ("state", "state", "", [], ""),
        ("unheard --of thing", "unheard", "", ["thing"], "of"),
    ],
)
def test_command_lines(line: str, command: str, identifier: str, arguments: list[str], flags: str) -> None:
    found = parse(line.split())
    assert (found.command, found.id, found.arguments) == (command, identifier, arguments)
    assert sorted(found.flags) == sorted(flags.split())


def test_global_flags() -> None:
    found = parse(["--root=/r", "--log", "/l", "--systemd-cgroup", "--criu", "/c", "state", "c"])
    assert found.global_flags == {"root": "/r", "log": "/l", "systemd-cgroup": True, "criu": "/c"}
    assert found.value("bundle") is None


class Machine:
    """A directory that is a machine's file system, and a call in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recorder = Recorder()
        (root / "b").mkdir()

    def begin(self, line: str, cwd: str = "/b") -> RuntimeCall:
        null = Descriptor(0, "character", "/dev/null")
        started = Started("runc", ["runc", *line.split()], {"A": "1"}, cwd, 5, 4, {0: null})
        return RuntimeCall(self.recorder, started, self.root)

    def fields(self) -> dict[str, Any]:
        (message,) = self.recorder.since(0)
        assert message.hop == Hop.RUNTIME
        return dict(message.fields)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_create(machine: Machine) -> None:
    (machine.root / "b/config.json").write_text('{"ociVersion": "1.0"}')
    (machine.root / "b/log.json").write_text('{"msg": "before"}\n')
    call = machine.begin(
        "--root /r --log /b/log.json create --bundle /b --pid-file init.pid --console-socket /s c1"
    )
    assert machine.recorder.since(0) == []
    (machine.root / "b/config.json").unlink()
    with (machine.root / "b/log.json").open("a") as log:
        log.write('{"msg": "during"}\nnot json\n\n')
    (machine.root / "b/init.pid").write_text("17")
    call.end(Ended(0, 0.5))

    assert machine.recorder.since(0)[0].summary == "create -> 0"
    fields = machine.fields()
    assert fields["config"] == {"ociVersion": "1.0"}
    assert fields["log"] == [{"msg": "during"}, "not json"]
    assert (fields["command"], fields["id"], fields["bundle"], fields["root"]) == ("create", "c1", "/b", "/r")
    assert (fields["pid_file"], fields["pid"], fields["console_socket"]) == ("init.pid", 17, "/s")
    assert (fields["exit"], fields["duration"], fields["complete"]) == (0, 0.5, True)
    assert (fields["stdin"], fields["stdout"], fields["stderr"]) == ("null", "closed", "closed")
    assert (fields["argv"][0], fields["env"], fields["cwd"]) == ("runc", {"A": "1"}, "/b")


def test_the_bundle_is_the_directory_unless_it_is_said(machine: Machine) -> None:
    (machine.root / "b/config.json").write_text("broken")
    machine.begin("create c1").end(Ended(1, 0.0))
    assert machine.recorder.since(0)[0].summary == "create -> 1"
    assert machine.fields()["bundle"] == "/b"
    assert machine.fields()["config"] == "broken"


def test_what_exec_and_update_are_given(machine: Machine) -> None:
    (machine.root / "p.json").write_text('{"args": ["ls"]}')
    machine.begin("exec --detach --process /p.json c1").end(Ended(-9, 0.0))
    machine.begin("update --resources /none c1").end(Ended(0, 0.0))
    machine.begin("update --resources - c1").end(Ended(0, 0.0))
    first, second, third = machine.recorder.since(0)
    assert first.summary == "exec -> -9"
    assert first.fields["process"] == {"args": ["ls"]}
    assert second.fields["resources"] is None
    assert "resources" not in third.fields


@pytest.mark.parametrize(
    ("line", "lasts"), [("exec c1 sh", True), ("exec -d c1 sh", False), ("run c1", True), ("events c1", True)]
)
def test_calls_that_last_are_seen_meanwhile(machine: Machine, line: str, lasts: bool) -> None:
    call = machine.begin(line)
    command = line.split()[0]
    assert [message.summary for message in machine.recorder.since(0)] == (
        [f"{command} -> ..."] if lasts else []
    )
    call.vanish("it was killed")
    assert [message.summary for message in machine.recorder.since(0)] == [f"{command} -> no answer"]
    assert machine.fields()["error"] == "it was killed"


def test_a_line_without_a_command(machine: Machine) -> None:
    machine.begin("--version").end(Ended(0, 0.0))
    machine.begin("").end(Ended(1, 0.0))
    assert [message.summary for message in machine.recorder.since(0)] == ["--version -> 0", "? -> 1"]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_bytes(b"abcdef")
    for name in ("/fifo", "/dir", "/none", "/file/below"):
        assert read_file(tmp_path, name) is None
        assert size_of(tmp_path, name) == 0
    assert read_file(tmp_path, "/file", 4) == b"ef"
    assert size_of(tmp_path, "/file") == 6
    with (tmp_path / "large").open("wb") as large:
        large.truncate(FILE_LIMIT + 1)
    assert len(read_file(tmp_path, "/large") or b"") == FILE_LIMIT


def test_no_link_leads_out_of_the_machine(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("outside")
    (root / "inside").write_text("inside")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("../secret")
    (root / "in").symlink_to("/inside")
    assert read_file(root, "/out") is None
    assert read_file(root, "/up") is None
    assert read_file(root, "/../secret") is None
    assert read_file(root, "/in") == b"inside"


def test_paths_are_those_of_the_machine() -> None:
    assert absolute("/b", "x/y") == "/b/x/y"
    assert absolute("/b", "/x") == "/x"
    assert absolute("", "x") == "/x"


def test_documents() -> None:
    assert read_json(None) is None
    assert read_json(b'{"a": 1}') == {"a": 1}
    assert read_json(b"\xff{") == "\ufffd{"
    assert isinstance(read_json(b"[" * 100_000), str)
    assert json.dumps(read_json(b"1")) == "1"
