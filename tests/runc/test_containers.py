"""Real containers, made by the program as a shim makes them. Needs root, seccomp and a static busybox."""

import errno
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path

import pytest

from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.layout import container_groups, read_layout
from sixhops.linux.pidfd import open_process
from sixhops.linux.terminal import receive_descriptor
from sixhops.runc import state

BUSYBOX = shutil.which("busybox")


def _lacking() -> str:
    if os.geteuid() != 0:
        return "needs root: makes namespaces, mounts and control groups"
    if BUSYBOX is None:
        return "needs busybox (busybox-static) for the container's programs"
    if b"INTERP" in subprocess.run(["readelf", "-l", BUSYBOX], capture_output=True, check=False).stdout:
        return "needs a static busybox (busybox-static): a container has no libraries"
    return ""


pytestmark = pytest.mark.skipif(bool(_lacking()), reason=_lacking() or "all is there")

CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]


class Box:
    """A bundle, a root and the program."""

    def __init__(self, base: Path) -> None:
        self.identifier = f"t{uuid.uuid4().hex[:12]}"
        self.root = base / "root"
        self.bundle = base / "bundle"
        self.log = base / "log.json"
        programs = self.bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(str(BUSYBOX), programs / "busybox")
        for name in ("sh", "cat", "sleep", "ls", "id", "tty", "grep", "true", "env"):
            (programs / name).symlink_to("busybox")
        self.cgroup = f"/sixhops-test-{self.identifier}"
        self.config = {
            "ociVersion": "1.0.2",
            "process": {
                "args": ["sh", "-c", "echo hello"],
                "cwd": "/",
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            },
            "root": {"path": "rootfs"},
            "hostname": "box",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {
                    "destination": "/dev",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["nosuid", "mode=755"],
                },
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666"],
                },
            ],
            "linux": {
                "cgroupsPath": self.cgroup,
                "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc")],
                "maskedPaths": ["/proc/kcore", "/proc/acpi"],
                "readonlyPaths": ["/proc/sys"],
            },
        }

    def runc(self, command: str, *words: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        self.log.unlink(missing_ok=True)
        line = [sys.executable, "-m", "sixhops.runc", "--root", str(self.root), "--log", str(self.log)]
        done = subprocess.run(
            [*line, "--log-format", "json", command, *words],
            stdin=subprocess.DEVNULL,
            capture_output="stdout" not in options,
            text=True,
            timeout=30,
            check=False,
            **options,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def create(self, **options):
        return self.runc("create", "--bundle", str(self.bundle), self.identifier, **options)

    def run(self, *args: str, **options):
        if args:
            self.config["process"]["args"] = list(args)
        return self.runc("run", "--bundle", str(self.bundle), self.identifier, **options)

    def start(self):
        return self.runc("start", self.identifier)

    def state(self) -> dict:
        return json.loads(self.runc("state", self.identifier).stdout)

    def logged(self) -> dict:
        return json.loads(self.log.read_text().splitlines()[-1])

    def leftovers(self) -> list[str]:
        groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup.strip('/')}")]
        states = [str(path) for path in self.root.glob("*")] if self.root.exists() else []
        mounts = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.bundle) in line
        ]
        return groups + states + mounts


@pytest.fixture
def box():
    # Not pytest's own directory: a user namespace's root must be able to pass through it.
    with tempfile.TemporaryDirectory(prefix="sixhops-") as directory:
        Path(directory).chmod(0o755)
        box = Box(Path(directory))
        yield box
        box.runc("delete", "--force", box.identifier)
        assert box.leftovers() == []


def wait_end(pid: int) -> None:
    process = open_process(pid)
    poller = select.poll()
    poller.register(process, select.POLLIN)
    assert poller.poll(10_000), f"process {pid} did not end within 10 s"
    os.close(process)


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


def test_interpreter_of_a_waiting_container_is_unwritable(box):
    """CVE-2019-5736: what waits inside must not hand out a writable way to the host's binary."""
    box.create(stdout=subprocess.DEVNULL)
    pid = box.state()["pid"]

    # Opening it says only ETXTBSY as long as any interpreter runs; what counts is the mount that it lies on.
    sealed_mount = os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
    assert sealed_mount or str(Path(f"/proc/{pid}/exe").readlink()).startswith("/memfd:")


