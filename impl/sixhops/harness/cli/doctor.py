"""`sixhops doctor`: what this machine lacks, for the suite, for the reference stack and for upstream's."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.errors import ScenarioError, UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["PURPOSES", "Check", "check_cgroups", "check_programs", "doctor", "lacking"]

PURPOSES = ("suite", "reference", "upstream")
_STACKS = ("reference", "upstream")

# The usual soft limit of a login; a stack with ten running containers was seen to work with it.
_DESCRIPTORS = 1024
_PROBE_TIMEOUT = 60.0

# What runc and dockerd put containers under; on version 1 devices and freezer are controllers as well, on version 2
# they are part of the kernel.
_CONTROLLERS_1 = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
_CONTROLLERS_2 = ("cpu", "cpuset", "io", "memory", "pids")

_TRIALS = {
    "namespaces": ("namespaces", "a kernel and a container runtime that let root unshare (CAP_SYS_ADMIN)"),
    "overlay": (
        "overlayfs",
        "SIXHOPS_STATE=DIRECTORY on ext4 or xfs, not itself on an overlay; modprobe overlay",
    ),
    "links": ("bridge and veth", "apt-get install iproute2; modprobe bridge veth"),
    "rules": ("iptables", "apt-get install iptables; modprobe nf_nat nf_conntrack xt_addrtype"),
    "seccomp": ("seccomp", "a kernel with CONFIG_SECCOMP_FILTER"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is there or not.

    `found`: what is there, or what is wrong with it. `remedy`: how to get it, "" when it is there. `needed_for`:
    some of PURPOSES.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed_for: tuple[str, ...] = PURPOSES


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks to run stacks, and how to get it.

    Exit code 0 when `make run` can work here, else 1.
    """
    from sixhops.harness.plugin import DEFAULT_TARGET
    from sixhops.harness.stack.programs import parse_stack

    checks = list(_checks())
    wanted = {"suite", *parse_stack(DEFAULT_TARGET).values()}
    ready = not any(lacking(checks, purpose) for purpose in wanted)
    if as_json:
        summary = {purpose: [check.name for check in lacking(checks, purpose)] for purpose in PURPOSES}
        click.echo(
            json.dumps(
                {"ready": ready, "lacking": summary, "checks": [asdict(check) for check in checks]}, indent=1
            )
        )
        return Exit.OK if ready else Exit.FAILED
    for check in checks:
        sign = click.style("ok     ", fg="green") if check.ok else click.style("missing", fg="red")
        click.echo(
            f"{sign}  {check.name}: {check.found}" + (f"; get it: {check.remedy}" if check.remedy else "")
        )
    click.echo()
    for purpose in PURPOSES:
        names = ", ".join(check.name for check in lacking(checks, purpose))
        click.echo(f"{purpose}: {f'lacks {names}' if names else 'ready'}")
    click.echo(f"`make run` (on {DEFAULT_TARGET}) {'can work here' if ready else 'cannot work here yet'}")
    return Exit.OK if ready else Exit.FAILED


def lacking(checks: Iterable[Check], purpose: str) -> list[Check]:
    """Return what is missing for one of PURPOSES."""
    return [check for check in checks if not check.ok and purpose in check.needed_for]


def _checks() -> Iterator[Check]:
    root = os.geteuid() == 0
    yield Check(
        "root",
        root,
        "yes" if root else f"user {os.geteuid()}",
        "" if root else "sudo, or a root shell",
        _STACKS,
    )
    yield from _kernel(root=root)
    yield check_cgroups(_mounted_controllers())
    yield _libseccomp()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    enough = hard == resource.RLIM_INFINITY or hard >= _DESCRIPTORS
    yield Check(
        "file descriptors",
        enough,
        "without limit" if hard == resource.RLIM_INFINITY else f"{hard} for a process",
        "" if enough else f"ulimit -Hn {_DESCRIPTORS}, before the shell's start",
    )
    yield from _image_tools()
    yield from check_programs()


