"""`docker`, `processes` and `file` steps; the client under test is a shell here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_engine import FakeHost, FakeTarget, facts

from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.scenario.model import Hop
from sixhops.harness.target import Address, FileFacts

Run = Callable[[str], ScenarioRun]


@pytest.fixture
def client(target: FakeTarget, tmp_path: Path) -> FakeTarget:
    """A docker client that runs its last argument as a shell script."""
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\nfor script; do :; done\neval "$script"\n')
    program.chmod(0o755)
    target.docker = [str(program)]
    target.tap = Address("unix:///tap.sock", unix=Path("/tap.sock"))
    return target


def only(result: ScenarioRun) -> dict[str, object]:
    assert result.exchanges[0].error is None
    return result.exchanges[0].facets


def test_a_command_has_exit_code_and_both_outputs(client: FakeTarget, run: Run) -> None:
    facets = only(run("steps:\n  - docker: [run, 'echo out; echo err >&2; exit 3']"))

    assert facets == {"exit": 3, "stdout": "out\n", "stderr": "err\n"}


def test_the_environment_is_ours_and_the_steps(
    client: FakeTarget, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "somebody-elses")

    facets = only(run("steps:\n  - {docker: [x, env], env: {MINE: '1', LANG: null}}"))

    variables = dict(line.split("=", 1) for line in str(facets["stdout"]).splitlines())
    assert variables["DOCKER_HOST"] == "unix:///tap.sock"
    assert variables["MINE"] == "1"
    assert not {"DOCKER_CONTEXT", "LANG"} & variables.keys()
    assert variables["DOCKER_CONFIG"].startswith(variables["HOME"])


def test_stdin_is_written_and_closed(client: FakeTarget, run: Run) -> None:
    facets = only(run("steps:\n  - {docker: [x, wc -c], stdin: {text: abcd, repeat: 100000}}"))

    assert str(facets["stdout"]).strip() == "400000"


def test_a_program_that_does_not_read_its_stdin_is_no_failure(client: FakeTarget, run: Run) -> None:
    facets = only(run("steps:\n  - {docker: [x, exit 5], stdin: {text: abcd, repeat: 100000}}"))

    assert facets["exit"] == 5


def test_no_stdin_is_an_empty_one(client: FakeTarget, run: Run) -> None:
    assert only(run("steps:\n  - docker: [x, cat; echo end]"))["stdout"] == "end\n"


@pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid of util-linux, which is not on PATH")
def test_a_terminal_has_its_size_and_one_output(client: FakeTarget, run: Run) -> None:
    facets = only(
        run(
            "steps:\n  - {docker: [x, 'stty size; tty >/dev/null && echo yes >/dev/tty'], tty: {rows: 33, columns: 111}}"
        )
    )

    assert facets == {"exit": 0, "output": "33 111\r\nyes\r\n"}


def test_a_program_without_an_end_is_killed_with_its_children(client: FakeTarget, run: Run) -> None:
    result = run("steps:\n  - {docker: [x, 'echo begun; sleep 1000 & wait'], timeout: 0.2s}")

    assert "did not end within the step's time and was killed" in str(result.exchanges[0].error)
    assert result.exchanges[0].facets == {"exit": -9, "stdout": "begun\n", "stderr": ""}


def test_a_program_that_does_not_exist_is_an_error(target: FakeTarget, run: Run) -> None:
    target.docker, target.tap = ["/nonexistent/docker"], Address("unix:///x", unix=Path("/x"))

    assert run("steps:\n  - docker: version").exchanges[0].error == (
        "can't start /nonexistent/docker: No such file or directory"
    )


def test_a_target_without_a_client_says_so(run: Run) -> None:
    assert run("steps:\n  - docker: version").exchanges[0].error == "the target fake has no docker client"


def test_a_background_command_is_written_to_and_joined(client: FakeTarget, run: Run) -> None:
    result = run(
        "steps:\n  - {background: cat, docker: [x, 'echo ready; cat']}\n"
        '  - {await: cat, expect: {stdout: "ready\\n"}}\n'
        '  - {send: {to: cat, text: "more\\n"}}\n'
        "  - close_stdin: cat\n"
        '  - {join: cat, expect: {exit: 0, stdout: "ready\\nmore\\n"}}'
    )

    assert [failure.problem for failure in result.verdict.mismatches] == []


def test_processes_are_those_that_the_selection_accepts(target: FakeTarget, run: Run) -> None:
    target.host = FakeHost()
    process = {
        "pid": 7,
        "ppid": 1,
        "start": 1,
        "comm": "sleep",
        "state": "S",
        "argv": ["sleep", "9"],
        "cgroup": {},
    }
    target.host.table = [process, {**process, "pid": 8, "comm": "sh"}]

    facets = only(run("steps:\n  - {processes: {comm: !re '^sl', pid: 7}}"))

    assert facets == {"processes": [process]}


def test_a_host_that_can_not_be_seen_is_the_reason(target: FakeTarget, run: Run) -> None:
    target.facts = facts(hops={**dict.fromkeys(Hop), Hop.PROCESS: "the endpoint is remote"})

    result = run("steps:\n  - {processes: {comm: runc}}")

    assert result.exchanges[0].error == "the target fake: the endpoint is remote"
    assert result.exchanges[0].unobserved == {"process": "the endpoint is remote"}


FILES = {
    "absent": (FileFacts(exists=False), {"exists": False}),
    "a link": (
        FileFacts(True, "link", 0o777, 0, 0, 3, "abc"),
        {"exists": True, "type": "link", "mode": 0o777, "uid": 0, "gid": 0, "size": 3, "target": "abc"},
    ),
    "JSON": (
        FileFacts(True, "file", 0o644, 1, 2, 8, "", b'{"a": 1}'),
        {
            "exists": True,
            "type": "file",
            "mode": 0o644,
            "uid": 1,
            "gid": 2,
            "size": 8,
            "text": '{"a": 1}',
            "json": {"a": 1},
            "lines": [{"a": 1}],
        },
    ),
    "JSON lines": (
        FileFacts(True, "file", 0o640, 0, 0, 9, "", b'{"a":1}\n2\n'),
        {
            "exists": True,
            "type": "file",
            "mode": 0o640,
            "uid": 0,
            "gid": 0,
            "size": 9,
            "text": '{"a":1}\n2\n',
            "lines": [{"a": 1}, 2],
        },
    ),
    "text": (
        FileFacts(True, "file", 0o600, 0, 0, 2, "", b"hi"),
        {"exists": True, "type": "file", "mode": 0o600, "uid": 0, "gid": 0, "size": 2, "text": "hi"},
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_becomes_facets(target: FakeTarget, run: Run, name: str) -> None:
    there, wanted = FILES[name]
    target.host = FakeHost()
    target.host.files["/x"] = there

    assert only(run("steps:\n  - file: /x")) == wanted
