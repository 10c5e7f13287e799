"""What `--help` and a wrong command line print."""

from __future__ import annotations

from sixhops.runc.cli.commands import COMMANDS
from sixhops.runc.cli.options import FLAG

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
    "checkpoint": ("checkpoint a running container", "<container-id>"),
    "restore": ("restore a container from a previous checkpoint", "<container-id>"),
}
# What each option takes or does, by its name; the same name means the same everywhere but where a command is given.
_MEANINGS = {
    "additional-gids": "one more group, a number (may be repeated)",
    "all": "signal every process of the container",
    "apparmor": "AppArmor profile of the process",
    "auto-dedup": "whether images of memory are kept once",
    "blkio-weight": "weight among the groups that use block devices, 10 to 1000",
    "bundle": "directory of the bundle, the current one unless given",
    "cap": "one more capability for the process (may be repeated)",
    "cgroup": "[controller:]path of a group below the container's to run in (may be repeated)",
    "console-socket": "unix socket to which the terminal's master is sent",
    "cpu-burst": "processor time above the quota that may be saved up, in microseconds",
    "cpu-idle": "1 to run only when nothing else would",
    "cpu-period": "period of the quota, in microseconds",
    "cpu-quota": "processor time in each period, in microseconds; -1 for no limit",
    "cpu-rt-period": "period of realtime processor time, in microseconds",
    "cpu-rt-runtime": "realtime processor time in each period, in microseconds",
    "cpu-share": "share of processor time against other groups",
    "cpuset-cpus": "processors that may be used, such as 0-3,7",
    "cpuset-mems": "memory nodes that may be used",
    "cwd": "working directory in the container",
    "detach": "return once the process has begun",
    "empty-ns": "a namespace that is not restored (may be repeated)",
    "env": "one more variable, NAME=VALUE (may be repeated)",
    "ext-unix-sk": "whether unix sockets may have another end outside",
    "file-locks": "whether locks of files are kept",
    "force": "kill the container first if it still runs",
    "format": "table or json",
    "ignore-paused": "start also in a paused container",
    "image-path": "directory of the checkpoint",
    "interval": "time between two lines of figures",
    "keep": "leave the container's state after its end",
    "kernel-memory": "ignored, with a warning",
    "kernel-memory-tcp": "ignored, with a warning",
    "l3-cache-schema": "refused: this runtime does not allocate caches",
    "lazy-pages": "whether memory is restored when it is used",
    "leave-running": "whether the container goes on",
    "lsm-mount-context": "label of the mounts",
    "lsm-profile": "profile of the security module",
    "manage-cgroups-mode": "what of the control groups is kept: soft, full or strict",
    "mem-bw-schema": "refused: this runtime does not allocate bandwidth",
    "memory": "limit of memory, in bytes or with a unit; -1 for none",
    "memory-reservation": "memory to shrink to when the machine is short of it",
    "memory-swap": "limit of memory and swap together; -1 for none",
    "no-new-keyring": "stay in the caller's session keyring",
    "no-new-privs": "forbid the process to gain privileges",
    "no-pivot": "change the root without pivot_root, for a rootfs on an initial ramdisk",
    "no-subreaper": "do not inherit the container's orphans",
    "page-server": "ADDRESS:PORT that the memory is sent to",
    "parent-path": "directory of the checkpoint before",
    "pid-file": "file to write the process's pid to",
    "pids-limit": "most processes at once; -1 for no limit",
    "pre-dump": "whether only the memory is written",
    "preserve-fds": "how many descriptors from 3 on the process gets",
    "process": "file with the whole process as JSON",
    "process-label": "SELinux label of the process",
    "quiet": "only the ids",
    "resources": "file with the limits as JSON, - for standard input",
    "rootless": "a document for a user without privileges",
    "shell-job": "whether it may belong to a shell's session",
    "stats": "print the figures once",
    "status-fd": "descriptor that is told when all is ready",
    "tcp-established": "whether connections may stand",
    "tty": "give the process a terminal",
    "user": "UID[:GID] of the process",
    "work-path": "directory for logs and the like",
}
_GLOBAL_OPTIONS = """\
   --debug             enable debug logging
   --log value         set the log file to write runc logs to (default is '/dev/stderr')
   --log-format value  set the log format ('text' (default), or 'json') (default: "text")
   --root value        root directory for storage of container state (default: "/run/runc")
   --criu value        program that does checkpoint and restore (default: "criu")
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
    forms = {}
    for option, kind in options.items():
        value = "" if kind == FLAG else " value"
        also = f", -{letters[option]}{value}" if option in letters else ""
        forms[option] = f"--{option}{value}{also}"
    width = max((len(form) for form in forms.values()), default=0)
    lines = [f"   {form:<{width}}  {_MEANINGS[option]}\n" for option, form in forms.items()]
    text = f"NAME:\n   runc {name} - {about}\n\nUSAGE:\n   runc {name} [command options] {arguments}\n"
    return f"{text}\nOPTIONS:\n{''.join(lines)}" if lines else text
