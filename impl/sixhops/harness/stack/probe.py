"""Tries out what stacks need of the kernel: `python -m sixhops.harness.stack.probe DIRECTORY`, for `sixhops doctor`.

Everything is done for real, in namespaces of this process's own, so nothing can stay behind: a bridge and a veth
pair are made, an overlay is mounted below DIRECTORY, packet filter rules of the kinds that dockerd makes are added.

Prints a JSON object: the name of each trial to "" when it worked, else to what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.linux import loopback, mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TRIALS", "main"]

_BOUND = 10.0

# Of each kind that dockerd makes at its start, one: NAT, address types, connection tracking.
_RULES = (
    ("-t", "nat", "-A", "POSTROUTING", "-s", "172.17.0.0/16", "!", "-o", "docker0", "-j", "MASQUERADE"),
    ("-t", "nat", "-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "ACCEPT"),
    ("-A", "FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
)


def main() -> None:
    """Try everything; print what came out. argv[1]: a directory on the file system where stacks will be."""
    directory = Path(sys.argv[1])
    results = {}
    for name, trial in TRIALS.items():
        try:
            results[name] = trial(directory)
        except OSError as error:
            results[name] = error.strerror or str(error)
    sys.stdout.write(json.dumps(results))


def _namespaces(_directory: Path) -> str:
    # A pid namespace is tried by a child: it begins with our next child, and ends, for all later ones, with that.
    child = os.fork()
    if child == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWPID)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    _, status = os.waitpid(child, 0)
    if status:
        return f"pid namespace: {os.strerror(os.waitstatus_to_exitcode(status))}"
    # What the other trials happen in.
    namespaces.unshare(
        namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC
    )
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    loopback.bring_up()
    return ""


def _overlay(directory: Path) -> str:
    with tempfile.TemporaryDirectory(dir=directory) as name:
        scratch = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (scratch / part).mkdir()
        (scratch / "lower/file").write_text("below")
        options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
        mounts.mount("overlay", str(scratch / "merged"), "overlay", 0, options)
        try:
            (scratch / "merged/file").write_text("above")
            (scratch / "merged/file").unlink()  # a whiteout, which is a device node
        finally:
            mounts.unmount(str(scratch / "merged"))
    return ""


def _links(_directory: Path) -> str:
    program = shutil.which("ip")
    if program is None:
        return "no `ip` to try it with"
    for arguments in (
        ("link", "add", "doctor0", "type", "bridge"),
        ("link", "add", "doctor1", "type", "veth", "peer", "name", "doctor2"),
        ("link", "set", "doctor1", "master", "doctor0"),
    ):
        if wrong := _ask(program, *arguments):
            return f"ip {' '.join(arguments)}: {wrong}"
    return ""


def _rules(_directory: Path) -> str:
    program = shutil.which("iptables")
    if program is None:
        return "no `iptables`"
    for rule in _RULES:
        if wrong := _ask(program, "--wait", *rule):
            return f"iptables {' '.join(rule)}: {wrong}"
    return ""


def _seccomp(_directory: Path) -> str:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if not actions.exists() or "errno" not in actions.read_text():
        return "the kernel has no seccomp filters"
    return ""


def _ask(*argv: str) -> str:
    """Run a command; return "" or the last line that it complained with."""
    # xtables locks a file below /run, which may not be writable in a container.
    environment = {**os.environ, "XTABLES_LOCKFILE": "/dev/null"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_BOUND, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"not done within {_BOUND:g} s"
    return (
        ""
        if done.returncode == 0
        else (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    )


#: In this order: the first makes the place for the others.
TRIALS: dict[str, Callable[[Path], str]] = {
    "namespaces": _namespaces,
    "overlay": _overlay,
    "links": _links,
    "rules": _rules,
    "seccomp": _seccomp,
}


if __name__ == "__main__":
    main()