def _kernel(*, root: bool) -> Iterator[Check]:
    from sixhops.harness.stack.state import base_directory

    if not root:
        results: Mapping[str, str] = dict.fromkeys(_TRIALS, "only root can try it")
        where = ""
    else:
        try:
            base = base_directory()
            base.mkdir(parents=True, exist_ok=True)
        except (UsageError, OSError) as error:
            yield Check("state directory", False, str(error), "SIXHOPS_STATE=DIRECTORY that can be written")
            return
        where = f" on {base}"
        results = _probe(base)
    for key, (name, remedy) in _TRIALS.items():
        wrong = results[key]
        shown = f"{name}{where}" if key == "overlay" else name
        yield Check(shown, not wrong, wrong or f"works{_release(key)}", remedy if wrong else "", _STACKS)


def _release(key: str) -> str:
    return f" (Linux {platform.release()})" if key == "namespaces" else ""


def _probe(base: Path) -> Mapping[str, str]:
    """Run the trials in a process of their own, which takes its namespaces with it."""
    command = [sys.executable, "-P", "-m", "sixhops.harness.stack.probe", str(base)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=False)
        results: Mapping[str, str] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return dict.fromkeys(_TRIALS, "the trial itself did not end as it should")
    return results


def _mounted_controllers() -> tuple[str, frozenset[str]]:
    """Return which kind of control groups is mounted (v1, v2, hybrid, or "") and all controllers."""
    from sixhops.linux.cgroups.layout import read_layout

    layout = read_layout()
    names = {name for hierarchy in layout.version1 for name in hierarchy.controllers}
    if layout.unified is not None:
        file = Path(layout.unified.mountpoint) / "cgroup.controllers"
        names.update(file.read_text().split() if file.exists() else ())
    kind = ("hybrid" if layout.unified else "v1") if layout.version1 else ("v2" if layout.unified else "")
    return kind, frozenset(names)


def check_cgroups(mounted: tuple[str, frozenset[str]]) -> Check:
    """Judge the kind of control groups and the controllers that are there."""
    kind, names = mounted
    if not kind:
        return Check("cgroups", False, "not mounted", "mount -t cgroup2 none /sys/fs/cgroup", _STACKS)
    wanted = _CONTROLLERS_2 if kind == "v2" else _CONTROLLERS_1
    missing = [name for name in wanted if name not in names]
    if missing:
        return Check(
            "cgroups",
            False,
            f"{kind}, without {', '.join(missing)}",
            "mount them, or boot without cgroup_disable; in a container: delegate them to it",
            _STACKS,
        )
    return Check("cgroups", True, f"{kind} with {', '.join(wanted)}", needed_for=_STACKS)


def _libseccomp() -> Check:
    from sixhops.linux.seccomp import LibraryMissingError, library_version

    try:
        return Check("libseccomp", True, library_version(), needed_for=("reference",))
    except LibraryMissingError as error:
        return Check("libseccomp", False, str(error), "apt-get install libseccomp2", ("reference",))


def _image_tools() -> Iterator[Check]:
    """Try the programs that images are made with: busybox, and a compiler that can link statically."""
    from sixhops.harness.images import Toolbox

    with tempfile.TemporaryDirectory() as scratch:
        # A cache of its own, so that the compiler is really tried.
        toolbox = Toolbox(Path(scratch))
        for program, name, remedy in (
            ("busybox", "static busybox", "apt-get install busybox-static"),
            ("probe", "C compiler", "apt-get install gcc libc6-dev"),
        ):
            try:
                found = toolbox.path(program)
                shown = str(found) if program == "busybox" else "links static programs"
                yield Check(name, True, shown, needed_for=("suite",))
            except (UsageError, ScenarioError) as error:
                yield Check(name, False, str(error).splitlines()[0], remedy, ("suite",))


def check_programs() -> Iterator[Check]:
    """Judge which programs of each origin are there."""
    from sixhops.harness.stack.programs import ROLES, find_reference, find_upstream

    lacks = [role.name for role in ROLES.values() if find_reference(role) is None]
    yield Check(
        "the reference's programs",
        not lacks,
        f"not there: {', '.join(lacks)}" if lacks else "all six",
        "a newer sixhops" if lacks else "",
        ("reference",),
    )
    for role in ROLES.values():
        found = find_upstream(role)
        # Only scenarios that use the client need it.
        needed = ("upstream",) if role.name != "docker" else ()
        remedy = "" if found else f"apt-get install {role.package} (or `make upstream`)"
        shown = f"upstream's {role.upstream}"
        yield Check(shown, found is not None, str(found or "not installed"), remedy, needed)
