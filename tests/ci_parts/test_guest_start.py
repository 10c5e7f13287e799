"""The guest's start is awaited for as long as it gets on. A script stands for ssh, and a process of ours for qemu."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from ci.vm.machine import Machine, Progress, await_up

if TYPE_CHECKING:
    from pathlib import Path


def machine(work: Path, monkeypatch: pytest.MonkeyPatch, ssh: str, pid: int | None = None) -> Machine:
    """Return a guest that answers as the script `ssh` says; its qemu is this process unless `pid` names another."""
    program = work / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncd {work}\n{ssh}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return Machine(work, pid or os.getpid(), 0, 0, "tcg")


def test_what_prints_is_awaited_for_longer_than_it_may_be_silent(tmp_path: Path) -> None:
    console = tmp_path / "serial.log"
    progress = Progress(console, 100.0, silence=10, longest=1000)

    assert progress.stuck(109) == ""
    for now in range(110, 300, 9):
        with console.open("a") as log:
            log.write("[ OK ]\n")
        assert progress.stuck(now) == ""
        assert progress.stuck(now + 8) == ""


def test_silence_and_a_start_without_end_are_told_apart(tmp_path: Path) -> None:
    console = tmp_path / "serial.log"
    progress = Progress(console, 100.0, silence=10, longest=50)

    assert progress.stuck(110) == "it printed nothing for 10 s"
    console.write_text("SeaBIOS\n")
    assert progress.stuck(149) == ""
    console.write_text("SeaBIOS\nLinux\n")
    assert progress.stuck(150) == "it was not up within 50 s"


@pytest.mark.parametrize("state", ["running", "degraded"])
def test_a_guest_that_lets_nobody_in_yet_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    script = (
        f"echo asked >> asked; test $(wc -l < asked) -ge 3 || {{ echo refused >&2; exit 255; }}; echo {state}"
    )

    await_up(machine(tmp_path, monkeypatch, script), Progress(tmp_path / "serial.log", 0, 1e9, 1e9), pause=0)

    assert (tmp_path / "asked").read_text() == "asked\n" * 3


def test_a_guest_that_hangs_is_given_up_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serial.log").write_text("Kernel panic")

    with pytest.raises(SystemExit, match=r"did not start: it was not up within 0 s.*\nKernel panic"):
        await_up(
            machine(tmp_path, monkeypatch, "exec sleep 1000"),
            Progress(tmp_path / "serial.log", 0, 1e9, longest=0),
        )


def test_a_guest_whose_machine_is_gone_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = machine(tmp_path, monkeypatch, "touch asked", pid=(1 << 22) + 1)

    with pytest.raises(SystemExit, match="did not start: qemu ended"):
        await_up(gone, Progress(tmp_path / "serial.log", 0))

    assert not (tmp_path / "asked").exists()
