"""A container of busybox, made by the program as a shim makes it, for tests on the real kernel."""

import json
import os
import select
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from sixhops.linux.pidfd import open_process

BUSYBOX = shutil.which("busybox")


def lacking() -> str:
    """Return what the machine lacks for such tests; empty when nothing."""
    if os.geteuid() != 0:
        return "needs root: makes namespaces, mounts and control groups"
    if BUSYBOX is None:
        return "needs busybox (busybox-static) for the container's programs"
    if b"INTERP" in subprocess.run(["readelf", "-l", BUSYBOX], capture_output=True, check=False).stdout:
        return "needs a static busybox (busybox-static): a container has no libraries"
    return ""


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


def wait_end(pid: int) -> None:
    process = open_process(pid)
    poller = select.poll()
    poller.register(process, select.POLLIN)
    assert poller.poll(10_000), f"process {pid} did not end within 10 s"
    os.close(process)
