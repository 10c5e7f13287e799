"""Real containers: what they can't reach, what a broken create leaves, and what newer kernels offer. As test_containers."""

import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from boxed import lacking

from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.layout import container_groups, read_layout
from sixhops.linux.terminal import receive_descriptor
from sixhops.runc.lifecycle import state

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "all is there")


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
