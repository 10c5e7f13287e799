"""Real containers, made by the program as a shim makes them. Needs root, seccomp and a static busybox."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from boxed import lacking, wait_end

from sixhops.linux.terminal import receive_descriptor

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "all is there")


def test_life_of_a_container(box, tmp_path):
    pid_file = tmp_path / "pid"
    box.config["process"]["args"] = ["sleep", "100"]

    box.runc(
        "create",
        "--bundle",
        str(box.bundle),
        "--pid-file",
        str(pid_file),
        box.identifier,
        stdout=subprocess.DEVNULL,
    )
    created = box.state()
    box.start()
    running = box.state()
    box.runc("pause", box.identifier)
    paused = box.state()
    box.runc("resume", box.identifier)
    refused = box.runc("delete", box.identifier, check=False)
    box.runc("kill", box.identifier, "KILL")
    wait_end(running["pid"])
    stopped = box.state()

    assert [state["status"] for state in (created, running, paused, stopped)] == [
        "created",
        "running",
        "paused",
        "stopped",
    ]
    assert pid_file.read_text() == str(created["pid"]) == str(running["pid"])
    assert stopped["pid"] == 0
    assert refused.stderr == f"cannot delete container {box.identifier} that is not stopped: running\n"
    assert box.runc("kill", box.identifier, "9", check=False).stderr == "container not running\n"
    box.runc("delete", box.identifier)
    assert box.leftovers() == []


def test_output_and_exit_status_of_run(box):
    done = box.run("sh", "-c", "echo out; echo err >&2; exit 7", check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_view_from_inside(box):
    done = box.run(
        "sh",
        "-c",
        "cat /proc/self/status; busybox hostname; ls /proc/self/fd; cat /proc/1/comm; grep -c . /proc/self/mountinfo; "
        "touch /proc/sys/x 2>&1; busybox wc -c < /proc/kcore; busybox ip link show lo",
    )

    lines = done.stdout.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["CapEff"].strip() == status["CapBnd"].strip() == "00000000000000e1"
    assert status["CapInh"].strip() == status["CapAmb"].strip() == "0000000000000000"
    assert status["SigIgn"].strip() == "0000000000000000"
    assert {"box", "0", "1", "2", "sh"} <= set(lines)
    assert "4" not in lines[lines.index("box") :]  # 3 is the directory that ls reads
    assert any("LOOPBACK,UP" in line for line in lines)


def test_exec_joins_and_reports(box):
    box.config["process"]["args"] = ["sleep", "100"]
    box.create(stdout=subprocess.DEVNULL)
    box.start()

    inside = box.runc(
        "exec",
        "-e",
        "A=b",
        "-u",
        "1000:7",
        "--cwd",
        "/bin",
        box.identifier,
        "sh",
        "-c",
        "id; echo $A $PWD; exit 3",
        check=False,
    )
    missing = box.runc("exec", box.identifier, "nosuch", check=False)

    assert inside.returncode == 3
    assert inside.stdout.splitlines() == ["uid=1000 gid=7", "b /bin"]
    assert missing.returncode == 255
    assert box.logged()["msg"] == (
        'exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"args": ["nosuchcmd"]}, 'exec: "nosuchcmd": executable file not found in $PATH'),
        ({"args": ["/nosuch"]}, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ({"args": ["/proc"]}, 'exec: "/proc": permission denied'),
        ({"env": ["FOO"]}, 'error during container init: invalid environment variable: "FOO"'),
        ({"cwd": "/bin/busybox"}, "error during container init: mkdir /bin/busybox: not a directory"),
    ],
)
def test_failed_create_says_why_and_leaves_nothing(box, change, message):
    box.config["process"].update(change)

    done = box.create(check=False)

    expected = f"runc create failed: unable to start container process: {message}"
    assert done.returncode == 1
    assert done.stderr == f"{expected}\n"
    assert box.logged() | {"time": ""} == {"level": "error", "msg": expected, "time": ""}
    assert box.leftovers() == []


def test_duplicate_identifier(box):
    box.config["process"]["args"] = ["sleep", "100"]
    box.create(stdout=subprocess.DEVNULL)

    done = box.create(check=False)

    assert done.stderr == "runc create failed: container with given ID already exists\n"
    assert box.state()["status"] == "created"


def test_program_that_the_kernel_refuses(box):
    broken = box.bundle / "rootfs/broken"
    broken.write_text("xyz")
    broken.chmod(0o755)

    done = box.run("/broken", check=False)

    assert (done.returncode, done.stderr) == (1, "exec /broken: exec format error\n")


def test_hooks_in_order_with_the_state(box, tmp_path):
    notes = tmp_path / "notes"

    def hook(name):
        script = f"printf '%s ' {name} >> {notes}; cat >> {notes}; echo >> {notes}"
        return [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]

    outside = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    box.config["hooks"] = {name: hook(name) for name in outside}
    box.config["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /noted"]}]

    box.run()

    entries = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    states = {name: json.loads(text) for name, text in entries}
    assert [name for name, _ in entries] == list(outside)
    assert [states[name]["status"] for name in outside] == ["creating"] * 3 + ["running", "stopped"]
    assert states["createContainer"]["pid"] == 1 < states["prestart"]["pid"]
    assert json.loads((box.bundle / "rootfs/noted").read_text())["status"] == "created"


def test_failing_hook_fails_the_create(box):
    box.config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "echo out; exit 3"]}]}

    done = box.create(check=False)

    assert done.stderr == (
        "runc create failed: unable to start container process: error during container init: error running hook #0: "
        "error running hook: exit status 3, stdout: out\n, stderr: \n"
    )
    assert box.leftovers() == []


def test_terminal_over_a_console_socket(box, tmp_path):
    box.config["process"] |= {"terminal": True, "args": ["sh", "-c", "tty; ls -l /dev/console"]}
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(10)
        server.bind(str(path))
        server.listen()
        box.runc("create", "--bundle", str(box.bundle), "--console-socket", str(path), box.identifier)
        peer, _ = server.accept()
        with peer:
            name, master = receive_descriptor(peer.fileno())
    box.start()

    output = b""
    while b"console" not in output:
        output += os.read(master, 1000)

    assert name == "/dev/ptmx"
    assert output.startswith(b"/dev/pts/0\r\n")
    os.close(master)


def test_limits_of_control_groups_and_update(box):
    if not Path("/sys/fs/cgroup/memory").exists():
        pytest.skip("needs a version 1 memory hierarchy")
    box.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
    box.config["process"]["args"] = ["sleep", "100"]
    group = Path(f"/sys/fs/cgroup/memory{box.cgroup}")
    box.create(stdout=subprocess.DEVNULL)
    before = int((group / "memory.limit_in_bytes").read_text())

    box.runc("update", "--memory", "32M", box.identifier)

    assert before == 64 << 20
    assert int((group / "memory.limit_in_bytes").read_text()) == 32 << 20
    stats = json.loads(box.runc("events", "--stats", box.identifier).stdout)
    assert stats["data"]["memory"]["usage"]["limit"] == 32 << 20
    assert stats["data"]["pids"] == {"current": 1, "limit": 50}
