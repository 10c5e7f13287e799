"""The init of containers: what it hands on, what it reaps, and how it ends. It is compiled once for all tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sixhops.dockerd.containers.specification import initprogram
from sixhops.dockerd.containers.specification.initprogram import VERSION, Init, describe, init_program

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (gcc)")
BOUND = 20


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return init_program(tmp_path_factory.mktemp("init"))


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL, ""),
        (["/proc/nosuch"], 127, "exec /proc/nosuch failed: No such file or directory\n"),
        (["/etc/passwd"], 126, "exec /etc/passwd failed: Permission denied\n"),
    ],
)
def test_it_ends_as_the_program_does(program: str, words: list[str], status: int, message: str) -> None:
    done = subprocess.run(
        [program, "--", *words],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert (done.returncode, done.stderr.partition("] ")[2]) == (status, message)


def test_signals_reach_the_program(program: str) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen([program, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGUSR1)
        assert running.wait(BOUND) == 9


def test_the_program_leads_a_group_of_its_own_with_the_signals_that_were_there(program: str) -> None:
    script = "read line </proc/$$/stat; set -- $line; echo $1 $5; exec grep SigBlk /proc/self/status"
    done = subprocess.run(
        [program, "--", "sh", "-c", script], capture_output=True, text=True, timeout=BOUND, check=True
    )

    group, blocked = done.stdout.splitlines()
    assert group.split()[0] == group.split()[1]
    assert int(blocked.split()[1], 16) == 0


def test_it_is_compiled_once(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert init_program(Path(program).parent) == program


def test_without_a_compiler_the_host_s_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "tini"
    other.write_text("#!/bin/sh\necho 'tini version 0.18.0 - git.fec3683'\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nosuch")

    assert init_program(tmp_path / "made") == str(other)
    monkeypatch.setattr(os, "environ", os.environ | {"PATH": "/nosuch"})
    with pytest.raises(Exception, match=r'exec: "docker-init": executable file not found in \$PATH'):
        init_program(tmp_path / "made")


def test_versions(tmp_path: Path) -> None:
    other = tmp_path / "tini"
    other.write_text("#!/bin/sh\necho 'tini version 0.18.0 - git.fec3683'\n")
    other.chmod(0o755)

    assert describe("") == Init("docker-init", VERSION)
    assert describe(str(other)) == Init("tini", "0.18.0", "fec3683")
    assert describe("/nosuch/init") == Init("init", None, "N/A")
    assert f'"tini version {VERSION}"' in initprogram._SOURCE.read_text()
