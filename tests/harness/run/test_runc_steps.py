"""`runc` and `bundle` steps; the runtime is a shell script here, and the machine is this one."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.run.specification import default_specification, merged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_machine import FakeMachine

    from sixhops.harness.run.result import ScenarioRun

    Run = Callable[[str], ScenarioRun]

#: Sends a terminal over the console socket in $1 and writes on it what stands in $2; what came is answered.
_SEND_TERMINAL = r"""
import array, os, socket, sys, threading
leader, follower = os.openpty()
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendmsg([b"/dev/pts/0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [leader]))])
os.close(leader)
if os.fork() == 0:
    os.setsid()
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    os.write(follower, sys.argv[2].encode())
    os.write(follower, b"got " + os.read(follower, 100))
    os._exit(0)
"""


def only(result: ScenarioRun, at: int = 0) -> dict[str, Any]:
    assert result.verdict.mismatches == ()
    return dict(result.exchanges[at].facets)


def test_exit_outputs_json_and_log(machine: FakeMachine, run: Run) -> None:
    machine.runc(
        r'''echo '{"level": "error", "msg": "no"}' >> "$4"; echo plain >> "$4"'''
        "\necho '{\"a\": 1}'; echo err >&2; exit 3"
    )

    facets = only(run("steps:\n  - runc: state x"))

    assert facets == {
        "exit": 3,
        "stdout": '{"a": 1}\n',
        "stderr": "err\n",
        "json": {"a": 1},
        "lines": [{"a": 1}],
        "log": [{"level": "error", "msg": "no"}, "plain"],
    }


def test_root_and_log_are_given_before_the_command(machine: FakeMachine, run: Run) -> None:
    machine.runc('for word; do echo "$word"; done')

    words = only(run("steps:\n  - runc: --debug exec --root x c echo"))["stdout"].splitlines()

    assert words[0] == "--debug"
    assert words[1] == "--root"
    assert words[2].startswith(str(machine.directory))
    assert words[3] == "--log"
    assert words[5:] == ["--log-format", "json", "exec", "--root", "x", "c", "echo"]


@pytest.mark.parametrize("option", ["--root /r --log /l", "--root=/r --log=/l"])
def test_an_authors_own_root_and_log_stay(machine: FakeMachine, run: Run, option: str) -> None:
    machine.runc('for word; do echo "$word"; done')

    facets = only(run(f"steps:\n  - runc: {option} list"))

    assert facets["stdout"].split() == ["--root", "/r", "--log", "/l", "list"]
    assert "log" not in facets


def test_each_call_has_a_log_of_its_own(machine: FakeMachine, run: Run) -> None:
    machine.runc('echo "{\\"n\\": 1}" >> "$4"')

    result = run("steps:\n  - runc: list\n  - runc: list")

    assert [exchange.facets["log"] for exchange in result.exchanges] == [[{"n": 1}], [{"n": 1}]]


def test_environment_and_directory(machine: FakeMachine, run: Run, tmp_path: Path) -> None:
    machine.runc('echo "$A $HOME $PWD"')

    facets = only(run(f"steps:\n  - {{runc: list, env: {{A: 5, HOME: null}}, cwd: {tmp_path}}}"))

    assert facets["stdout"] == f"5  {tmp_path}\n"


def test_stdin(machine: FakeMachine, run: Run) -> None:
    machine.runc("wc -c")

    assert only(run("steps:\n  - {runc: run x, stdin: {text: ab, repeat: 1000}}"))["stdout"].strip() == "2000"


def test_a_call_ends_with_the_runtime_and_not_with_its_container(machine: FakeMachine, run: Run) -> None:
    machine.runc("echo first; (sleep 5; echo late) & exit 0")

    facets = only(run("steps:\n  - {runc: create x, timeout: 4s}"))

    assert (facets["exit"], facets["stdout"]) == (0, "first\n")


def test_in_the_background_the_containers_output_is_seen(
    machine: FakeMachine, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "gate").touch()
    machine.runc(
        f"case $7 in create) (while [ -e {tmp_path}/gate ]; do sleep 0.01; done; echo late) & ;; "
        f"start) rm {tmp_path}/gate ;; esac"
    )

    result = run(
        "steps:\n"
        "  - {background: out, runc: create x, expect: {exit: 0}}\n"
        "  - {runc: start x}\n"
        '  - {join: out, expect: {exit: 0, stdout: "late\\n"}}\n'
    )

    assert result.verdict.mismatches == ()


def test_lines_are_seen_as_they_come(machine: FakeMachine, run: Run) -> None:
    machine.runc("echo '{\"n\": 1}'; read x; echo '{\"n\": 2}'")

    result = run(
        "steps:\n"
        "  - {background: e, runc: events x}\n"
        "  - {await: e, expect: {lines: [{n: 1}]}}\n"
        '  - {send: {to: e, text: "go\\n"}}\n'
        "  - {join: e, expect: {lines: [{n: 1}, {n: 2}]}}\n"
    )

    assert result.verdict.mismatches == ()


def test_an_output_that_stays_open_is_an_error(machine: FakeMachine, run: Run) -> None:
    machine.runc("sleep 5 & exit 0")

    result = run("steps:\n  - {background: out, runc: create x, timeout: 300ms}\n  - join: out")

    assert "has ended, but its output was open longer" in str(result.exchanges[1].error)


def test_what_still_runs_can_be_disconnected(machine: FakeMachine, run: Run) -> None:
    machine.runc("sleep 5 & exit 0")

    result = run("steps:\n  - {background: out, runc: create x, expect: {exit: 0}}\n  - disconnect: out")

    assert result.verdict.mismatches == ()
    assert result.duration < 4


def test_descriptors_are_read_and_written(machine: FakeMachine, run: Run) -> None:
    machine.runc("cat <&3; echo back >&4; cat <&5")

    facets = only(run("steps:\n  - {runc: run x, fds: [three, output, {text: ab, repeat: 50000}]}"))

    assert facets["stdout"] == "three" + "ab" * 50000
    assert facets["descriptors"] == [None, "back\n", None]


@pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid of util-linux, which is not on PATH")
def test_a_terminal(machine: FakeMachine, run: Run) -> None:
    machine.runc("stty size")

    facets = only(run("steps:\n  - {runc: run x, tty: {rows: 7, columns: 70}}"))

    assert (facets["exit"], facets["output"]) == (0, "7 70\r\n")


def test_a_console_is_a_background_step(machine: FakeMachine, run: Run, tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(_SEND_TERMINAL)
    machine.runc(f'exec python3 {tmp_path}/send.py "$9" hello')

    result = run(
        "steps:\n"
        "  - {runc: create x, console: term, expect: {exit: 0}}\n"
        "  - {await: term, expect: {output: hello}}\n"
        '  - {send: {to: term, text: "you\\n"}}\n'
        '  - {join: term, expect: {output: "helloyou\\r\\ngot you\\r\\n"}}\n'
    )

    assert result.verdict.mismatches == ()
    assert "--console-socket" in result.exchanges[0].sent["argv"]  # type: ignore[operator]


def test_a_console_that_never_comes_is_an_error(machine: FakeMachine, run: Run) -> None:
    machine.runc("exit 1")

    result = run("steps:\n  - {runc: create x, console: term, expect: {exit: 1}}\n  - join: term")

    assert result.exchanges[1].error == "the runtime has ended and sent no terminal for term"


def test_a_console_can_be_hung_up(machine: FakeMachine, run: Run, tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(_SEND_TERMINAL)
    machine.runc(f'exec python3 {tmp_path}/send.py "$9" hello')

    result = run(
        "steps:\n"
        "  - {runc: create x, console: term}\n"
        "  - {await: term, expect: {output: hello}}\n"
        "  - disconnect: term"
    )

    assert result.verdict.mismatches == ()


def test_containers_that_are_left_are_deleted_and_reported(
    machine: FakeMachine, run: Run, tmp_path: Path
) -> None:
    machine.runc(
        f'case "$*" in *"create "*) mkdir -p "$2/left" "$2/stuck" ;; '
        f'*delete*) echo "$*" >> {tmp_path}/deleted; case "$*" in *stuck) echo no >&2; exit 1; esac; rmdir "$2/left" ;; esac'
    )

    result = run("steps:\n  - runc: create left")

    assert result.leftovers == [
        "runtime container: left",
        "runtime container: stuck (it refuses to go: no)",
    ]
    assert len((tmp_path / "deleted").read_text().splitlines()) == 2
    assert list(machine.directory.iterdir()) == []


def test_a_bundle_and_its_variable(machine: FakeMachine, run: Run) -> None:
    machine.runc('echo "$8"; cat "$8/config.json" >/dev/null; ls "$8/rootfs/etc"')

    result = run(
        "vars: {words: {process: {args: [a]}}}\n"
        "steps:\n"
        "  - bundle: b\n"
        "    config: '${words}'\n"
        "    files: [{file: /etc/x, text: hi, mode: '0600'}]\n"
        "    expect: {config: {process: {args: [a], cwd: /}, root: {path: rootfs}}}\n"
        "  - runc: create ${b}\n"
    )

    assert only(result, 1)["stdout"] == f"{result.exchanges[0].facets['path']}\nx\n"
    config: Any = result.exchanges[0].facets["config"]
    assert config["linux"]["cgroupsPath"].startswith("/sixhops-test/")
    assert list(machine.directory.iterdir()) == []


def test_a_raw_configuration_is_written_as_it_is(machine: FakeMachine, run: Run) -> None:
    machine.runc('cat "$8/config.json"')

    result = run("steps:\n  - {bundle: b, raw: '{not json'}\n  - runc: create ${b}\n")

    assert only(result, 1)["stdout"] == "{not json"
    assert "config" not in result.exchanges[0].facets


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("  - bundle: b\n  - bundle: b\n", "there is a bundle b already"),
        ("  - {bundle: b, files: [{file: /x, color: red}]}\n", "color"),
        ("  - {bundle: b, config: '${n}'}\n", "config must be a mapping, not 5"),
        ("  - {runc: ['${nested}']}\n", "a word of a command line must be a string or a number"),
    ],
)
def test_wrong_steps_are_the_scenarios_fault(
    machine: FakeMachine, run: Run, steps: str, message: str
) -> None:
    machine.runc("exit 0")

    with pytest.raises(ScenarioError, match=message):
        run(f"vars: {{n: 5, nested: [[a]]}}\nsteps:\n{steps}")


def test_merging() -> None:
    base = {"a": {"b": 1, "c": [1]}, "d": 2, "e": 3}

    assert merged(base, {"a": {"b": None, "c": [2], "x": {"y": None}}, "d": {"z": 1}}) == {
        "a": {"c": [2], "x": {}},
        "d": {"z": 1},
        "e": 3,
    }
    assert base == {"a": {"b": 1, "c": [1]}, "d": 2, "e": 3}


def test_the_default_is_a_copy() -> None:
    default_specification()["process"]["args"].append("x")

    assert default_specification()["process"]["args"] == ["sh"]


@pytest.mark.skipif(shutil.which("runc") is None, reason="needs the real runc, which is not installed")
def test_the_default_is_what_runc_spec_writes(tmp_path: Path) -> None:
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True, timeout=30)
    real = json.loads((tmp_path / "config.json").read_text())
    real["process"]["terminal"] = False

    assert default_specification() == real
