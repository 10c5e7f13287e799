"""`sixhops docker` and `sixhops registry` hand their arguments on untouched and leave with the program's status."""

from __future__ import annotations

import subprocess
import sys

import pytest


def sixhops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sixhops", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("docker", "nosuch"), 1, "docker: 'nosuch' is not a docker command."),
        (("docker", "run", "--nosuch", "x"), 125, "unknown flag: --nosuch"),
        (("docker", "-H", "unix:///nosuch.sock", "ps", "--quiet"), 1, "unix:///nosuch.sock"),
        (("registry", "serve"), 4, "give a CONFIG file or --storage DIR"),
    ],
)
def test_the_program_answers(arguments: tuple[str, ...], status: int, text: str) -> None:
    result = sixhops(*arguments)

    assert result.returncode == status
    assert text in result.stderr
