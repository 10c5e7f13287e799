"""The guest as a process: which accelerator works, boot, wait for ssh, stop.

A /dev/kvm that exists may not work (nested virtualisation without the processor's support): qemu then hangs rather than
ends, so the accelerator is chosen by booting a guest kernel with it, and TCG is what is left.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"
_BARE = ("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot")
_BANNER = b"Linux version"
_SSH_PORT, _TLS_PORT = 22, 2376


@dataclass(frozen=True, slots=True)
class Machine:
    """A guest that runs: its process, and the ports of this host's loopback that lead to its ssh and its engine."""

    work: Path
    pid: int
    ssh_port: int
    tls_port: int
    accelerator: str

    @property
    def ssh_config(self) -> Path:
        """The settings with which ssh reaches the guest as `vm`."""
        return self.work / "ssh_config"

    def ssh(self, command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command line in the guest; raises TimeoutExpired."""
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), "vm", command],
            capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def running(self) -> bool:
        """Return whether the process is there, and no zombie."""
        return _state(self.pid) not in {"", "Z"}


def accelerator(work: Path) -> str:
    """Return `kvm` when a guest kernel prints its banner with it, else `tcg,thread=multi`."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(work, "kvm", 15):
        return "kvm"
    return "tcg,thread=multi"


def _boots(work: Path, name: str, bound: float) -> bool:
    log = work / "probe.log"
    log.unlink(missing_ok=True)
    command = [
        QEMU, "-accel", name, "-cpu", "max", "-m", "512", *_BARE, "-kernel", str(work / "vmlinuz"),
        "-append", "console=ttyS0 earlyprintk=serial panic=-1", "-serial", f"file:{log}",
    ]  # fmt: skip
    probe = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + bound
        while time.monotonic() < deadline and probe.poll() is None:
            if log.exists() and _BANNER in log.read_bytes():
                return True
            time.sleep(0.1)  # nobody tells when qemu has written to its log
        return False
    finally:
        probe.kill()
        probe.wait()


def boot(work: Path, *, memory: int = 2048, bound: float = 300) -> Machine:
    """Boot a fresh copy of the disk; return when ssh lets us in and systemd says that its start is over.

    Raises SystemExit with the end of the serial log when that takes more than `bound` seconds.
    """
    chosen = accelerator(work)
    disk = work / "running.img"
    subprocess.run(["cp", "--sparse=always", str(work / "disk.img"), str(disk)], check=True)
    ssh_port, tls_port = _free_ports(2)
    serial = work / "serial.log"
    serial.unlink(missing_ok=True)
    command = [
        QEMU, "-accel", chosen, "-cpu", "max", "-machine", "q35", "-m", str(memory), "-smp", "2", *_BARE,
        "-serial", f"file:{serial}", "-kernel", str(work / "vmlinuz"), "-initrd", str(work / "initrd"),
        "-append", "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off quiet",
        "-drive", f"file={disk},format=raw,if=none,id=d0,cache=unsafe", "-device", "virtio-blk-pci,drive=d0",
        "-netdev", f"user,id=n0,restrict=on,{_forward(ssh_port, _SSH_PORT)},{_forward(tls_port, _TLS_PORT)}",
        "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci",
    ]  # fmt: skip
    with (work / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    machine = Machine(work, process.pid, ssh_port, tls_port, chosen)
    _write_record(machine)
    try:
        _await(machine, serial, bound)
    except BaseException:
        stop(machine)
        raise
    return machine


def _await(machine: Machine, serial: Path, bound: float) -> None:
    deadline = time.monotonic() + bound
    said = ""
    while time.monotonic() < deadline:
        if not machine.running():
            break
        try:
            answer = machine.ssh(
                "systemctl is-system-running --wait", timeout=max(1, deadline - time.monotonic())
            )
        except subprocess.TimeoutExpired:
            break
        said = answer.stdout.strip() or answer.stderr.strip()
        # `degraded`: up, but a unit failed, which what follows will tell of if it matters
        if said in {"running", "degraded"}:
            return
        time.sleep(1)  # ssh refuses until sshd listens; there is nothing to wait on
    tail = serial.read_text(errors="replace")[-2000:] if serial.exists() else ""
    raise SystemExit(
        f"the guest was not up within {bound:g} s (it said {said!r}); its console ends with:\n{tail}"
    )


def running(work: Path) -> Machine | None:
    """Return the guest that `boot` left running in `work`, if it still does."""
    try:
        pid, ssh_port, tls_port, chosen = (work / "machine").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    machine = Machine(work, int(pid), int(ssh_port), int(tls_port), chosen)
    return machine if machine.running() and _is_ours(machine) else None


def stop(machine: Machine) -> None:
    """Power the guest off, in order if it lets us; then nothing of it is left but the disk that was built."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        machine.ssh("systemctl poweroff", timeout=30)
    subprocess.run(
        ["ssh", "-F", str(machine.ssh_config), "-O", "exit", "vm"], capture_output=True, check=False
    )
    deadline = time.monotonic() + 60
    while machine.running() and time.monotonic() < deadline:
        time.sleep(0.2)
    if machine.running():
        os.kill(machine.pid, signal.SIGKILL)
    for name in ("running.img", "machine", "ssh_config"):
        (machine.work / name).unlink(missing_ok=True)


def _write_record(machine: Machine) -> None:
    work = machine.work
    (work / "machine").write_text(
        f"{machine.pid} {machine.ssh_port} {machine.tls_port} {machine.accelerator}\n"
    )
    machine.ssh_config.write_text(
        "Host vm\n"
        "  HostName 127.0.0.1\n"
        f"  Port {machine.ssh_port}\n"
        "  User root\n"
        f"  IdentityFile {work / 'id_ed25519'}\n"
        "  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n"
        "  LogLevel ERROR\n"
        "  ConnectTimeout 30\n"
        "  ControlMaster auto\n"
        f"  ControlPath {work}/ctl\n"
        "  ControlPersist 60\n"
    )


def _is_ours(machine: Machine) -> bool:
    command = Path(f"/proc/{machine.pid}/cmdline").read_bytes()
    return str(machine.work / "running.img").encode() in command


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _forward(here: int, there: int) -> str:
    return f"hostfwd=tcp:127.0.0.1:{here}-:{there}"


def _free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody has. qemu takes them a little later, so they are below those that the
    kernel gives to whoever asks for any.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    possible = range(max(1024, first - 10_000), first) or range(1024, 1 << 16)
    found: list[int] = []
    for port in random.sample(possible, len(possible)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found