def test_waiting_container_has_no_host_descriptor(box):
    """CVE-2024-21626: descriptors of the host's directories are the way out."""
    box.create(stdout=subprocess.DEVNULL)
    pid = box.state()["pid"]

    seen = {entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir() if int(entry.name) > 2}

    assert seen == {"exec.fifo"}


@pytest.mark.parametrize("number", range(3, 12))
def test_working_directory_through_a_descriptor_is_refused(box, number):
    box.config["process"]["cwd"] = f"/proc/self/fd/{number}"

    done = box.create(check=False)

    assert done.returncode == 1
    assert box.leftovers() == []


def test_mount_target_behind_an_escaping_link_stays_inside(box, tmp_path):
    """CVE-2021-30465: a link in the image must not move a mount to the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (box.bundle / "rootfs/data").symlink_to(f"/../../../../../../..{outside}")
    box.config["mounts"].append({"destination": "/data/in", "type": "tmpfs", "source": "tmpfs"})

    box.run("grep", "/in ", "/proc/self/mountinfo")

    assert list(outside.iterdir()) == []


def test_user_namespace(box):
    for name in ("proc", "dev"):
        (box.bundle / "rootfs" / name).mkdir()
    box.config["linux"]["namespaces"].append({"type": "user"})
    box.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    box.config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}]

    done = box.run("sh", "-c", "id -u; cat /proc/self/uid_map")

    assert done.stdout.split() == ["0", "0", "100000", "1000"]


def test_seccomp_filter_is_in_force(box):
    box.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }

    done = box.run("sh", "-c", "busybox mkdir /tmp; grep Seccomp: /proc/self/status", check=False)

    assert "Operation not supported" in done.stderr
    assert done.stdout == "Seccomp:\t2\n"


def test_killed_create_can_be_removed(box, tmp_path):
    """A runtime that dies in the middle of its work leaves a record by which `delete --force` removes the rest."""
    fifo = tmp_path / "hook"
    os.mkfifo(fifo)
    box.config["hooks"] = {
        "prestart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {fifo}; sleep 100"]}]
    }
    (box.bundle / "config.json").write_text(json.dumps(box.config))
    line = [
        sys.executable,
        "-m",
        "sixhops.runc",
        "--root",
        str(box.root),
        "create",
        "--bundle",
        str(box.bundle),
    ]
    with subprocess.Popen(
        [*line, box.identifier], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as creator:
        with fifo.open() as reader:
            reader.read()
        children = Path(f"/proc/{creator.pid}/task/{creator.pid}/children").read_text().split()
        creator.kill()
    for child in children:
        if (
            Path(f"/proc/{child}/comm").read_text() == "sleep\n"
            or "sh" in Path(f"/proc/{child}/comm").read_text()
        ):
            os.kill(int(child), 9)

    box.runc("delete", "--force", box.identifier)

    assert box.leftovers() == []


def test_create_that_was_killed_before_there_was_a_process_can_be_removed(box):
    container = state.Container(str(box.root), box.identifier)
    os.close(state.claim(container.root, container.identifier))
    container.groups = container_groups(read_layout(), f"/{box.identifier}")
    state.save(container)
    control.create(container.groups)

    assert state.load(container.root, container.identifier).status() == "creating"
    assert "container not running" in box.runc("kill", box.identifier, "KILL", check=False).stderr
    box.runc("delete", "--force", box.identifier)

    assert not control.exists(container.groups)
    assert box.leftovers() == []


def test_idmapped_bind_mount_shows_mapped_owners(box, tmp_path):
    source = box.bundle.parent / "source"
    source.mkdir()
    os.chown(source, 0, 0)
    mapping = [{"containerID": 0, "hostID": 5000, "size": 1}]
    box.config["mounts"].append(
        {
            "destination": "/mapped",
            "type": "bind",
            "source": str(source),
            "options": ["bind", "idmap"],
            "uidMappings": mapping,
            "gidMappings": mapping,
        }
    )

    done = box.run("busybox", "stat", "-c", "%u:%g", "/mapped", check=False)

    if "mount_setattr: invalid argument" in done.stderr:
        pytest.skip("needs a filesystem with idmapped mounts below the temporary directory")
    assert done.stdout == "5000:5000\n"


def test_mounts_on_the_host_go_with_the_container(box):
    box.config["process"]["args"] = ["sleep", "100"]
    box.config["linux"] = {
        "cgroupsPath": box.cgroup,
        "namespaces": [{"type": "uts"}, {"type": "pid"}, {"type": "ipc"}],
    }

    box.create(stdout=subprocess.DEVNULL)
    during = [line for line in box.leftovers() if "/proc " in line]
    box.runc("delete", box.identifier)

    assert len(during) == 1
    assert box.leftovers() == []


def test_failed_create_takes_its_mounts_from_the_host(box):
    box.config["linux"] = {"cgroupsPath": box.cgroup, "namespaces": [{"type": "uts"}]}
    box.config["process"]["args"] = ["/nosuch"]

    assert box.create(check=False).returncode == 1
    assert box.leftovers() == []


def test_filter_that_knows_none_of_the_newer_calls(box):
    # as profiles from before these calls: whatever the runtime needs after it was loaded must do without
    refused = ["faccessat2", "close_range", "openat2", "clone3", "pidfd_open", "statx"]
    box.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": refused, "action": "SCMP_ACT_ERRNO"}],
    }

    for strict in (True, False):
        box.config["process"]["noNewPrivileges"] = strict
        assert box.run("sh", "-c", "echo through").stdout == "through\n"


def test_shifted_clock(box):
    box.config["linux"]["namespaces"].append({"type": "time"})
    box.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000_000}}

    done = box.run("cat", "/proc/uptime")

    assert float(done.stdout.split()[0]) > 1_000_000_000


def test_masking_never_uses_a_null_device_that_is_none(box):
    # CVE-2025-31133: with another file in /dev/null's place, that file would show through
    (box.bundle / "rootfs/dev").mkdir()
    (box.bundle / "rootfs/dev/null").symlink_to("/etc/secret")
    box.config["mounts"] = [box.config["mounts"][0]]

    done = box.run("true", check=False)

    assert done.returncode == 1
    assert box.leftovers() == []


def test_scheduling(box):
    box.config["process"] |= {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 3},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    }

    done = box.run("sh", "-c", "grep -E '^(policy|prio)' /proc/self/sched; cut -d' ' -f19,41 /proc/self/stat")

    assert done.stdout.splitlines()[-1] == "3 3"  # niceness; SCHED_BATCH


def test_agent_answers_for_a_filter(box):
    path = tempfile.mktemp(prefix="sixhops-agent-")
    box.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "for the agent",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    }
    told = {}

    def answer(listener):
        peer, _ = listener.accept()
        with peer:
            name, notified = receive_descriptor(peer.fileno())
        told.update(json.loads(name))
        request = bytearray(80)  # struct seccomp_notif
        fcntl.ioctl(notified, 0xC0502100, request)
        (number,) = struct.unpack_from("Q", request)
        fcntl.ioctl(notified, 0xC0182101, struct.pack("QqiI", number, 0, -errno.ENOSPC, 0))
        os.close(notified)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        agent = threading.Thread(target=answer, args=(listener,))
        agent.start()
        done = box.run("sh", "-c", "busybox mkdir /new; echo $?", check=False)
        agent.join(20)
    Path(path).unlink()

    assert done.stdout == "1\n"
    assert "No space left on device" in done.stderr
    assert (told["metadata"], told["fds"]) == ("for the agent", ["seccompFd"])
    assert told["state"]["id"] == box.identifier


def test_exec_on_some_processors(box):
    box.config["process"]["args"] = ["sleep", "100"]
    box.runc("run", "-d", "-b", str(box.bundle), box.identifier, stdout=subprocess.DEVNULL)
    process = {"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]}
    file = box.bundle / "process.json"
    file.write_text(json.dumps({**process, "execCPUAffinity": {"initial": "0", "final": "0"}}))

    assert box.runc("exec", "-p", str(file), box.identifier).stdout == "Cpus_allowed_list:\t0\n"


def test_start_container_hook_runs_inside(box):
    box.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /told"], "env": ["PATH=/bin"]}]
    }

    box.run("true")
    told = json.loads((box.bundle / "rootfs/told").read_text())

    assert (told["status"], told["pid"], told["id"]) == ("created", 1, box.identifier)
