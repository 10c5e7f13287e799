"""What our client and Docker's own say, ask and keep when somebody logs in on a terminal, for the same answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from docker_canned import Turns, canned_engine
from docker_case import Keys
from docker_screen import run_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

REAL = "/usr/bin/docker"
pytestmark = pytest.mark.skipif(not shutil.which(REAL), reason="Docker's client is not installed")

_CLIENTS = ([REAL], [sys.executable, "-m", "sixhops.docker"])
_HUB = "https://index.docker.io/v1/"
_STORED = {"auths": {"here.example": {"auth": "bWU6b2xk"}, _HUB: {"auth": "bWU6b2xk"}}}
_REFUSED = (401, {"message": "Get https://here.example/v2/: unauthorized: incorrect username or password"})
_BROKEN = (500, {"message": "Get https://here.example/v2/: no such host"})
_GOOD = (200, {"Status": "Login Succeeded", "IdentityToken": ""})
_TOKEN = (200, {"Status": "Login Succeeded", "IdentityToken": "tok"})
_ANSWERED = (("Username", "you\n"), ("Password: ", "new\n"))

_HELPER = """#!/bin/sh
read -r given
echo "$1 $given" >>"$HOME/helper.log"
case $1 in
get) [ "$given" = here.example ] && printf '{"ServerURL":"%s","Username":"me","Secret":"old"}' "$given" && exit
  echo credentials not found in native keychain; exit 1;;
store) [ -e "$HOME/full" ] && { echo no room; exit 3; }; exit 0;;
esac
"""


@dataclass
class Scene:
    """A command line, what /auth answers, what is typed, and config.json before."""

    line: str
    auth: list[tuple[int, Any]]
    typed: tuple[tuple[str, str], ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    full: bool = False


_SCENES = {
    "stored ones are good": Scene("login here.example", [_GOOD], config=_STORED),
    "stored ones are refused, new ones are good": Scene(
        "login here.example", [_REFUSED, _GOOD], _ANSWERED, _STORED
    ),
    "stored ones are refused, the same name": Scene(
        "login here.example",
        [_REFUSED, _GOOD],
        ((r"Username \(me\): ", "\n"), ("Password: ", "new\n")),
        _STORED,
    ),
    "stored ones are refused, and so are new ones": Scene(
        "login here.example", [_REFUSED], _ANSWERED, _STORED
    ),
    "stored ones can not be tried": Scene("login here.example", [_BROKEN, _GOOD], _ANSWERED, _STORED),
    "the hub's are refused": Scene("login", [_REFUSED, _GOOD], _ANSWERED, _STORED),
    "none are stored": Scene("login other.example", [_GOOD], _ANSWERED, _STORED),
    "none are stored, refused": Scene("login other.example", [_REFUSED], _ANSWERED),
    "no password": Scene("login other.example", [_GOOD], (("Username: ", "you\n"), ("Password: ", "\n"))),
    "a token comes back": Scene("login other.example", [_TOKEN], _ANSWERED),
    "the helper's are refused": Scene(
        "login here.example", [_REFUSED, _GOOD], _ANSWERED, {"credsStore": "toy"}
    ),
    "the helper of one registry": Scene(
        "login here.example", [_REFUSED, _GOOD], _ANSWERED, {"credHelpers": {"here.example": "toy"}}
    ),
    "the helper has none": Scene("login other.example", [_GOOD], _ANSWERED, {"credsStore": "toy"}),
    "the helper keeps a token": Scene("login other.example", [_TOKEN], _ANSWERED, {"credsStore": "toy"}),
    "the helper keeps nothing": Scene(
        "login other.example", [_GOOD], _ANSWERED, {"credsStore": "toy"}, full=True
    ),
    "the name is given": Scene("login -u you here.example", [_GOOD], (("Password: ", "new\n"),), _STORED),
    "nobody is told the hub's name": Scene("login docker.io", [_GOOD], _ANSWERED),
}


def _did(client: list[str], scene: Scene, directory: Path) -> tuple[int, bytes, dict[str, str]]:
    """Return status, output and the files that are there afterwards."""
    home = directory / "home"
    shutil.rmtree(home, ignore_errors=True)
    (home / "bin").mkdir(parents=True)
    (home / ".docker").mkdir()
    helper = home / "bin" / "docker-credential-toy"
    helper.write_text(_HELPER)
    helper.chmod(0o755)
    if scene.full:
        (home / "full").touch()
    if scene.config:
        (home / ".docker" / "config.json").write_text(json.dumps(scene.config))
    environment = {
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "HOME": str(home),
        "DOCKER_HOST": f"unix://{directory}/engine.sock",
        "TERM": "xterm",
    }
    answers = {"/auth": Turns(*scene.auth), "/info": (200, {"IndexServerAddress": _HUB})}
    with canned_engine(directory / "engine.sock", answers):
        status, seen = run_on_terminal(
            [*client, *scene.line.split()], Keys(scene.typed), environment, home, 20
        )
    (directory / "engine.sock").unlink()
    files = {
        str(path.relative_to(home)): path.read_text()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path != helper
    }
    # docker asks before it has switched the echo off, so what is typed at once may be seen
    return status, re.sub(rb"Password: (new)?(\r\n)+", b"Password: \r\n", seen), files


@pytest.mark.parametrize("name", _SCENES)
def test_login(tmp_path: Path, name: str) -> None:
    real, ours = (_did(client, _SCENES[name], tmp_path) for client in _CLIENTS)

    assert ours == real
