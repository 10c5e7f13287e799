"""The process hop: a snapshot of a process table, of this machine or of one behind ssh, as plain data.

Parsing is apart from reading. A process is a dict with these fields, every one as the kernel prints it:

    pid, ppid, pgid, sid, threads   int
    start                           int, clock ticks between boot and the process's start: tells a reused pid
    apart parent                          str, comm of the parent; "" when the parent is outside the pid
    namespace children                        list of pids, ascending
    comm, state, exe                str; exe is "" where the kernel shows none (kernel threads, zombies)
    argv                            list of str
    uid, gid                        int, the real ones
    groups                          list of int
    nspid                           list of int, the pid in each nested namespace, outermost first
    cgroup                          dict of controller ("" for the unified hierarchy) to path
    ns                              dict of namespace name to inode number, for those that can be read
    oom_score_adj                   int
    caps                            dict of inheritable, permitted, effective, bounding, ambient to 16 hex
    digits seccomp                         int (0 off, 1 strict, 2 filter)
    no_new_privs                    bool

A process that vanishes while it is read is left out. Source: proc(5), Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.exchange import Json

__all__ = [
    "REMOTE_COMMAND",
    "RawProcess",
    "build_table",
    "parse_links",
    "parse_mounts",
    "parse_remote",
    "read_processes",
]

_CAPS = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}
_TEXT_FILES = ("stat", "status", "cgroup", "oom_score_adj")
_SECTION = b"\n--sixhops-section--\n"

#: Prints a whole process table in three sections, for `parse_remote`; needs GNU grep and find, four processes
#: in all. `grep -H ''` is used to print files with their names before every line, since a file's content
#: can't forge them.
REMOTE_COMMAND = (
    "cd /proc && export LC_ALL=C; "
    + "".join(
        f"{command} 2>/dev/null; printf '{_SECTION.decode()}'; ".replace("\n", "\\n")
        for command in (
            "grep -aH '' " + " ".join(f"[0-9]*/{name}" for name in _TEXT_FILES),
            "grep -azH '' [0-9]*/cmdline",
            "find [0-9]*/exe [0-9]*/ns -type l -printf '%p\\0%l\\0'",
        )
    )
    + "true"
)


@dataclass(slots=True)
class RawProcess:
    """What the kernel says of one process, unparsed. `links` are the targets of `exe` and `ns/*`."""

    texts: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


def read_processes(proc: Path) -> list[dict[str, Json]]:
    """Return the table that the procfs mounted at `proc` shows, by pid. Raises OSError when it can't be
    listed.
    """
    raw = {}
    for name in os.listdir(proc):  # noqa: PTH208 - as in _read_process
        if name.isdigit():
            # ENOENT, or ESRCH once the directory is open: it has ended in the meantime.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                raw[int(name)] = _read_process(f"{proc}/{name}")
    return build_table(raw)


def parse_remote(output: bytes) -> list[dict[str, Json]]:
    """Return the table that `REMOTE_COMMAND` printed. Raises ValueError when `output` is not its output."""
    sections = output.split(_SECTION)
    if len(sections) != 4:
        raise ValueError(f"a process table has 3 sections, this has {len(sections) - 1}")
    raw: dict[int, RawProcess] = {}
    last: tuple[int, str] | None = None
    for line in sections[0].decode(errors="surrogateescape").split("\n"):
        path, colon, text = line.partition(":")
        pid, _, name = path.partition("/")
        if colon and pid.isdigit() and name in _TEXT_FILES:
            last = (int(pid), name)
            texts = raw.setdefault(int(pid), RawProcess()).texts
            texts[name] = f"{texts[name]}\n{text}" if name in texts else text
        elif last is not None and line:
            # Only a comm can hold a line break of its own; grep gives it a prefix, so what has none is not
            # grep's.
            raise ValueError(f"unexpected line in a process table: {line!r}")
    for record in sections[1].decode(errors="surrogateescape").split("\0"):
        path, colon, text = record.partition(":")
        pid = path.removesuffix("/cmdline")
        if colon and pid.isdigit() and int(pid) in raw:
            raw[int(pid)].argv.append(text)
    words = sections[2].decode(errors="surrogateescape").split("\0")
    for path, target in zip(words[::2], words[1::2], strict=False):
        pid, _, name = path.partition("/")
        if pid.isdigit() and int(pid) in raw:
            raw[int(pid)].links[name] = target
    return build_table(raw)


def build_table(raw: dict[int, RawProcess]) -> list[dict[str, Json]]:
    """Return the processes by pid, with parents and children filled in; incomplete ones (they vanished) are
    left out.
    """
    table: dict[int, dict[str, Json]] = {}
    for pid in sorted(raw):
        if all(name in raw[pid].texts for name in ("stat", "status")):
            table[pid] = _parse(pid, raw[pid])
    children: dict[int, list[Json]] = {pid: [] for pid in table}
    for pid, process in table.items():
        parent = process["ppid"]
        assert isinstance(parent, int)
        if parent in table:
            process["parent"] = table[parent]["comm"]
            children[parent].append(pid)
    for pid, process in table.items():
        process["children"] = children[pid]
    return list(table.values())


def parse_mounts(mountinfo: str) -> dict[str, str]:
    """Return the mount points of a mountinfo file, in order, by what tells each mount: the numbers of it, of the mount
    below and of the device, and its root there. The mount point itself changes when a directory above it is renamed.

    Octal escapes in mount points are undone.
    """
    words = [line.split(" ") for line in mountinfo.splitlines() if line]
    return {" ".join(each[:4]): _unescape(each[4]) for each in words}


def parse_links(net_dev: str) -> list[str]:
    """Return the interface names of a /proc/net/dev file, sorted."""
    return sorted(line.partition(":")[0].strip() for line in net_dev.splitlines() if ":" in line)


def _read_process(directory: str) -> RawProcess:
    # Two tables are taken for each scenario, and each is some twenty files a process: no objects for their paths here.
    raw = RawProcess()
    for name in _TEXT_FILES:
        with open(f"{directory}/{name}", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - see above
            raw.texts[name] = file.read()
    with open(f"{directory}/cmdline", "rb") as file:  # noqa: PTH123
        line = file.read().decode(errors="surrogateescape")
    raw.argv = line.removesuffix("\0").split("\0") if line else []
    # A zombie has no exe, a kernel thread neither; other users' are not to be read without CAP_SYS_PTRACE.
    with contextlib.suppress(OSError):
        raw.links["exe"] = os.readlink(f"{directory}/exe")  # noqa: PTH115
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{directory}/ns"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                raw.links[f"ns/{name}"] = os.readlink(f"{directory}/ns/{name}")  # noqa: PTH115
    return raw


def _parse(pid: int, raw: RawProcess) -> dict[str, Json]:
    # The name may hold spaces, brackets and line breaks; the last bracket ends it.
    head, _, tail = raw.texts["stat"].rpartition(")")
    comm = head.partition("(")[2]
    fields = tail.split()
    status = dict(_status_lines(raw.texts["status"]))
    caps: dict[str, Json] = {word: status[key] for key, word in _CAPS.items() if key in status}
    namespaces: dict[str, Json] = {}
    for name, target in raw.links.items():
        if name.startswith("ns/") and "[" in target:
            namespaces[name.removeprefix("ns/")] = int(target.partition("[")[2].rstrip("]"))
    argv: list[Json] = list(raw.argv)
    groups: list[Json] = [int(group) for group in status.get("Groups", "").split()]
    nspid: list[Json] = [int(number) for number in status.get("NSpid", str(pid)).split()]
    return {
        "pid": pid,
        "ppid": int(fields[1]),
        "pgid": int(fields[2]),
        "sid": int(fields[3]),
        "threads": int(fields[17]),
        "start": int(fields[19]),
        "parent": "",
        "children": [],
        "comm": comm,
        "state": fields[0],
        "exe": raw.links.get("exe", ""),
        "argv": argv,
        "uid": int(status["Uid"].split()[0]),
        "gid": int(status["Gid"].split()[0]),
        "groups": groups,
        "nspid": nspid,
        "cgroup": _parse_cgroup(raw.texts.get("cgroup", "")),
        "ns": namespaces,
        "oom_score_adj": int(raw.texts.get("oom_score_adj", "0") or 0),
        "caps": caps,
        "seccomp": int(status.get("Seccomp", "0")),
        "no_new_privs": status.get("NoNewPrivs") == "1",
    }


def _status_lines(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            pairs.append((key, value.strip()))
    return pairs


def _parse_cgroup(text: str) -> dict[str, Json]:
    groups: dict[str, Json] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(",") if number != "0" else [""]:
            groups[controller.removeprefix("name=")] = path
    return groups


def _unescape(word: str) -> str:
    # The kernel escapes space, tab, line break and backslash as three octal digits.
    if "\\" not in word:
        return word
    pieces = word.split("\\")
    return pieces[0] + "".join(chr(int(piece[:3], 8)) + piece[3:] for piece in pieces[1:])
