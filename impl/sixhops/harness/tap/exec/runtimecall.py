"""One call of the runtime's command line as a message on the runtime hop.

The command line is that of runc (and crun): global flags, a command, its flags, the container's id, arguments. Which flags
have a value has to be known, to tell it from the id; those of commands that this module doesn't know are taken for switches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.exec.machinefiles import absolute, read_file, read_json, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.exec.protocol import Ended, Started
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["CommandLine", "RuntimeCall", "parse"]

_SHORT = {
    "b": "bundle",
    "p": "process",
    "f": "format",
    "d": "detach",
    "t": "tty",
    "e": "env",
    "u": "user",
    "v": "version",
}
_SHORT |= {"h": "help", "q": "quiet", "l": "list", "a": "all", "g": "additional-gids", "c": "cap"}
_GLOBAL_VALUES = frozenset({"root", "log", "log-format", "criu", "rootless", "cgroup-manager"})
_VALUES = {
    "create": {"bundle", "console-socket", "pidfd-socket", "pid-file", "preserve-fds", "config", "file"},
    "run": {"bundle", "console-socket", "pidfd-socket", "pid-file", "preserve-fds", "config", "file"},
    "exec": {
        *("console-socket", "pidfd-socket", "pid-file", "process", "cwd", "env", "user", "additional-gids"),
        *("process-label", "apparmor", "cap", "preserve-fds", "cgroup"),
    },
    "restore": {
        *(
            "bundle",
            "console-socket",
            "pid-file",
            "image-path",
            "work-path",
            "parent-path",
            "manage-cgroups-mode",
        ),
        *("empty-ns", "lsm-profile", "lsm-mount-context"),
    },
    "checkpoint": {
        *(
            "image-path",
            "work-path",
            "parent-path",
            "status-fd",
            "page-server",
            "manage-cgroups-mode",
            "empty-ns",
        ),
    },
    "update": {
        *("resources", "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period"),
        *(
            "cpu-rt-runtime",
            "cpuset-cpus",
            "cpuset-mems",
            "memory",
            "memory-reservation",
            "memory-swap",
            "pids-limit",
        ),
        *("cpu-idle", "l3-cache-schema", "mem-bw-schema", "kernel-memory", "kernel-memory-tcp"),
    },
    "events": {"interval"},
    "ps": {"format"},
    "list": {"format"},
    "spec": {"bundle"},
}
#: Commands whose first argument is a container's id.
_HAVE_ID = frozenset(
    {
        *(
            "create",
            "run",
            "start",
            "state",
            "kill",
            "delete",
            "exec",
            "ps",
            "pause",
            "resume",
            "update",
            "events",
        ),
        *("checkpoint", "restore"),
    }
)
_HAVE_BUNDLE = frozenset({"create", "run", "restore"})


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line, taken apart. Switches that are set have the value True; `command` is the first flag of a
    line without a command (`--version`), and empty when there is nothing at all.
    """

    command: str
    id: str
    arguments: list[str]
    global_flags: dict[str, str | bool] = field(default_factory=dict)
    flags: dict[str, str | bool] = field(default_factory=dict)

    def value(self, flag: str) -> str | None:
        """Return the value of a flag of the command, None without one."""
        found = self.flags.get(flag)
        return found if isinstance(found, str) else None


def parse(words: Sequence[str]) -> CommandLine:
    """Take a command line apart; `words` are its arguments without the program's name."""
    rest = list(words)
    global_flags = _take_flags(rest, _GLOBAL_VALUES)
    if not rest:
        first = next((word for word in words if word.startswith("-")), "")
        return CommandLine(first.partition("=")[0], "", [], global_flags)
    command = rest.pop(0)
    values = frozenset(_VALUES.get(command, ()))
    flags = _take_flags(rest, values)
    identifier = rest.pop(0) if rest and command in _HAVE_ID else ""
    # Flags may also stand behind the id, but what exec runs has flags of its own.
    if command not in {"exec"}:
        behind: list[str] = []
        while rest:
            flags |= _take_flags(rest, values)
            behind += [rest.pop(0)] if rest else []
        rest = behind
    return CommandLine(command, identifier, rest, global_flags, flags)


def _take_flags(words: list[str], values: frozenset[str]) -> dict[str, str | bool]:
    """Take the flags from the beginning of `words`."""
    found: dict[str, str | bool] = {}
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name)
        if equals:
            found[name] = value
        elif name in values and words:
            found[name] = words.pop(0)
        else:
            found[name] = True
    return found


class RuntimeCall:
    """A call that has begun: its message is open until `end` or `vanish`. `root` leads to the machine's files."""

    #: What it writes is its caller's and the container's, and goes there at once.
    captures = False

    def __init__(self, recorder: Recorder, started: Started, root: Path) -> None:
        self.line = line = parse(started.argv[1:])
        self._started = started
        self._root = root
        log = line.global_flags.get("log")
        self._log = absolute(started.cwd, log) if isinstance(log, str) else None
        self._log_start = size_of(root, self._log) if self._log is not None else 0
        detached = "detach" in line.flags
        lasting = line.command == "events" or (line.command in {"run", "exec", "restore"} and not detached)
        self._message = recorder.begin(Hop.RUNTIME, lasting=lasting)
        # Read now: what the call itself or its caller removes would be gone at the end.
        self._documents = self._read_documents()
        if lasting:
            self._message.update(f"{self._name} -> ...", {**self._fields(), "complete": False})

    def end(self, ended: Ended) -> None:
        """Record how the call ended."""
        fields = {**self._fields(), "exit": ended.exit, "duration": ended.seconds, "complete": True}
        pid_file = self.line.value("pid-file")
        if pid_file is not None:
            text = (self._read(pid_file) or b"").decode(errors="replace")
            if text.strip().isdigit():
                fields["pid"] = int(text)
        self._message.finish(f"{self._name} -> {ended.exit}", fields)

    def vanish(self, reason: str) -> None:
        """Record that nobody knows how the call ended."""
        self._message.finish(
            f"{self._name} -> no answer", {**self._fields(), "complete": False, "error": reason}
        )

    @property
    def _name(self) -> str:
        return self.line.command or "?"

    def _fields(self) -> dict[str, Facet]:
        line = self.line
        root = line.global_flags.get("root")
        fields: dict[str, Any] = {
            "call": self._name,
            "command": line.command,
            **self._started.fields(),
            "global_flags": dict(line.global_flags),
            "flags": dict(line.flags),
            "arguments": list(line.arguments),
            "log": self._log_lines(),
            **self._documents,
        }
        if isinstance(root, str):
            fields["root"] = root
        if line.id:
            fields["id"] = line.id
        for flag in ("console-socket", "pid-file"):
            value = line.value(flag)
            if value is not None:
                fields[flag.replace("-", "_")] = value
        return fields

    def _read_documents(self) -> dict[str, Any]:
        line = self.line
        found: dict[str, Any] = {}
        if line.command in _HAVE_BUNDLE:
            bundle = line.value("bundle") or self._started.cwd
            found["bundle"] = bundle
            found["config"] = read_json(self._read(f"{bundle}/config.json"))
        for flag in ("process", "resources"):
            path = line.value(flag)
            if path is not None and path != "-":
                found[flag] = read_json(self._read(path))
        return found

    def _read(self, path: str) -> bytes | None:
        return read_file(self._root, absolute(self._started.cwd, path))

    def _log_lines(self) -> list[Any]:
        if self._log is None:
            return []
        added = read_file(self._root, self._log, self._log_start) or b""
        return [read_json(each) for each in added.splitlines() if each.strip()]
