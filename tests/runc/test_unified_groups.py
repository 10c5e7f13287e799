"""Containers on a machine that has version 2 of control groups and nothing else.

Such a machine is made of any: a mount namespace whose /sys/fs/cgroup is the unified hierarchy. What controllers it has there
depends on the kernel; the core (freezing, killing, devices by BPF) is always there.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

BUSYBOX = shutil.which("busybox")
READY = "mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && echo ready && cat"


def _lacking() -> str:
    if os.geteuid() != 0:
        return "needs root: makes namespaces, mounts and control groups"
    if BUSYBOX is None:
        return "needs busybox (busybox-static) for the container's programs"
    if b"INTERP" in subprocess.run(["readelf", "-l", BUSYBOX], capture_output=True, check=False).stdout:
        return "needs a static busybox (busybox-static): a container has no libraries"
    if "cgroup2" not in Path("/proc/filesystems").read_text():
        return "needs a kernel with version 2 of control groups"
    return ""


pytestmark = pytest.mark.skipif(bool(_lacking()), reason=_lacking() or "all is there")


class Machine:
    """The namespace, a bundle and the program."""

    def __init__(self, base: Path, holder: int) -> None:
        self.identifier = f"u{uuid.uuid4().hex[:12]}"
        self.group = f"sixhops-test-{self.identifier}"
        self.base = base
        self.holder = holder
        programs = base / "bundle/rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(str(BUSYBOX), programs / "busybox")
        for name in ("sh", "cat", "sleep", "true", "mknod"):
            (programs / name).symlink_to("busybox")
        self.config = {
            "ociVersion": "1.0.2",
            "process": {
                "args": ["sleep", "100"],
                "cwd": "/",
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            ],
            "linux": {
                "cgroupsPath": f"/{self.group}",
                "namespaces": [{"type": kind} for kind in ("mount", "network", "pid", "ipc", "cgroup")],
            },
        }

    def inside(self, *words: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        line = ["nsenter", "--target", str(self.holder), "--mount", *words]
        done = subprocess.run(
            line, capture_output="stdout" not in options, text=True, timeout=30, check=False, **options
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def runc(self, *words: str, **options) -> subprocess.CompletedProcess:
        (self.base / "bundle/config.json").write_text(json.dumps(self.config))
        program = [sys.executable, "-m", "sixhops.runc", "--root", str(self.base / "root")]
        return self.inside(*program, *words, **options)

    def start(self) -> None:
        self.runc(
            "run",
            "--detach",
            "--bundle",
            str(self.base / "bundle"),
            self.identifier,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def exec_(self, command: str) -> subprocess.CompletedProcess:
        return self.runc("exec", self.identifier, "sh", "-c", command, check=False)

    def status(self) -> str:
        return json.loads(self.runc("state", self.identifier).stdout)["status"]

    def control(self, name: str) -> str:
        return self.inside("cat", f"/sys/fs/cgroup/{self.group}/{name}").stdout.strip()


@pytest.fixture
def machine():
    with (
        tempfile.TemporaryDirectory(prefix="sixhops-") as directory,
        subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", READY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder,
    ):
        assert holder.stdout.readline() == "ready\n"
        machine = Machine(Path(directory), holder.pid)
        yield machine
        machine.runc("delete", "--force", machine.identifier)
        assert machine.inside("ls", "/sys/fs/cgroup").stdout.split().count(machine.group) == 0
        holder.stdin.close()


def test_life_in_the_unified_hierarchy(machine):
    machine.start()

    assert machine.status() == "running"
    assert len(machine.control("cgroup.procs").split()) == 1
    assert "0::/\n" in machine.exec_("cat /proc/self/cgroup").stdout
    machine.runc("pause", machine.identifier)
    assert (machine.status(), machine.control("cgroup.freeze")) == ("paused", "1")
    machine.runc("resume", machine.identifier)
    assert machine.status() == "running"
    assert len(json.loads(machine.runc("ps", "--format", "json", machine.identifier).stdout)) == 1
    stats = json.loads(machine.runc("events", "--stats", machine.identifier).stdout)["data"]
    assert stats["cpu"]["usage"]["total"] > 0
    assert set(stats["memory"]) >= {"usage", "swap", "kernel", "kernelTCP"}


def test_a_container_sees_its_own_group_only(machine):
    machine.start()

    seen = machine.exec_("cat /sys/fs/cgroup/cgroup.procs; echo 1 > /sys/fs/cgroup/cgroup.freeze")

    assert seen.stdout.split()[0] == "1"
    assert "Read-only file system" in seen.stderr


def test_without_a_namespace_of_groups_it_sees_them_all(machine):
    machine.config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "network", "pid", "ipc")]
    machine.start()

    (line,) = [
        line
        for line in machine.exec_("cat /proc/self/mountinfo").stdout.splitlines()
        if " - cgroup2 " in line
    ]
    # the root of the hierarchy, mounted anew
    assert line.split()[3:6] == ["/", "/sys/fs/cgroup", "ro,relatime"]
    assert machine.exec_("cat /proc/self/cgroup").stdout.endswith(f"0::/{machine.group}\n")
    assert machine.exec_(f"cat /sys/fs/cgroup/{machine.group}/cgroup.procs").stdout.split()[0] == "1"


def test_device_rules_become_a_program(machine):
    machine.config["linux"] |= {
        "devices": [{"path": "/dev/given", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}],
        "resources": {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"},
            ]
        },
    }
    machine.start()

    assert machine.exec_("echo x > /dev/null").returncode == 0
    assert machine.exec_("true < /dev/given").returncode != 0  # /dev/kmsg: to be written and not read
    assert machine.exec_("true > /dev/given").returncode == 0


def test_huge_pages(machine):
    sizes = [
        name for name in machine.inside("ls", "/sys/fs/cgroup").stdout.split() if name == "hugetlb.2MB.max"
    ]
    controllers = machine.inside("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
    if "hugetlb" not in controllers:
        pytest.skip(f"needs the hugetlb controller in the unified hierarchy, which has {controllers} {sizes}")
    machine.config["linux"]["resources"] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}
    machine.start()

    assert machine.control("hugetlb.2MB.max") == "4194304"
    stats = json.loads(machine.runc("events", "--stats", machine.identifier).stdout)["data"]
    assert stats["hugetlb"]["2MB"] == {"failcnt": 0}


def test_unified_resources_that_are_none(machine):
    machine.config["linux"]["resources"] = {"unified": {"nosuch.max": "1"}}

    done = machine.runc("create", "--bundle", str(machine.base / "bundle"), machine.identifier, check=False)

    assert done.returncode == 1
    assert f"open /sys/fs/cgroup/{machine.group}/nosuch.max: no such file or directory" in done.stderr


def test_kill_all_at_once(machine):
    machine.config["process"]["args"] = ["sh", "-c", "sleep 100 & sleep 100 & wait"]
    machine.start()

    machine.runc("kill", "--all", machine.identifier, "KILL")
    machine.runc("delete", "--force", machine.identifier)

    assert machine.runc("state", machine.identifier, check=False).stderr.endswith(
        'msg="container does not exist"\n'
    )
