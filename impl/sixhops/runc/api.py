"""The runtime's steps as functions, for a parent that forks a process for a step instead of executing a program.

Contract with the caller. It is single-threaded, or has forked a single-threaded process for the call. The step uses
the caller's descriptors 0, 1 and 2 (and 3.. when preserved) for the container, exactly as the program would. It runs
no event loop and starts no thread. The container's process is the *caller's* child; when the caller ends, its
nearest subreaper inherits it. Its binary must be sealed for `create` and `exec_` (`selfexe.reexecute`, once, early, in
the loaded parent: forks keep it). A step raises RuntimeFault, whose text is what the program would print after
`runc create failed: ` and the like, and leaves nothing behind then.
"""

from __future__ import annotations

from sixhops.runc.cli.selfexe import is_sealed, reexecute
from sixhops.runc.errors import NoSuchContainer, RuntimeFault
from sixhops.runc.inside.filters import check_filter, compile_document
from sixhops.runc.lifecycle.control import delete, describe_state, kill, pause, resume, start
from sixhops.runc.lifecycle.create import CreateRequest, create
from sixhops.runc.lifecycle.execprocess import ExecRequest, exec_
from sixhops.runc.lifecycle.state import Container, load
from sixhops.wire.runtime.parse import parse_spec

__all__ = [
    "Container",
    "CreateRequest",
    "ExecRequest",
    "NoSuchContainer",
    "RuntimeFault",
    "create",
    "delete",
    "exec_",
    "is_sealed",
    "kill",
    "load",
    "pause",
    "prepare",
    "prepare_here",
    "reexecute",
    "resume",
    "start",
    "state",
]


def state(root: str, identifier: str) -> dict[str, object]:
    """Return a container's state as the program's `state` command prints it. Raises NoSuchContainer."""
    return describe_state(load(root, identifier))


def prepare(config: str) -> None:
    """Compile the filter of a config.json's text in this process, so that steps forked from it find it done.

    libseccomp takes 7 ms for Docker's default profile, which is the same for nearly all containers of a host.
    Raises SpecError and RuntimeFault, as `create` would.
    """
    seccomp = parse_spec(config).linux.seccomp
    if seccomp is not None and check_filter(seccomp) is not None:
        compile_document(seccomp)


def prepare_here(arguments: dict[str, str]) -> None:
    """`prepare` for a fork server, with the one argument `config`."""
    prepare(arguments["config"])
