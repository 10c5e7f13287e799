"""The commands: options into calls, results into text. What a command does is in the modules that it imports."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys

from sixhops.runc.cli.options import DURATION, FLAG, LIST, NUMBER, NUMBERS, VALUE, Parsed, parse
from sixhops.runc.errors import RuntimeFault, UsageFault

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.runc.lifecycle.gate import Offer

__all__ = ["COMMANDS", "run_command"]

_CREATE = {
    "bundle": VALUE,
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": FLAG,
    "no-new-keyring": FLAG,
    "preserve-fds": NUMBER,
}
_UPDATE_VALUES = (
    "cpu-period cpu-quota cpu-share cpu-rt-period cpu-rt-runtime cpuset-cpus cpuset-mems kernel-memory "
    "kernel-memory-tcp memory memory-reservation memory-swap l3-cache-schema mem-bw-schema cpu-burst cpu-idle"
)


# what `run_command` was given beside the line
_settings: dict[str, bool | int | str] = {"systemd": False, "sibling": False, "spare": -1, "criu": "criu"}
_offer: list[Offer] = []


def run_command(
    name: str,
    words: list[str],
    root: str,
    *,
    systemd: bool = False,
    sibling: bool = False,
    spare: int = -1,
    criu: str = "criu",
    offer: Offer | None = None,
) -> int:
    """Parse a command's words and run it; return the exit status. Raises RuntimeFault.

    `systemd` says that control groups are to be made by the service manager, `sibling` that `create` makes a child of
    our parent where it can, `spare` by whom (`spare.Spare`), `criu` which program that is, `offer` who would open the
    gate in `start`'s place.
    """
    _settings["systemd"] = systemd
    _settings["sibling"] = sibling
    _settings["spare"] = spare
    _settings["criu"] = criu
    _offer[:] = [offer] if offer is not None else []
    options, short, least, most, function = COMMANDS[name]
    if "--help" in words[:1] or "-h" in words[:1]:
        from sixhops.runc.cli.usage import command_usage

        sys.stdout.write(command_usage(name))
        return 0
    parsed = parse(words, options, short, name)
    count = len(parsed.arguments)
    if least == most and count != least:
        raise UsageFault(f'runc: "{name}" requires exactly {least} argument(s)', name)
    if count < least:
        raise UsageFault(f'runc: "{name}" requires a minimum of {least} argument(s)', name)
    if most is not None and count > most:
        raise UsageFault(f'runc: "{name}" requires a maximum of {most} argument(s)', name)
    return function(parsed, root)


def _listen_fds() -> int:
    """Return how many sockets the service manager has handed to this very process, sd_listen_fds(3)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    text = os.environ.get("LISTEN_FDS", "")
    return int(text) if text.isdigit() else 0


def systemd_groups() -> bool:
    """Whether the service manager was asked to make the control groups."""
    return bool(_settings["systemd"])


def _create(parsed: Parsed, root: str) -> int:
    from sixhops.runc.lifecycle.create import CreateRequest, create

    try:
        made = create(
            CreateRequest(
                root=root,
                identifier=parsed.arguments[0],
                bundle=parsed.values.get("bundle", "."),
                pid_file=parsed.values.get("pid-file", ""),
                console_socket=parsed.values.get("console-socket", ""),
                pivot="no-pivot" not in parsed.flags,
                keyring="no-new-keyring" not in parsed.flags,
                preserve_fds=parsed.number("preserve-fds"),
                listen_fds=_listen_fds(),
                systemd_groups=systemd_groups(),
                notify_socket=os.environ.get("NOTIFY_SOCKET", ""),
                sibling=bool(_settings["sibling"]),
                spare=int(_settings["spare"]),
            )
        )
    except (RuntimeFault, OSError) as error:
        raise _prefixed("runc create failed", error, 1) from error
    if _offer:
        from sixhops.runc.lifecycle.gate import offer_gate

        offer_gate(made, _offer[0])
    return 0


def _prefixed(prefix: str, error: RuntimeFault | OSError, status: int) -> RuntimeFault:
    from sixhops.runc.errors import reason

    return RuntimeFault(f"{prefix}: {reason(error)}", status)


def _start(parsed: Parsed, root: str) -> int:
    from sixhops.runc.lifecycle.control import start

    start(root, parsed.arguments[0], os.environ.get("NOTIFY_SOCKET", ""))
    return 0


def _state(parsed: Parsed, root: str) -> int:
    import json

    from sixhops.runc.lifecycle.control import describe_state
    from sixhops.runc.lifecycle.state import load
    from sixhops.runc.log import escape

    record = describe_state(load(root, parsed.arguments[0]))
    sys.stdout.write(escape(json.dumps(record, indent=2, ensure_ascii=False)))
    return 0


