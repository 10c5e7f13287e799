"""Which program fills each role of a stack: how a stack is named, where its programs are found.

Every program is swapped by name alone: a stack has a `bin` directory, first on the programs' PATH, that holds
the reference's programs under the names that the other programs look for. So dockerd starts what it takes for
`runc`, and nothing in anybody's configuration says which stack this is.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sixhops
from sixhops.harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sixhops.harness.stack.trees import Tree

__all__ = [
    "ROLES",
    "Role",
    "find_criu",
    "is_stack_name",
    "locate",
    "make_bin",
    "names_of",
    "parse_stack",
    "tree_word",
]

#: Where Docker's packages install; /usr/sbin is not on every user's PATH.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ORIGINS = ("reference", "upstream")


@dataclass(frozen=True, slots=True)
class Role:
    """One of the six programs.

    `upstream` is its name on PATH, and the name under which others start it; `package` is Debian's. The
    reference's program is the console script `script`, or else the package `module` below sixhops, run as
    `python -m`. `aliases` are further names under which the reference's program is looked for.
    """

    name: str
    upstream: str
    package: str
    script: str
    module: str
    aliases: tuple[str, ...] = ()


ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("docker", "docker", "docker.io", "sixhops-docker", "docker"),
        Role("dockerd", "dockerd", "docker.io", "sixhops-dockerd", "dockerd"),
        Role("registry", "docker-registry", "docker-registry", "sixhops-registry", "registry"),
        Role("containerd", "containerd", "containerd", "sixhops-containerd", "containerd"),
        Role(
            "shim",
            "containerd-shim-runc-v2",
            "containerd",
            "containerd-shim-sixhops-v1",
            "shim",
            aliases=("containerd-shim-sixhops-v1",),
        ),
        Role("runc", "runc", "runc", "sixhops-runc", "runc"),
    )
}


def is_stack_name(name: str) -> bool:
    """Tell whether `name` is meant as a stack, and not as an address of an endpoint."""
    return "://" not in name and name != "env" and not name.startswith("context:")


def parse_stack(name: str) -> dict[str, str]:
    """Return the origin of each role's program for `upstream`, `reference`, `upstream,runc=reference`, `upstream@TREE`.

    Raises UsageError that names the nearest word which exists.
    """
    first, *changes = name.split(",")
    if tree_word(name) is not None:
        if changes:
            raise UsageError(
                f"target {name!r} mixes a tree's programs with others, which its libraries don't allow"
            )
        return dict.fromkeys(ROLES, "upstream")
    if first not in ORIGINS:
        others = ["unix:///PATH", "tcp://HOST:PORT", "ssh://USER@HOST", "env", "context:NAME"]
        known = [*ORIGINS, "env"]
        raise UsageError(
            f"no such target: {first!r}{_nearest(first, known)}; a target is {', '.join(ORIGINS)}, "
            f"a mix such as 'upstream,runc=reference', another release as 'upstream@TREE', or {', '.join(others)}"
        )
    origins = dict.fromkeys(ROLES, first)
    seen: set[str] = set()
    for change in changes:
        role, equals, origin = change.partition("=")
        if not equals:
            raise UsageError(f"{change!r} in target {name!r} is not ROLE=ORIGIN, as in 'runc=reference'")
        if role not in ROLES:
            raise UsageError(
                f"no such role in target {name!r}: {role!r}{_nearest(role, ROLES)}; "
                f"roles are {', '.join(ROLES)}"
            )
        if origin not in ORIGINS:
            raise UsageError(f"no such origin in target {name!r}: {origin!r}{_nearest(origin, ORIGINS)}")
        if role in seen:
            raise UsageError(f"target {name!r} says twice where {role} comes from")
        seen.add(role)
        origins[role] = origin
    return origins


def tree_word(name: str) -> str | None:
    """Return what stands for the tree in `upstream@TREE`; None for a target without one."""
    first = name.partition(",")[0]
    return first.removeprefix("upstream@") if first.startswith("upstream@") else None


def locate(origins: Mapping[str, str], tree: Tree | None = None) -> dict[str, Path]:
    """Return the executable, or the reference package's __main__.py, for each role; with `tree`, the executables in it.

    The docker client is left out when upstream's is not installed: only scenarios that use it need it.
    Raises UsageError that names every missing program and says how to get it.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    packages: set[str] = set()
    for name, origin in origins.items():
        role = ROLES[name]
        path = find_upstream(role, tree) if origin == "upstream" else find_reference(role)
        if path is not None:
            found[name] = path
        elif origin == "reference":
            missing.append(f"the reference {name} ({role.script}) is not there yet")
        elif name != "docker":
            missing.append(f"{role.upstream} is not installed")
            packages.add(role.package)
    if (
        "upstream" in (origins["dockerd"], origins["runc"])
        and (tree.find("iptables", SYSTEM_PATH) if tree else shutil.which("iptables", path=_search_path()))
        is None
    ):
        missing.append("iptables is not installed")
        packages.add("iptables")
    if missing and tree is not None:
        lacking = ", ".join(sorted(packages))
        raise UsageError(f"the tree {tree.path} lacks the packages {lacking}: {'; '.join(missing)}")
    if missing:
        hint = f" (`make upstream`, or apt-get install {' '.join(sorted(packages))})" if packages else ""
        raise UsageError(f"this stack can't be started: {'; '.join(missing)}{hint}")
    return found


