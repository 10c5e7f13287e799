"""An engine behind ssh. The ssh client here is a stand-in that speaks to the stack next door.

What it keeps of ssh: the command line, the forwarded socket, the exit status 255 and the words when it fails.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.errors import TargetError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack import open_target
from sixhops.harness.stack.leftovers import Residue, difference
from sixhops.harness.tap.processes import read_processes

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.stack.private import PrivateStack

STAND_IN = """#!{python}
import os, socket, subprocess, sys, threading
arguments = sys.argv[1:]
if "-N" not in arguments:
    os.execvp("nsenter", ["nsenter", "--target={init}", "--mount", "--pid", "--net", "sh", "-c",
    arguments[-1]])
if arguments[-1] != "me@box":
    sys.exit("ssh: connect to host %s port 22: Connection refused" % arguments[-1])
local, _, remote = arguments[arguments.index("-L") + 1].partition(":")
server = socket.socket(socket.AF_UNIX)
server.bind(local)
server.listen()

def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)

while True:
    client, _ = server.accept()
    upstream = socket.socket(socket.AF_UNIX)
    upstream.connect("{engine}")
    for pair in ((client, upstream), (upstream, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "ssh"


def install(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def install_for(stack: PrivateStack, path: Path) -> None:
    install(path, STAND_IN.format(python=sys.executable, init=stack.sandbox.init, engine=stack.engine.unix))


@NEEDS_UPSTREAM
def test_the_engine_and_its_host_through_ssh(upstream: PrivateStack, stand_in: Path) -> None:
    install_for(upstream, stand_in)
    assert upstream.host is not None

    target = open_target("ssh://me@box")
    try:
        assert target.facts.hops[Hop.PROCESS] is None
        assert target.facts.hops[Hop.REGISTRY] is not None
        assert target.facts.engine_version == upstream.facts.engine_version
        assert target.registry is None
        assert target.host is not None
        seen = {process["comm"]: process for process in target.host.processes()}
        there = {process["comm"]: process for process in read_processes(upstream.sandbox.root / "proc")}
        for field in ("pid", "exe", "argv", "parent", "cgroup", "ns", "caps"):
            assert seen["dockerd"][field] == there["dockerd"][field]
        assert target.host.links() == upstream.host.links()
        assert target.host.mounts() == upstream.host.mounts()
        assert target.host.rules() == upstream.host.rules()
        for path in ("/etc/resolv.conf", "/etc", "/proc/mounts", "/no such", "/dev/null"):
            assert target.host.file(path) == upstream.host.file(path), path
        look = target.host.look()  # type: ignore[attr-defined] # a remote host's own
        for part in ("mounts", "links", "cgroups", "rules", "sockets"):
            assert getattr(look, part) == getattr(target.host, part)(), part
        assert {process["comm"] for process in look.processes} >= {"dockerd", "containerd"}
        assert difference(Residue.take(target), Residue.take(target)) == []
        target.check_alive()
    finally:
        assert target.close() == []


@NEEDS_UPSTREAM
def test_a_host_that_cannot_be_seen_is_a_reason(
    upstream: PrivateStack, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_for(upstream, stand_in)
    # the shell there is some other user's
    install(stand_in.parent / "nsenter", "#!/bin/sh\ncase $* in *'id -u'*) echo 1000;; *) exit 1;; esac\n")

    target = open_target("ssh://me@box")
    try:
        assert target.host is None
        assert "not root" in str(target.facts.hops[Hop.PROCESS])
    finally:
        target.close()


def test_an_unreachable_host_is_one_line(stand_in: Path) -> None:
    install(stand_in, STAND_IN.format(python=sys.executable, init=1, engine="/none"))

    with pytest.raises(TargetError) as caught:
        open_target("ssh://me@nowhere")

    assert str(caught.value) == (
        "can't reach ssh://me@nowhere: ssh: connect to host me@nowhere port 22: Connection refused"
    )


def test_ssh_gets_port_and_user_as_words_of_their_own(stand_in: Path) -> None:
    noted = stand_in.with_name("argv")
    install(stand_in, f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(noted))}; exit 255\n')

    with pytest.raises(TargetError, match="ssh ended"):
        open_target("ssh://me@[::1]:2222")

    words = noted.read_text().split("\n")
    assert words[-3:-1] == ["--", "me@::1"]
    assert words[words.index("-p") + 1] == "2222"
    assert "BatchMode=yes" in words


@NEEDS_UPSTREAM
def test_a_unix_endpoint_on_this_machine_shows_its_host(upstream: PrivateStack) -> None:
    target = open_target(upstream.engine.text)
    try:
        assert target.host is not None
        comms = {process["comm"] for process in target.host.processes()}
        assert {"dockerd", "containerd", "sixhops-init"} <= comms
        assert target.facts.hops[Hop.PROCESS] is None
        tap = target.engine_tap()
        assert tap is not None
        assert tap.unix is not None
        assert tap.unix.is_socket()
    finally:
        assert target.close() == []
    upstream.check_alive()