def _kill(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.signals import parse_signal
    from sixhops.runc.lifecycle import state
    from sixhops.runc.lifecycle.control import kill

    identifier = parsed.arguments[0]
    state.load(root, identifier)
    text = (parsed.arguments[1] if len(parsed.arguments) > 1 else "") or "SIGTERM"
    kill(root, identifier, parse_signal(text), everyone="all" in parsed.flags)
    return 0


def _delete(parsed: Parsed, root: str) -> int:
    from sixhops.runc.lifecycle.control import delete

    delete(root, parsed.arguments[0], force="force" in parsed.flags)
    return 0


def _pause(parsed: Parsed, root: str) -> int:
    from sixhops.runc.lifecycle.control import pause

    pause(root, parsed.arguments[0])
    return 0


def _resume(parsed: Parsed, root: str) -> int:
    from sixhops.runc.lifecycle.control import resume

    resume(root, parsed.arguments[0])
    return 0


def _run(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.foreground import run_container

    try:
        return run_container(parsed, root, _listen_fds(), systemd_groups=systemd_groups())
    except (RuntimeFault, OSError) as error:
        raise _prefixed("runc run failed", error, 1) from error


def _exec(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.foreground import run_exec

    try:
        return run_exec(parsed, root)
    except (RuntimeFault, OSError) as error:
        raise _prefixed("exec failed", error, 255) from error


def _list(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.listing import list_containers

    sys.stdout.write(
        list_containers(root, parsed.values.get("format", "table"), quiet="quiet" in parsed.flags)
    )
    return 0


def _ps(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.listing import list_processes

    identifier, *arguments = parsed.arguments
    sys.stdout.write(list_processes(root, identifier, parsed.values.get("format", "table"), arguments))
    return 0


def _update(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.update import update

    update(root, parsed.arguments[0], parsed.values)
    return 0


def _events(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.events import events

    return events(
        root, parsed.arguments[0], parsed.values.get("interval", "5s"), once="stats" in parsed.flags
    )


def _spec(parsed: Parsed, root: str) -> int:  # noqa: ARG001  every command has the same form
    from sixhops.runc.cli.template import write_template

    write_template(parsed.values.get("bundle", ""), rootless="rootless" in parsed.flags)
    return 0


def _features(parsed: Parsed, root: str) -> int:  # noqa: ARG001  every command has the same form
    from sixhops.runc.cli.about import features_text

    sys.stdout.write(features_text())
    return 0


def _checkpoint(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.checkpointing import run_checkpoint

    return run_checkpoint(parsed, root, str(_settings["criu"]))


def _restore(parsed: Parsed, root: str) -> int:
    from sixhops.runc.cli.checkpointing import run_restore

    return run_restore(parsed, root, str(_settings["criu"]), systemd_groups=systemd_groups())


#: What both of CRIU's commands take.
_BOTH = (
    dict.fromkeys(("image-path", "work-path", "manage-cgroups-mode"), VALUE)
    | dict.fromkeys(
        ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages"), FLAG
    )
    | {"empty-ns": LIST}
)
_CHECKPOINT = _BOTH | {
    "parent-path": VALUE,
    "page-server": VALUE,
    "status-fd": NUMBER,
    "leave-running": FLAG,
    "pre-dump": FLAG,
}
_RESTORE = {
    **dict.fromkeys(("bundle", "console-socket", "pid-file"), VALUE),
    **_BOTH,
    "no-pivot": FLAG,
    "detach": FLAG,
    "no-subreaper": FLAG,
    "lsm-profile": VALUE,
    "lsm-mount-context": VALUE,
}
_BUNDLE = {"b": "bundle"}
# name -> options, short names, least and most arguments, function
COMMANDS: dict[str, tuple[dict[str, str], dict[str, str], int, int | None, Callable[[Parsed, str], int]]] = {
    "create": (_CREATE, _BUNDLE, 1, 1, _create),
    "run": (
        {**_CREATE, "detach": FLAG, "keep": FLAG, "no-subreaper": FLAG},
        {**_BUNDLE, "d": "detach"},
        1,
        1,
        _run,
    ),
    "start": ({}, {}, 1, 1, _start),
    "state": ({}, {}, 1, 1, _state),
    "kill": ({"all": FLAG}, {"a": "all"}, 1, 2, _kill),
    "delete": ({"force": FLAG}, {"f": "force"}, 1, 1, _delete),
    "pause": ({}, {}, 1, 1, _pause),
    "resume": ({}, {}, 1, 1, _resume),
    "exec": (
        {
            "console-socket": VALUE,
            "cwd": VALUE,
            "env": LIST,
            "tty": FLAG,
            "user": VALUE,
            "additional-gids": NUMBERS,
            "process": VALUE,
            "detach": FLAG,
            "pid-file": VALUE,
            "process-label": VALUE,
            "apparmor": VALUE,
            "no-new-privs": FLAG,
            "cap": LIST,
            "preserve-fds": NUMBER,
            "cgroup": LIST,
            "ignore-paused": FLAG,
        },
        {
            "e": "env",
            "t": "tty",
            "u": "user",
            "g": "additional-gids",
            "p": "process",
            "d": "detach",
            "c": "cap",
        },
        1,
        None,
        _exec,
    ),
    "list": ({"format": VALUE, "quiet": FLAG}, {"f": "format", "q": "quiet"}, 0, 0, _list),
    "ps": ({"format": VALUE}, {"f": "format"}, 1, None, _ps),
    "update": (
        {"resources": VALUE, "blkio-weight": NUMBER, "pids-limit": NUMBER}
        | dict.fromkeys(_UPDATE_VALUES.split(), VALUE),
        {"r": "resources"},
        1,
        1,
        _update,
    ),
    "events": ({"interval": DURATION, "stats": FLAG}, {}, 1, 1, _events),
    "spec": ({"bundle": VALUE, "rootless": FLAG}, _BUNDLE, 0, 0, _spec),
    "features": ({}, {}, 0, 0, _features),
    "checkpoint": (_CHECKPOINT, {}, 1, 1, _checkpoint),
    "restore": (_RESTORE, {**_BUNDLE, "d": "detach"}, 1, 1, _restore),
}
