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
from dataclasses import dataclass, field
from pathlib import Path

QEMU = "qemu-system-x86_64"
_BARE = ("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot")
_BANNER = b"Linux version"
_SSH_PORT, _TLS_PORT = 22, 2376
#: A guest that starts prints: the kernel what it finds, systemd each unit, and every second for which one it waits. On a
#: machine with a load of 30 the lines come slowly, so what counts is that there are more of them.
SILENCE = 300.0
#: No start takes longer than this; a guest that prints for ever has an end, too.
LONGEST = 2400.0


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
            self.command(command),
            capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def command(self, line: str) -> list[str]:
        """Return the command that runs a command line in the guest."""
        return ["ssh", "-F", str(self.ssh_config), "vm", line]

    def running(self) -> bool:
        """Return whether the process is there, and no zombie."""
        return _state(self.pid) not in {"", "Z"}


def accelerator(work: Path) -> str:
    """Return `kvm` when a guest kernel prints its banner with it, else `tcg,thread=single`.

    With a thread for each processor TCG is a fifth faster, but a kernel that patches its own code panics now and then (int3
    in __schedule or sched_clock_cpu): one processor still runs what the other one has replaced. Linux patches at its
    start, and when the first breakpoint of the hardware is set or the last one goes, as CRIU does.
    """
    if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(work, "kvm", 15):
        return "kvm"
    return "tcg,thread=single"


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


@dataclass(slots=True)
class Progress:
    """Whether a guest that starts still gets on: it does while its console's log grows.

    `silence`: for how many seconds it may print nothing; `longest`: how many its whole start may take. Times are those that
    the caller has from one clock.
    """

    console: Path
    began: float
    silence: float = SILENCE
    longest: float = LONGEST
    _size: int = 0
    _grown: float = field(init=False)

    def __post_init__(self) -> None:
        self._grown = self.began

    def stuck(self, now: float) -> str:
        """Return why waiting is futile by now; nothing while it is not."""
        size = self.console.stat().st_size if self.console.exists() else 0
        if size != self._size:
            self._size, self._grown = size, now
        if now - self._grown >= self.silence:
            return f"it printed nothing for {self.silence:g} s"
        if now - self.began >= self.longest:
            return f"it was not up within {self.longest:g} s"
        return ""


def boot(work: Path, *, memory: int = 2048) -> Machine:
    """Boot a fresh copy of the disk; return when ssh lets us in and systemd says that its start is over.

    Raises SystemExit with the end of the serial log when the guest ends, or no longer gets on (`Progress`).
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
        "-append", "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off systemd.show_status=true",
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
        await_up(machine, Progress(serial, time.monotonic()))
    except BaseException:
        stop(machine)
        raise
    return machine


def await_up(machine: Machine, progress: Progress, pause: float = 1.0) -> None:
    """Ask the guest, with a pause (seconds), until systemd says that its start is over. Raises SystemExit as `boot` does."""
    said, why = "", ""
    while not why:
        if not machine.running():
            why = "qemu ended"
            break
        with subprocess.Popen(
            machine.command("systemctl is-system-running --wait"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as asked:  # fmt: skip
            while asked.poll() is None and not why:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    asked.wait(0.5)
                why = progress.stuck(time.monotonic())
            if asked.poll() is None:
                asked.kill()
            output, errors = asked.communicate()
        said = output.strip() or errors.strip() or said
        # `degraded`: up, but a unit failed, which what follows will tell of if it matters
        if said in {"running", "degraded"}:
            return
        time.sleep(0 if why else pause)  # ssh refuses until sshd listens; there is nothing to wait on
    console = progress.console
    tail = console.read_text(errors="replace")[-2000:] if console.exists() else ""
    raise SystemExit(f"the guest did not start: {why} (it said {said!r}); its console ends with:\n{tail}")


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
