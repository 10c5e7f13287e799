"""How stacks are named, and where their programs are found."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import UsageError
from sixhops.harness.stack import programs
from sixhops.harness.stack.programs import ROLES, find_criu, is_stack_name, locate, make_bin, parse_stack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("origin", ["upstream", "reference"])
def test_a_plain_name_means_every_role(origin: str) -> None:
    assert parse_stack(origin) == dict.fromkeys(ROLES, origin)


def test_a_mix_changes_the_roles_that_it_names() -> None:
    origins = parse_stack("upstream,runc=reference,shim=reference")

    assert {role for role, origin in origins.items() if origin == "reference"} == {"runc", "shim"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("upstraem", "no such target: 'upstraem' (did you mean 'upstream'?)"),
        ("refernce,runc=upstream", "(did you mean 'reference'?)"),
        ("", "no such target: ''"),
        ("upstream,rnc=reference", "'rnc' (did you mean 'runc'?)"),
        ("upstream,runc=referense", "'referense' (did you mean 'reference'?)"),
        ("upstream,runc", "'runc' in target 'upstream,runc' is not ROLE=ORIGIN"),
        ("upstream,runc=reference,runc=upstream", "says twice where runc comes from"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest_right_one(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_stack(name)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "stack"),
    [("upstream", True), ("upstrem", True), ("env", False), ("context:x", False), ("unix:///x", False)],
)
def test_what_is_meant_as_a_stack(name: str, stack: bool) -> None:
    assert is_stack_name(name) is stack


def test_missing_upstream_programs_are_all_named_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(tmp_path))

    with pytest.raises(UsageError) as caught:
        locate(parse_stack("upstream"))

    message = str(caught.value)
    for name in ("dockerd", "docker-registry", "containerd", "runc", "iptables", "make upstream"):
        assert name in message
    assert "docker is not" not in message


def test_a_reference_program_that_is_not_there_yet_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(programs.sixhops, "__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(UsageError, match=r"the reference runc \(sixhops-runc\) is not there yet"):
        locate({"runc": "reference", "dockerd": "reference"})


def test_a_reference_program_is_found_as_a_script_or_as_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, main = tmp_path / "sixhops-runc", tmp_path / "dockerd" / "__main__.py"
    for package in ("dockerd", "runc"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "main.py").touch()
    main.touch()
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(programs.sixhops, "__file__", str(tmp_path / "__init__.py"))

    found = locate({"runc": "reference", "dockerd": "reference"})

    assert found == {"runc": script, "dockerd": main}


def test_a_script_without_its_program_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sixhops-runc").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(programs.sixhops, "__file__", str(tmp_path / "__init__.py"))

    assert programs.find_reference(ROLES["runc"]) is None


def test_reference_programs_get_upstreams_names(tmp_path: Path) -> None:
    script = tmp_path / "sixhops-shim"
    script.write_text("#!/bin/sh\necho shim\n")
    script.chmod(0o755)
    origins = {"shim": "reference", "runc": "upstream"}

    make_bin(tmp_path / "bin", origins, {"shim": script, "runc": tmp_path / "runc"})

    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == [
        "containerd-shim-runc-v2",
        "containerd-shim-sixhops-v1",
    ]
    shown = subprocess.run(
        [tmp_path / "bin" / "containerd-shim-runc-v2"], capture_output=True, timeout=30, check=True
    )
    assert shown.stdout == b"shim\n"


def test_a_criu_on_the_users_path_goes_before_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    criu = tmp_path / "criu"
    criu.write_text("#!/bin/sh\n")
    criu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_criu() == criu


def test_programs_behind_a_tap_are_put_aside(tmp_path: Path) -> None:
    programs = {"runc": tmp_path / "runc", "shim": tmp_path / "shim", "dockerd": tmp_path / "dockerd"}
    origins = {"runc": "upstream", "shim": "reference", "dockerd": "upstream"}

    make_bin(tmp_path / "bin", origins, programs, wrapped=("shim", "runc"))

    real = tmp_path / "bin" / "real"
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["real"]
    assert {path.name: path.readlink() for path in real.iterdir()} == {
        "runc": tmp_path / "runc",
        "containerd-shim-runc-v2": tmp_path / "shim",
        "containerd-shim-sixhops-v1": tmp_path / "shim",
    }
