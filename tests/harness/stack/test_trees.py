"""Stacks of another release's programs: how a tree is found, what is found in it, and a machine whose root it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.errors import UsageError
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack
from sixhops.harness.stack.programs import locate, parse_stack, tree_word
from sixhops.harness.stack.trees import Tree, find_tree

DIRECTORIES = ("usr/bin", "etc", "proc", "sys", "dev", "run")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXHOPS_TREES", str(tmp_path))
    for name in DIRECTORIES:
        (tmp_path / "dockerd-99" / name).mkdir(parents=True)
    return tmp_path / "dockerd-99"


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_a_tree_is_found_by_name_and_by_path(tree: Path) -> None:
    assert find_tree("dockerd-99") == Tree("dockerd-99", tree)
    assert find_tree(str(tree)).path == tree


def test_what_is_no_tree_is_refused_with_those_that_are_there(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"no such tree: 'dockerd-9'; there are dockerd-99 "):
        find_tree("dockerd-9")
    (tree / "run").rmdir()
    with pytest.raises(UsageError, match=r"not a root file system: it has no /run"):
        find_tree("dockerd-99")


def test_no_trees_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXHOPS_TREES", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="there are none in"):
        find_tree("x")


def test_the_target_names_the_tree() -> None:
    assert tree_word("upstream@dockerd-28") == "dockerd-28"
    assert tree_word("upstream,runc=reference") is None
    assert set(parse_stack("upstream@dockerd-28").values()) == {"upstream"}
    with pytest.raises(UsageError, match="mixes a tree's programs with others"):
        parse_stack("upstream@dockerd-28,runc=reference")


def test_programs_are_found_in_the_tree_under_their_paths_there(tree: Path) -> None:
    program(tree / "usr/bin/dockerd")
    program(tree / "usr/sbin/dockerd")
    (tree / "usr/bin/runc").write_text("not executable")

    assert Tree("t", tree).find("dockerd", "/usr/sbin:/usr/bin") == Path("/usr/sbin/dockerd")
    assert Tree("t", tree).find("runc", "/usr/sbin:/usr/bin") is None


def test_what_a_tree_lacks_is_named_with_its_packages(tree: Path) -> None:
    for name in ("dockerd", "containerd", "containerd-shim-runc-v2"):
        program(tree / "usr/bin" / name)

    with pytest.raises(UsageError) as caught:
        locate(parse_stack("upstream@dockerd-99"), Tree("dockerd-99", tree))

    assert str(caught.value).endswith(
        "lacks the packages docker-registry, iptables, runc: "
        "docker-registry is not installed; runc is not installed; iptables is not installed"
    )


def test_a_program_outside_is_started_by_its_own_loader(tree: Path) -> None:
    program(tree / "usr/bin/docker", b"\x7fELF" + bytes(60) + b"/lib64/ld-linux-x86-64.so.2\0")
    program(tree / "usr/bin/static", b"\x7fELF" + bytes(60))
    with pytest.raises(UsageError, match="has no dynamic loader"):
        Tree("t", tree).outside(Path("/usr/bin/docker"))
    loader = program(tree / "usr/lib64/ld-linux-x86-64.so.2")
    (tree / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)

    assert Tree("t", tree).outside(Path("/usr/bin/static")) == [str(tree / "usr/bin/static")]
    argv = Tree("t", tree).outside(Path("/usr/bin/docker"))
    assert argv[:2] == [str(loader), "--library-path"]
    assert str(tree / "usr/lib/x86_64-linux-gnu") in argv[2].split(":")
    assert argv[3:] == ["--argv0", "docker", str(tree / "usr/bin/docker")]


@NEEDS_UPSTREAM
def test_a_machine_whose_root_is_a_tree() -> None:
    """The host's own root is a tree as any other: nothing of it may change."""
    stack = PrivateStack.start("upstream@/", directory=None, options=StackOptions())
    try:
        (stack.sandbox.root / "etc/written-by-a-test").write_text("inside")
        mounts = (stack.sandbox.root / "proc/1/mountinfo").read_text().splitlines()
        with engine_client(stack.engine, 30) as client:
            version = client.get("/version").json()["Version"]
        command = stack.docker_argv()
        assert command is not None
        said = subprocess.run(
            [*command, "--host", stack.engine.text, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        left = stack.close()

    assert left == []
    assert not Path("/etc/written-by-a-test").exists()
    assert [line.split()[4] for line in mounts if " - overlay " in line] == ["/"]
    assert (said.stdout.strip(), said.stderr) == (version, "")
