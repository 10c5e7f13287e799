"""A process that waits becomes the container's first one, if it can; else that one is forked as ever."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from boxed import Box, lacking

from sixhops.linux.successor import can_succeed

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.skipif(not can_succeed(), reason="needs x86_64"),
]

# as a shim does it, in a process of its own: one that forks must have one thread
MAKER = """
import json, os, sys
from pathlib import Path
from sixhops.linux import passing, prctl
from sixhops.linux.clone import fork_plainly
from sixhops.runc.main import become, foresee
from sixhops.runc.cli.selfexe import command_line
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.lifecycle.control import start
from sixhops.runc.lifecycle.create import CreateRequest, create
from sixhops.runc.lifecycle.spare import expect
from sixhops.runc.lifecycle.state import load
from sixhops.wire.runtime.parse import parse_spec

root, bundle, identifier, output, seen, ahead, guess = sys.argv[1:]
prctl.set_subreaper()
ours, theirs = passing.pair()
if ahead:
    expect(parse_spec(Path(bundle, "config.json").read_text()))
spare = fork_plainly()
if spare == 0:
    ours.close()
    os._exit(become(theirs.detach(), lambda: None))
theirs.close()
runtime = fork_plainly()
if runtime == 0:
    if guess:
        foresee(bundle, identifier, ours.fileno(), guess)
    if seen:
        foresee(bundle, identifier, ours.fileno())
    opened = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(opened, 1)
    try:
        create(CreateRequest(root, identifier, bundle, sibling=True, spare=ours.fileno()))
    except RuntimeFault as error:
        os.write(2, str(error).encode())
        os._exit(1)
    os._exit(0)
ours.close()

def children():
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]

status = os.waitstatus_to_exitcode(os.waitpid(runtime, 0)[1])
if status:
    while children():
        os.waitpid(-1, 0)
    print(json.dumps({"status": status}))
    sys.exit()
made = load(root, identifier)
told = {"status": made.status(), "child": made.pid in children()}
while (state := Path(f"/proc/{spare}/stat").read_text().rpartition(")")[2].split()[0]) not in "DZ":
    continue
