"""What `--help` and a wrong command line print."""

from __future__ import annotations

from sixhops.runc.commands import COMMANDS
from sixhops.runc.options import FLAG

__all__ = ["command_usage", "program_usage"]

_ABOUT = {
    "create": ("create a container", "<container-id>"),
    "run": ("create and run a container", "<container-id>"),
    "start": ("executes the user defined process in a created container", "<container-id>"),
    "state": ("output the state of a container", "<container-id>"),
    "kill": (
        "kill sends the specified signal (default: SIGTERM) to the container's init process",
        "<container-id> [signal]",
    ),
    "delete": (
        "delete any resources held by the container often used with detached container",
        "<container-id>",
    ),
    "pause": ("pause suspends all processes inside the container", "<container-id>"),
    "resume": ("resumes all processes that have been previously paused", "<container-id>"),
    "exec": (
        "execute new process inside the container",
        "<container-id> <command> [command options]  || -p process.json <container-id>",
    ),
    "list": ("lists containers started by runc with the given root", ""),
    "ps": ("ps displays the processes running inside a container", "<container-id> [ps options]"),
    "update": ("update container resource constraints", "<container-id>"),
    "events": (
        "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
        "<container-id>",
    ),
    "spec": ("create a new specification file", ""),
    "features": ("show the enabled features", ""),
    "checkpoint": ("not supported by this runtime", "<container-id>"),
    "restore": ("not supported by this runtime", "<container-id>"),
}
_GLOBAL_OPTIONS = """\
   --debug             enable debug logging
   --log value         set the log file to write runc logs to (default is '/dev/stderr')
   --log-format value  set the log format ('text' (default), or 'json') (default: "text")
   --root value        root directory for storage of container state (default: "/run/runc")
   --criu value        accepted and unused: this runtime has no checkpoint and restore
   --systemd-cgroup    refused: this runtime makes control groups itself
   --rootless value    'auto' or 'false'; 'true' is refused (default: "auto")
   --help, -h          show help
   --version, -v       print the version
"""


def program_usage() -> str:
    """Return the help of the program."""
    commands = "".join(f"   {name:<12}{about}\n" for name, (about, _) in sorted(_ABOUT.items()))
    return (
        "NAME:\n   runc - Open Container Initiative runtime\n\n"
        "USAGE:\n   runc [global options] command [command options] [arguments...]\n\n"
        f"COMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{_GLOBAL_OPTIONS}"
    )


def command_usage(name: str) -> str:
    """Return the help of one command, its options from the table that it is parsed by."""
    about, arguments = _ABOUT[name]
    options, short, *_ = COMMANDS[name]
    letters = {long: letter for letter, long in short.items()}
    lines = []
    for option, kind in options.items():
        value = "" if kind == FLAG else " value"
        also = f", -{letters[option]}{value}" if option in letters else ""
        lines.append(f"   --{option}{value}{also}\n")
    text = f"NAME:\n   runc {name} - {about}\n\nUSAGE:\n   runc {name} [command options] {arguments}\n"
    return f"{text}\nOPTIONS:\n{''.join(lines)}" if lines else text
