"""`sixhops-runc`: the program's options, the choice of the command, errors into log and exit status.

Each command's code is imported when it is asked for, because the program starts several times in a container's life.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys

from sixhops.runc import log
from sixhops.runc.cli.options import FLAG, VALUE, parse
from sixhops.runc.errors import RuntimeFault, UsageFault, reason

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.runc.lifecycle.gate import Offer

__all__ = ["become", "dispatch", "foresee", "main", "open_gate", "rehearse"]

_GLOBAL = {
    "debug": FLAG,
    "log": VALUE,
    "log-format": VALUE,
    "root": VALUE,
    "criu": VALUE,
    "systemd-cgroup": FLAG,
    "rootless": VALUE,
    "help": FLAG,
    "version": FLAG,
}
_SHORT = {"h": "help", "v": "version"}
_ENTERS = {"create", "run", "exec"}
_DEFAULT_ROOT = "/run/runc"


def main(
    arguments: list[str] | None = None,
    *,
    sibling: bool = False,
    spare: int = -1,
    offer: Offer | None = None,
) -> int:
    """Run the program; return its exit status.

    `sibling`: `create` may leave a child of our parent instead of ours.
    `spare`: where a process is reached that waits to become that child (`become`), -1 for none.
    `offer`: `create` may call it with what the caller can do `start`'s work with (`open_gate`).
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return dispatch(words, sibling=sibling, spare=spare, offer=offer)
    except UsageFault as error:
        return _show_usage(error)
    except RuntimeFault as error:
        log.error(str(error))
        return 1 if error.status is None else error.status
    except OSError as error:
        log.error(reason(error, _operation(error)))
        return 1


def _operation(error: OSError) -> str:
    return "open" if error.filename else ""


def rehearse(document: str, directory: str = "") -> None:
    """Go through what `create` does before it does anything, for a process that waits to be asked for it (`rehearsal`).

    `directory` is one that may be used for it, if there is one.
    """
    from sixhops.runc.lifecycle.rehearsal import rehearse as go_through

    go_through(document, directory)


def become(connection: int, begin: Callable[[], None]) -> int:
    """Wait on the socket `connection` to become a container's first process; returns, with 0, only if nothing comes.

    `begin` is called when something does.
    """
    from sixhops.runc.lifecycle.spare import become as wait_to_become

    return wait_to_become(connection, begin)


def foresee(bundle: str, identifier: str, spare: int = -1, document: str | None = None) -> None:
    """Get ready for the `create` that will come for a bundle in a moment; it has no effect. `spare` as for `main`.

    `document` is what its config.json is going to say, if it is not there yet.
    """
    from sixhops.runc.lifecycle.outline import foresee as outline_ahead

    found = outline_ahead(bundle, identifier, document)
    if found is not None and spare >= 0:
        from sixhops.runc.lifecycle.spare import suits, tell

        if suits(found.first):
            tell(spare, found.first)


def open_gate(path: str, descriptors: Sequence[int]) -> bool:
    """Do a container's `start` with what its `create` has offered; False if a `start` proper has to see to it (`gate`)."""
    from sixhops.runc.lifecycle.gate import open_gate as let_pass

    return let_pass(path, descriptors)


def dispatch(words: list[str], *, sibling: bool = False, spare: int = -1, offer: Offer | None = None) -> int:
    """Run a command line; return the exit status. Raises RuntimeFault, UsageFault and OSError; else as `main`."""
    options = parse(words, _GLOBAL, _SHORT)
    if "version" in options.flags:
        from sixhops.runc.cli.about import version_text

        sys.stdout.write(version_text())
        return 0
    if "help" in options.flags or not options.arguments:
        from sixhops.runc.cli.usage import program_usage

        sys.stdout.write(program_usage())
        return 0
    form = options.values.get("log-format", "text")
    if form not in {"text", "json"}:
        raise RuntimeFault(f"invalid log-format: {form}")
    command, *rest = options.arguments
    if command in _ENTERS and "--help" not in rest and "-h" not in rest:
        from sixhops.runc.cli.selfexe import command_line, reexecute

        reexecute(command_line(words))
    path = options.values.get("log", "")
    log.configure("" if path == "/dev/stderr" else path, form, debug="debug" in options.flags)
    if options.values.get("rootless", "auto") not in {"auto", "false"} and command in {"create", "run"}:
        raise RuntimeFault("rootless containers are not supported")
    from sixhops.runc.cli.commands import COMMANDS, run_command

    if command not in COMMANDS:
        raise RuntimeFault(f"No help topic for '{command}'", 3)
    root = os.path.abspath(options.values.get("root", _DEFAULT_ROOT))
    return run_command(
        command,
        rest,
        root,
        systemd="systemd-cgroup" in options.flags,
        sibling=sibling,
        spare=spare,
        criu=options.values.get("criu") or "criu",
        offer=offer,
    )


def _show_usage(error: UsageFault) -> int:
    from sixhops.runc.cli.usage import command_usage, program_usage

    text = command_usage(error.command) if error.command else program_usage()
    sys.stdout.write(f"{error.headline}\n\n{text}")
    log.error(str(error))
    return 1