def find_upstream(role: Role, tree: Tree | None = None) -> Path | None:
    """Return upstream's program for a role, in a tree when one is given; the system's own docker client goes before one
    that a user put on PATH.
    """
    if tree is not None:
        return tree.find(role.upstream, SYSTEM_PATH)
    path = f"/usr/bin:{_search_path()}" if role.name == "docker" else _search_path()
    found = shutil.which(role.upstream, path=path)
    return Path(found) if found else None


def find_criu() -> Path | None:
    """Return the CRIU on our own PATH, which goes before the system's; None if there is none.

    No role's program: runtimes look for it on theirs.
    """
    found = shutil.which("criu", path=_search_path())
    return Path(found) if found else None


def find_reference(role: Role) -> Path | None:
    """Return the reference's console script for a role, else its package's __main__.py, else None.

    The script is installed before the program is written; it counts only together with the module that it
    starts.
    """
    package = Path(sixhops.__file__).parent / role.module
    if not (package / "main.py").is_file():
        return None
    for directory in (Path(sys.executable).parent, *map(Path, _search_path().split(":"))):
        script = directory / role.script
        if script.is_file() and os.access(script, os.X_OK):
            return script
    main = package / "__main__.py"
    return main if main.is_file() else None


def make_bin(
    directory: Path, origins: Mapping[str, str], programs: Mapping[str, Path], wrapped: Collection[str] = ()
) -> None:
    """Fill `directory` with the reference's programs under upstream's names; upstream's own are found on PATH
    behind it.

    The programs of the roles `wrapped`, upstream's too, go to `directory`/real instead: what stands in front of them
    (a tap) is to be put into `directory` under their names.
    """
    directory.mkdir()
    if wrapped:
        (directory / "real").mkdir()
    for name, origin in origins.items():
        if name not in programs or (origin != "reference" and name not in wrapped):
            continue
        place = directory / "real" if name in wrapped else directory
        for alias in names_of(name, origin):
            target = place / alias
            if programs[name].name == "__main__.py":
                target.write_text(_launcher(ROLES[name]))
                target.chmod(0o755)
            else:
                target.symlink_to(programs[name])


def names_of(role: str, origin: str) -> tuple[str, ...]:
    """Return the names under which others start the program of `role` that comes from `origin`."""
    known = ROLES[role]
    return (known.upstream, *known.aliases) if origin == "reference" else (known.upstream,)


def _launcher(role: Role) -> str:
    return (
        f"#!{sys.executable} -P\n"
        "import runpy\n"
        f'runpy.run_module("sixhops.{role.module}", run_name="__main__", alter_sys=True)\n'
    )


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")


def _nearest(word: str, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
