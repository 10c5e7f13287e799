"""Run the suite against a Debian guest: real Docker, and the reference stack, under systemd and control groups v2.

    .venv/bin/python -m ci.vm build            the disk (debootstrap; a minute)
    .venv/bin/python -m ci.vm up               boot it, print how to reach it
    .venv/bin/python -m ci.vm suite [WORDS]    testinfra, the suite over ssh:// and over TLS, on real Docker and on ours,
                                               and checkpoints on stacks in the guest
    .venv/bin/python -m ci.vm down             power it off
    .venv/bin/python -m ci.vm all              all of that, and off again whatever happens

Everything is kept in $SIXHOPS_VM, else ./vm. WORDS go to pytest instead of the chosen scenarios (scenarios.txt).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ci.vm.image import build
from ci.vm.machine import Machine, boot, running, stop

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
}

#: The walkthrough, and some of each folder that a machine elsewhere can show: what differs with systemd and with v2.
SCENARIOS = (REPOSITORY / "ci/vm/scenarios.txt").read_text().split()
#: What only shows on the hops within a stack, which is started in the guest, by `sixhops run` there.
INSIDE = (REPOSITORY / "ci/vm/inside.txt").read_text().split()
#: Debian's own programs pass them as well (`upstream,registry=reference`), which takes a minute more.
STACKS = ("reference",)
#: On TCG a minute, or several where the host has other things to do.
INSIDE_SECONDS = 900.0


def main(argv: list[str]) -> int:
    """Do what the module says; return the exit status."""
    command, words = (argv[0] if argv else "all"), argv[1:]
    work = Path(os.environ.get("SIXHOPS_VM") or REPOSITORY / "vm").absolute()
    if command not in {"build", "up", "suite", "down", "all"}:
        sys.stderr.write(f"vm: no such command: {command}\n{__doc__}")
        return 2
    if command != "down":
        _install()
        _step("disk")
        build(work, REPOSITORY)
    if command == "build":
        return 0
    machine = running(work)
    if command == "down":
        if machine is not None:
            stop(machine)
        return 0
    if machine is None:
        _step("boot")
        machine = boot(work)
        sys.stdout.write(f"up with {machine.accelerator}\n")
    if command == "up":
        sys.stdout.write(
            f"ssh -F {machine.ssh_config} vm\n"
            f"SIXHOPS_SSH_CONFIG={machine.ssh_config} .venv/bin/pytest conformance/ --target ssh://vm\n"
            f"DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={work}/certs .venv/bin/pytest conformance/ "
            f"--target tcp://127.0.0.1:{machine.tls_port}\n"
        )
        return 0
    try:
        return suite(machine, words)
    finally:
        if command == "all":
            _step("off")
            stop(machine)


def suite(machine: Machine, words: list[str]) -> int:
    """Run what is to be seen in the guest, on real Docker and then on the reference; return how many runs failed."""
    environment = {**os.environ, "SIXHOPS_SSH_CONFIG": str(machine.ssh_config)}
    tls = {**environment, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(machine.work / "certs")}
    chosen = words or SCENARIOS
    # Beside the disk: while this takes its time the checkout's results/ may get runs of others, whose newest is asked for.
    results = machine.work / "results" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    failed = 0
    _step("the machine itself, by testinfra")
    failed += _pytest(
        environment, "ci/vm/test_guest.py", "--hosts=ssh://vm", f"--ssh-config={machine.ssh_config}"
    )
    _step("real Docker over ssh")
    failed += _pytest(environment, f"--results={results}/upstream", "--target", "ssh://vm", *chosen)
    _step("real Docker over TLS")
    failed += _pytest(
        tls,
        "conformance/",
        f"--results={results}/tls",
        "--target",
        f"tcp://127.0.0.1:{machine.tls_port}",
        "-m",
        "walkthrough",
    )
    _step("the reference stack over ssh")
    _switch(machine)
    failed += _pytest(
        environment, f"--results={results}/reference", "--target", "ssh://vm/run/sixhops/docker.sock", *chosen
    )
    for target in () if words else STACKS:
        _step(f"checkpoints, on a stack in there: {target}")
        failed += not inside(machine, target)
    return failed


def inside(machine: Machine, target: str) -> bool:
    """Run INSIDE on a stack that is started in the guest; return whether all were judged there, and as expected.

    What `sixhops run` said is printed where not.
    """
    line = f"sixhops run --target {target} --results /root/{target} {' '.join(INSIDE)}"
    try:
        done = machine.ssh(line, timeout=INSIDE_SECONDS)
    except subprocess.TimeoutExpired as error:
        sys.stdout.write(f"{error}\n")
        return False
    ended = re.findall(r"^  (\w+) in [\d.]+ s$", done.stdout, re.MULTILINE)
    good = done.returncode == 0 and len(ended) == len(INSIDE) and set(ended) <= {"passed", "known"}
    said = ", ".join(ended) if good else f"{done.stdout}{done.stderr}ended with {done.returncode}"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    return good


def _switch(machine: Machine) -> None:
    """Stop real Docker in the guest and start the reference stack; return when its engine answers."""
    machine.ssh(
        "systemctl stop docker.socket docker.service containerd.service; systemctl start sixhops.service"
    )
    deadline = time.monotonic() + 600
    while machine.ssh("docker --host unix:///run/sixhops/docker.sock version", timeout=180).returncode != 0:
        if time.monotonic() > deadline:
            log = machine.ssh("journalctl -n 30 --no-pager -u sixhops -u sixhops-containerd").stdout
            raise SystemExit(f"the reference stack did not come up in the guest:\n{log}")
        time.sleep(1)  # the guest's engine is awaited from outside, by asking


def _pytest(environment: dict[str, str], *words: str) -> int:
    return int(
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *words], env=environment, cwd=REPOSITORY, check=False
        ).returncode
        != 0
    )


def _install() -> None:
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})
    if missing:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _step(name: str) -> None:
    sys.stdout.write(f"\n== vm: {name}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
