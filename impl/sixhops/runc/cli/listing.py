"""`list` and `ps`."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import sys

from sixhops.linux.cgroups.control import processes
from sixhops.runc.errors import NoSuchContainer, RuntimeFault
from sixhops.runc.lifecycle import state
from sixhops.runc.lifecycle.control import describe_state
from sixhops.runc.log import escape

__all__ = ["list_containers", "list_processes"]

_COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
_LEAST_WIDTH, _GAP = 12, 3


def list_containers(root: str, form: str, *, quiet: bool) -> str:
    """Return the text of `list`; containers that vanish meanwhile, or are only being made, are left out."""
    if form not in {"table", "json"}:
        raise RuntimeFault("invalid format option")
    records = []
    for identifier in state.identifiers(root):
        try:
            container = state.load(root, identifier)
        except NoSuchContainer:
            continue
        except RuntimeFault as error:
            sys.stderr.write(f"load container {identifier}: {error}\n")
            continue
        records.append({**describe_state(container), "owner": _user_name(container.owner)})
    if quiet:
        return "".join(f"{record['id']}\n" for record in records)
    if form == "json":
        return escape(json.dumps(records or None, separators=(",", ":"), ensure_ascii=False)) + "\n"
    rows = [
        tuple(str(record[key]) for key in ("id", "pid", "status", "bundle", "created", "owner"))
        for record in records
    ]
    return _table((_COLUMNS, *rows))


def _table(rows: tuple[tuple[str, ...], ...]) -> str:
    widths = [max(max(len(row[i]) for row in rows) + _GAP, _LEAST_WIDTH) for i in range(len(_COLUMNS) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n"
        for row in rows
    )


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def list_processes(root: str, identifier: str, form: str, arguments: list[str]) -> str:
    """Return the text of `ps`: the pids as JSON, or the lines of ps(1) that are about the container's processes."""
    container = state.load(root, identifier)
    if form not in {"table", "json"}:
        raise RuntimeFault("invalid format option")
    pids = processes(container.groups)
    if form == "json":
        return json.dumps(pids or None, separators=(",", ":")) + "\n"
    lines = _run_ps(arguments or ["-ef"])
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise RuntimeFault("couldn't find PID field in ps output")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines[1:] if len(line.split()) > column and line.split()[column] in wanted]
    return "".join(f"{line}\n" for line in (lines[0], *kept))


def _run_ps(arguments: list[str]) -> list[str]:
    import shutil

    program = shutil.which("ps")
    if program is None:
        raise RuntimeFault('exec: "ps": executable file not found in $PATH')
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, write_end, 1), (os.POSIX_SPAWN_DUP2, write_end, 2)]
    pid = os.posix_spawn(program, ["ps", *arguments], os.environ, file_actions=actions)
    os.close(write_end)
    with open(read_end, encoding="utf-8", errors="replace") as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeFault(f"exit status {code}: {text}")
    return text.splitlines()