told["spare"] = state == "D"  # as vfork(2) has its caller wait; else nobody told it of anything, and it has ended
told["name"] = Path(f"/proc/{made.pid}/comm").read_text().strip()
told["gate"] = [os.readlink(p).endswith("exec.fifo") for p in Path(f"/proc/{made.pid}/fd").iterdir()].count(True)
start(root, identifier)
ends = dict(os.waitpid(-1, 0) for _ in children())
told["ends"] = [os.waitstatus_to_exitcode(ends[made.pid]), os.waitstatus_to_exitcode(ends.get(spare, 0))]
print(json.dumps(told))
"""


def made(
    box: Box, output: Path, *, foreseen: bool = True, ahead: bool = False, guess: str = ""
) -> dict[str, Any]:
    (box.bundle / "config.json").write_text(json.dumps(box.config))
    words = [
        str(box.root),
        str(box.bundle),
        box.identifier,
        str(output),
        "1" if foreseen else "",
        "1" if ahead else "",
        guess,
    ]
    done = subprocess.run(
        [sys.executable, "-c", MAKER, *words], capture_output=True, text=True, check=False, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout or "{}") | {"errors": done.stderr}
    return found


@pytest.mark.parametrize("ahead", [True, False])
def test_it_may_wait_in_the_new_namespaces(box: Box, tmp_path: Path, ahead: bool) -> None:
    mine = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "uts", "ipc")]
    box.config["process"]["args"] = [
        "sh",
        "-c",
        "cd /proc/self/ns; for kind in net uts ipc; do readlink $kind; done; hostname; ifconfig lo",
    ]

    found = made(box, tmp_path / "output", ahead=ahead)

    assert (found["status"], found["spare"], found["errors"]) == ("created", True, "")
    *namespaces, hostname = (lines := (tmp_path / "output").read_text().splitlines())[: len(mine) + 1]
    assert len(set(namespaces) - set(mine)) == len(mine)
    assert hostname == box.config["hostname"]
    assert any("UP LOOPBACK RUNNING" in line for line in lines)


KILL, CHOWN = 1 << 5, 1 << 0  # capabilities(7)


def with_capabilities(box: Box, *names: str) -> str:
    """Let the container have these; return its document."""
    kinds = ("bounding", "effective", "permitted")
    box.config["process"]["capabilities"] = {kind: list(names) for kind in kinds}
    return json.dumps(box.config)


@pytest.mark.parametrize(
    ("guess", "real", "becomes"),
    [
        (("CAP_KILL", "CAP_CHOWN"), ("CAP_KILL",), True),
        (("CAP_KILL",), ("CAP_KILL",), True),
        # what was dropped is not there any more
        (("CAP_KILL",), ("CAP_KILL", "CAP_CHOWN"), False),
    ],
)
def test_what_it_was_to_become_may_do_less(
    box: Box, tmp_path: Path, guess: tuple[str, ...], real: tuple[str, ...], becomes: bool
) -> None:
    box.config["process"]["args"] = ["grep", "CapBnd", "/proc/self/status"]
    told = with_capabilities(box, *guess)
    with_capabilities(box, *real)

    found = made(box, tmp_path / "output", guess=told)

    assert (found["status"], found["spare"], found["errors"]) == ("created", becomes, "")
    allowed = int((tmp_path / "output").read_text().split()[1], 16)
    assert allowed == KILL | (CHOWN if "CAP_CHOWN" in real else 0)


def test_hooks_in_the_container_may_do_all(box: Box, tmp_path: Path) -> None:
    box.config["process"]["args"] = ["true"]
    told = with_capabilities(box, "CAP_KILL")
    seen = tmp_path / "seen"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"grep CapBnd /proc/self/status > {seen}"]}
    box.config["hooks"] = {"createContainer": [hook]}
    mine = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]

    found = made(box, tmp_path / "output", guess=told)

    assert (found["status"], found["spare"], found["errors"]) == ("created", False, "")
    assert seen.read_text().split()[1] == mine


@pytest.mark.parametrize("foreseen", [True, False])
def test_it_becomes_the_container(box: Box, tmp_path: Path, foreseen: bool) -> None:
    box.config["process"]["args"] = ["sh", "-c", "echo $$ $(id -u); cat /proc/self/cgroup; exit 3"]

    found = made(box, tmp_path / "output", foreseen=foreseen)

    assert found == {
        "status": "created",
        "child": True,
        "spare": True,  # it stands still until the program begins
        "name": "runc:[2:INIT]",
        "gate": 1,
        "ends": [3, 0],
        "errors": "",
    }
    first, *groups = (tmp_path / "output").read_text().splitlines()
    assert first == "1 0"
    assert any(line.endswith(box.cgroup) for line in groups)


def test_a_limit_of_memory_is_for_what_comes_before_the_program_too(box: Box, tmp_path: Path) -> None:
    box.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}

    found = made(box, tmp_path / "output")

    # the runtime has gone, and with it who could tell the spare of anything
    assert (found["status"], found["spare"], found["ends"][0]) == ("created", False, 0)
    assert (tmp_path / "output").read_text() == "hello\n"


def test_descriptors_that_are_too_many_words_are_a_fork(box: Box, tmp_path: Path) -> None:
    box.config["process"]["env"] += [f"V{number}={'x' * 4096}" for number in range(64)]

    found = made(box, tmp_path / "output")

    assert (found["status"], found["spare"], found["ends"][0]) == ("created", False, 0)
    assert (tmp_path / "output").read_text() == "hello\n"


def test_what_goes_wrong_inside_is_told_and_leaves_nothing(box: Box, tmp_path: Path) -> None:
    box.config["process"]["args"] = ["/bin/absent"]

    found = made(box, tmp_path / "output")

    assert found["status"] == 1
    assert found["errors"] == (
        'unable to start container process: exec: "/bin/absent": stat /bin/absent: no such file or directory'
    )
    assert box.leftovers() == []


def test_what_goes_wrong_at_the_birth_is_told_and_leaves_nothing(box: Box, tmp_path: Path) -> None:
    pids = next((p for p in Path("/sys/fs/cgroup").glob("pids")), None)
    if pids is None:
        pytest.skip("needs the pids controller of version 1")
    group = pids / f"sixhops-test-born-{box.identifier}"
    group.mkdir()
    try:
        (group / "pids.max").write_text(
            "3"
        )  # this shell's place, the spare, the runtime; none for the successor
        script = f'echo 0 > {group}/cgroup.procs && exec "$@"'
        (box.bundle / "config.json").write_text(json.dumps(box.config))
        words = [str(box.root), str(box.bundle), box.identifier, str(tmp_path / "output"), "1", "", ""]
        done = subprocess.run(
            ["sh", "-c", script, "sh", sys.executable, "-c", MAKER, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        group.rmdir()
    assert json.loads(done.stdout) == {"status": 1}
    assert done.stderr == "unable to start container process: clone3: resource temporarily unavailable"
    assert box.leftovers() == []
