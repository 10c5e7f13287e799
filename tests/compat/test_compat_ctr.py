"""containerd's own command line against the reference containerd, on the stack's machine."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pty
import queue
import re
import shutil
import signal
import struct
import subprocess
import tarfile
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from foreground import converse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack

BOUND = 30
BLOB = "a blob\n"

pytestmark = pytest.mark.skipif(
    shutil.which("ctr") is None, reason="needs ctr (apt-get install containerd, or make upstream)"
)


class Ctr:
    """The client in a namespace of its own, with one image pulled."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.image = f"{stack.registry}/library/busybox:latest"

    def command(self, *words: str) -> list[str]:
        return [
            *self.stack.inside,
            "ctr",
            "--address",
            self.stack.containerd,
            "--namespace",
            "compat",
            *words,
        ]

    def __call__(self, *words: str, **more: Any) -> str:
        return self.run(*words, **more).stdout

    def run(
        self, *words: str, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, timeout=BOUND, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def converse(
        self, *words: str, out: str, err: str = "", say: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return converse(self.command(*words), out=out, err=err, say=say, bound=BOUND)


@pytest.fixture(scope="module")
def ctr(stack: Stack) -> Ctr:
    client = Ctr(stack)
    client("images", "pull", "--plain-http", client.image)
    return client


@pytest.fixture
def sleeper(ctr: Ctr) -> Iterator[str]:
    ctr("run", "-d", "--null-io", ctr.image, "sleeper", "sleep", "1000")
    yield "sleeper"
    ctr.run("tasks", "kill", "-s", "SIGKILL", "sleeper", check=False)
    ctr.run("tasks", "rm", "-f", "sleeper", check=False)
    ctr("containers", "rm", "sleeper")


def rows(table: str) -> list[list[str]]:
    """Return the words of each line of a table but its heading."""
    return [line.split() for line in table.splitlines()[1:]]


def test_version_plugins_and_namespaces(ctr: Ctr) -> None:
    assert "Server:" in ctr("version")
    assert ["io.containerd.snapshotter.v1", "overlayfs", "linux/amd64", "ok"] in rows(ctr("plugins", "ls"))
    ctr("namespaces", "create", "more", "a=b")
    assert {"compat", "more"} <= set(ctr("namespaces", "ls", "-q").split())
    ctr("namespaces", "label", "more", "c=d")
    assert ["more", "a=b,c=d"] in rows(ctr("namespaces", "ls"))
    assert (
        "must be empty, but it still has images" in ctr.run("namespaces", "rm", "compat", check=False).stderr
    )
    ctr("namespaces", "rm", "more")
    assert "more" not in ctr("namespaces", "ls", "-q").split()


def test_images_are_pulled_tagged_exported_and_imported(ctr: Ctr, tmp_path: Path) -> None:
    assert ctr.image in ctr("images", "check", "-q").split()
    ctr("images", "tag", ctr.image, "example.com/copy:1")
    ctr("images", "label", "example.com/copy:1", "color=blue")
    archive = tmp_path / "copy.tar"
    ctr("images", "export", str(archive), "example.com/copy:1")
    with tarfile.open(archive) as members:
        assert {"index.json", "oci-layout", "manifest.json"} <= set(members.getnames())
    ctr("images", "rm", "--sync", "example.com/copy:1")
    assert "example.com/copy:1" not in ctr("images", "ls", "-q").split()
    ctr("images", "import", str(archive))
    assert "example.com/copy:1" in ctr("images", "ls", "-q").split()
    ctr("images", "rm", "example.com/copy:1")


def test_archive_of_dockers_is_imported(ctr: Ctr, stack: Stack) -> None:
    ctr("images", "import", str(stack.folder / "busybox.tar"))
    (name,) = [name for name in ctr("images", "ls", "-q").split() if name.startswith("docker.io/")]
    script = "echo hello; read line"
    done = ctr.converse("run", "--rm", name, "imported", "sh", "-c", script, out="hello\n")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    ctr("images", "rm", name)


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_run_in_the_foreground(ctr: Ctr, snapshotter: str) -> None:
    if snapshotter == "native":
        ctr("images", "pull", "--plain-http", "--snapshotter", snapshotter, ctr.image)
    script = "echo out; echo err >&2; read line; exit 3"
    done = ctr.converse(
        "run", "--rm", "--snapshotter", snapshotter, ctr.image, "front", "sh", "-c", script,
        out="out\n", err="err\n",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert ctr("containers", "ls", "-q") == ""
    assert "front" not in ctr("snapshots", "--snapshotter", snapshotter, "ls")


def test_run_on_a_terminal(ctr: Ctr) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    script = (
        "i=0; while [ $i -lt 100 ] && [ \"$(stty size)\" != '33 77' ]; do i=$((i+1)); sleep 0.05; done; "
        "stty size; read line; echo got $line"
    )
    client = subprocess.Popen(
        ctr.command("run", "--rm", "-t", ctr.image, "term", "sh", "-c", script),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"words\n")
    seen = b""
    try:
        while piece := os.read(ours, 1 << 12):
            seen += piece
    except OSError:
        pass  # how Linux tells that the other end of a pty has gone
    finally:
        os.close(ours)
    assert client.wait(BOUND) == 0, seen
    lines = [line.strip() for line in seen.split(b"\n")]
    assert b"33 77" in lines
    assert b"got words" in lines


def test_tasks(ctr: Ctr, sleeper: str) -> None:
    (row,) = rows(ctr("tasks", "ls"))
    assert (row[0], row[2]) == (sleeper, "RUNNING")
    script = "echo out; echo err >&2; read line; exit 5"
    done = ctr.converse(
        "tasks", "exec", "--exec-id", "e", sleeper, "sh", "-c", script, out="out\n", err="err\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")
    assert [words[0] for words in rows(ctr("tasks", "ps", sleeper))] == [row[1]]
    assert re.search(r"memory[._]usage", ctr("tasks", "metrics", sleeper))
    ctr("tasks", "pause", sleeper)
    assert rows(ctr("tasks", "ls"))[0][2] == "PAUSED"
    ctr("tasks", "resume", sleeper)
    assert rows(ctr("tasks", "ls"))[0][2] == "RUNNING"
    assert "task must be stopped" in ctr.run("tasks", "rm", sleeper, check=False).stderr


def test_attach_sees_the_rest(ctr: Ctr) -> None:
    ctr("run", "-d", ctr.image, "att", "sh", "-c", "read line; echo got $line; read line; exit 4")
    done = ctr.converse("tasks", "attach", "att", say="words\n", out="got words\n")
    assert (done.returncode, done.stdout) == (4, "got words\n")
    ctr("containers", "rm", "att")


def test_containers(ctr: Ctr, sleeper: str) -> None:
    assert ctr("containers", "ls", "-q").split() == [sleeper]
    assert f'"Image": "{ctr.image}"' in ctr("containers", "info", sleeper)
    assert "a=b" in ctr("containers", "label", sleeper, "a=b")
    assert ctr("containers", "ls", "-q", "labels.a==b").split() == [sleeper]
    assert "already exists" in ctr.run("run", "-d", ctr.image, sleeper, "true", check=False).stderr
    assert "nobody" in ctr.run("containers", "rm", "nobody", check=False).stderr


def test_snapshots(ctr: Ctr, sleeper: str, tmp_path: Path) -> None:
    (own,) = [words for words in rows(ctr("snapshots", "ls")) if words[0] == sleeper]
    assert own[2] == "Active"
    parent = own[1]
    ctr("snapshots", "prepare", "--target", str(tmp_path), "work", parent)
    assert [words[0] for words in rows(ctr("snapshots", "usage", "work"))] == ["work"]
    mount = ctr("snapshots", "mounts", str(tmp_path), "work")
    assert "lowerdir=" in mount
    ctr("tasks", "exec", "--exec-id", "touch", sleeper, "sh", "-c", "echo new >/new; rm /etc/passwd")
    layer = subprocess.run(
        ctr.command("snapshots", "diff", sleeper), capture_output=True, timeout=BOUND, check=True
    ).stdout
    path = tmp_path / "layer.tar.gz"
    path.write_bytes(layer)
    with tarfile.open(path) as members:
        assert {"new", "etc/.wh.passwd"} <= set(members.getnames())
    ctr("snapshots", "commit", "layer", "work")
    assert [words for words in rows(ctr("snapshots", "ls")) if words[0] == "layer"] == [
        ["layer", parent, "Committed"]
    ]
    ctr("snapshots", "prepare", "look", "layer")
    assert "cannot remove snapshot with child" in ctr.run("snapshots", "rm", "layer", check=False).stderr
    ctr("snapshots", "rm", "look")
    ctr("snapshots", "rm", "layer")


def test_content(ctr: Ctr) -> None:
    ctr("content", "fetch", "--plain-http", ctr.image)
    before = set(ctr("content", "ls", "-q").split())
    ctr("content", "ingest", "some-ref", text=BLOB)
    (digest,) = set(ctr("content", "ls", "-q").split()) - before
    assert ctr("content", "get", digest) == BLOB
    ctr("content", "label", digest, "color=blue")
    assert ctr("content", "ls", "-q", "labels.color==blue").split() == [digest]
    assert rows(ctr("content", "active")) == []
    ctr("content", "rm", digest)
    assert digest not in ctr("content", "ls", "-q").split()


def test_leases(ctr: Ctr) -> None:
    ctr("leases", "create", "--id", "mine", "a=b")
    assert [words[0] for words in rows(ctr("leases", "ls", "id==mine"))] == ["mine"]
    ctr("leases", "rm", "--sync", "mine")
    assert rows(ctr("leases", "ls", "id==mine")) == []


def test_events_of_a_run(ctr: Ctr) -> None:
    listener = subprocess.Popen(
        ctr.command("events"), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=read_lines, args=(listener, lines))
    reader.start()
    seen: list[str] = []
    try:
        # it listens once the first event comes: what tells it is harmless and repeated until then
        for _ in range(BOUND):
            ctr("namespaces", "label", "compat", "listening=yes")
            with contextlib.suppress(queue.Empty):
                seen.append(lines.get(timeout=1))
                break
        ctr("run", "--rm", ctr.image, "watched", "true")
        while not {"/tasks/delete", "/containers/delete"} <= set(topics_of(seen)):
            seen.append(lines.get(timeout=BOUND))
    finally:
        os.killpg(listener.pid, signal.SIGKILL)  # the client is a child of nsenter
        listener.wait()
        reader.join(BOUND)
    topics = topics_of(seen)
    assert topics[:4] == ["/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit"]
    # the shim tells the one, containerd the other
    assert sorted(topics[4:]) == ["/containers/delete", "/tasks/delete"]


def topics_of(lines: list[str]) -> list[str]:
    return [found[0] for line in lines if (found := re.search(r"/(tasks|containers)/\S+", line))]


def read_lines(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    """Hand on what a process writes, line by line, to its end."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line)


def test_a_container_is_checkpointed_and_restored(ctr: Ctr) -> None:
    criu = Path(ctr.stack.containerd).parent / "bin/criu"
    if not criu.exists() or subprocess.run([criu, "check"], capture_output=True, check=False).returncode:
        pytest.skip("needs a CRIU that works on this kernel (ci/criu)")
    told = "n=0; told() { n=$((n+1)); echo told $n >> /told; }; trap told USR1; echo ready > /told; "
    script = f"{told} while :; do sleep 1000 & wait; done"
    saved = "example.com/saved:1"
    ctr("run", "-d", "--null-io", ctr.image, "before", "sh", "-c", script)
    try:
        await_text(ctr, "before", "ready\n")
        ctr("tasks", "kill", "-s", "SIGUSR1", "before")
        await_text(ctr, "before", "ready\ntold 1\n")

        ctr("containers", "checkpoint", "--rw", "--image", "--task", "before", saved)
        ctr("containers", "restore", "--rw", "--live", "after", saved)

        assert {"before", "after"} == set(ctr("tasks", "ls", "-q").split())
        ctr("tasks", "kill", "-s", "SIGUSR1", "after")
        await_text(ctr, "after", "ready\ntold 1\ntold 2\n")
        # into a directory; nothing is left that runs
        ctr("tasks", "checkpoint", "--exit", "--image-path", f"{ctr.stack.folder}/saved", "after")
        assert (ctr.stack.folder / "saved/inventory.img").exists()
    finally:
        for name in ("after", "before"):
            ctr.run("tasks", "rm", "-f", name, check=False)
            ctr.run("containers", "rm", name, check=False)
        ctr.run("images", "rm", "--sync", saved, check=False)


def await_text(ctr: Ctr, container: str, text: str) -> None:
    """Wait until a container's /told has this text."""
    deadline = time.monotonic() + BOUND
    seen = ""
    for attempt in itertools.count():
        seen = ctr.run(
            "tasks", "exec", "--exec-id", f"look{attempt}", container, "cat", "/told", check=False
        ).stdout
        if seen == text:
            return
        assert time.monotonic() < deadline, f"{seen!r} is not {text!r} within {BOUND} s"
