"""What --help says of every command: the same usage, aliases and options as Docker's own client, in our own words."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from sixhops.docker import command
from sixhops.docker.catalogue import ABSENT, COMMANDS, GROUPS, HIDDEN, load

_REAL = "/usr/bin/docker"
needs_docker = pytest.mark.skipif(not shutil.which(_REAL), reason="Docker's client is not installed")

_OPTION = re.compile(r"^ {2}(?:-(\w), |    )--([\w-]+)(?: (\S+))?(?: {2,}(.*))?$")
#: Docker's defaults that stand in its texts, and what is only there with a file or an environment variable
_PATHS = {"config", "tlscacert", "tlscert", "tlskey"}


def facts(text: str) -> dict[str, object]:
    """Return what a help text says, without its wording: usage, aliases, and for each option letter, kind and default."""
    lines = text.replace("\n\t", " | ").splitlines()
    found: dict[str, object] = {
        "usage": next(line.removeprefix("Usage:").strip() for line in lines if line.startswith("Usage:"))
    }
    if "Aliases:" in lines:
        found["aliases"] = lines[lines.index("Aliases:") + 1].strip()
    options: dict[str, list[str]] = {}
    name = ""
    for line in lines[lines.index("Options:") + 1 :] if "Options:" in lines else []:
        option = _OPTION.match(line)
        if option:
            name = option[2]
            options[name] = [option[1] or "", option[3] or "", option[4] or ""]
        elif line.startswith("      ") and name:
            options[name][2] += f" {line.strip()}"
        elif not line.strip():
            break
    for name, (letter, kind, about) in options.items():
        default = re.search(r"\(default (\"[^\"]*\"|\S+)\)$", about)
        found[f"--{name}"] = (letter, kind, default[1] if default and name not in _PATHS else "")
    return found


def _all() -> list[str]:
    names = [*COMMANDS]
    for group, members in GROUPS.items():
        names += [f"{group} {name}" for name in members.members if name not in HIDDEN]
    return names


@needs_docker
@pytest.mark.parametrize("name", _all())
def test_help_has_dockers_facts(name):
    words = name.split()
    place = COMMANDS[name] if len(words) == 1 else GROUPS[words[0]].members[words[1]]
    real = subprocess.run([_REAL, *words, "--help"], capture_output=True, text=True, check=True).stdout

    ours = facts(command.help_text(load(place), name))

    assert ours == facts(real)


@needs_docker
@pytest.mark.parametrize("group", ["", *GROUPS])
def test_every_command_of_docker_is_there_or_said_to_be_absent(group):
    words = group.split()
    real = subprocess.run([_REAL, *words, "--help"], capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^ {2}([a-z][a-z-]+)\*? {2,}", real, re.MULTILINE))

    missing = listed - set(GROUPS[group].members if group else {*COMMANDS, *GROUPS, *ABSENT})

    assert missing == ({"build"} if group == "image" else set())
