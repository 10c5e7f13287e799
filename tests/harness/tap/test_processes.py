"""The process table: parsing, vanishing processes, and the way over a remote shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sixhops.harness.tap.processes import (
    REMOTE_COMMAND,
    build_table,
    parse_links,
    parse_mounts,
    parse_remote,
    read_processes,
)

STATUS = """Name:\tsleep
Uid:\t1000\t0\t0\t0
Gid:\t100\t0\t0\t0
Groups:\t4 24
NSpid:\t{pid}\t1
CapInh:\t0000000000000000
CapPrm:\t00000000a80425fb
CapEff:\t00000000a80425fb
CapBnd:\t00000000a80425fb
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
"""


def stat_line(pid: int, comm: str, ppid: int) -> str:
    # 20 fields behind the state: ppid, pgrp, session, ..., num_threads (20th of all), itrealvalue, starttime (22nd)
    fields = ["S", str(ppid), "7", "8", *["0"] * 13, "3", "0", "4711", "0"]
    return f"{pid} ({comm}) {' '.join(fields)}\n"


def make_process(proc: Path, pid: int, comm: str = "sleep", ppid: int = 0) -> Path:
    directory = proc / str(pid)
    (directory / "ns").mkdir(parents=True)
    (directory / "stat").write_text(stat_line(pid, comm, ppid))
    (directory / "status").write_text(STATUS.format(pid=pid))
    (directory / "cgroup").write_text("9:name=systemd:/x\n3:cpu,cpuacct:/y:z\n0::/u\n")
    (directory / "oom_score_adj").write_text("-5\n")
    (directory / "cmdline").write_bytes(b"\0".join([b"sleep", b"", b"100", b""]))
    (directory / "exe").symlink_to("/bin/busybox")
    (directory / "ns" / "net").symlink_to("net:[4026531840]")
    return directory


def test_every_field_of_a_process(tmp_path: Path) -> None:
    make_process(tmp_path, 42)

    (process,) = read_processes(tmp_path)

    assert process == {
        "pid": 42,
        "ppid": 0,
        "pgid": 7,
        "sid": 8,
        "threads": 3,
        "start": 4711,
        "parent": "",
        "children": [],
        "comm": "sleep",
        "state": "S",
        "exe": "/bin/busybox",
        "argv": ["sleep", "", "100"],
        "uid": 1000,
        "gid": 100,
        "groups": [4, 24],
        "nspid": [42, 1],
        "cgroup": {"systemd": "/x", "cpu": "/y:z", "cpuacct": "/y:z", "": "/u"},
        "ns": {"net": 4026531840},
        "oom_score_adj": -5,
        "caps": {
            "inheritable": "0000000000000000",
            "permitted": "00000000a80425fb",
            "effective": "00000000a80425fb",
            "bounding": "00000000a80425fb",
            "ambient": "0000000000000000",
        },
        "seccomp": 2,
        "no_new_privs": True,
    }


def test_parents_and_children_are_joined(tmp_path: Path) -> None:
    make_process(tmp_path, 1, "init")
    make_process(tmp_path, 30, "late", ppid=1)
    make_process(tmp_path, 4, "early", ppid=1)

    table = read_processes(tmp_path)

    assert [(p["pid"], p["parent"], p["children"]) for p in table] == [
        (1, "", [4, 30]),
        (4, "init", []),
        (30, "init", []),
    ]


@pytest.mark.parametrize("comm", ["a) S 1 (b", "with space", "two\nlines", "", "((("])
def test_a_name_can_hold_anything(tmp_path: Path, comm: str) -> None:
    make_process(tmp_path, 5, comm)

    (process,) = read_processes(tmp_path)

    assert process["comm"] == comm
    assert process["ppid"] == 0


@pytest.mark.parametrize("gone", ["stat", "status", "cmdline", "cgroup"])
def test_a_process_that_vanishes_is_left_out(tmp_path: Path, gone: str) -> None:
    (make_process(tmp_path, 5) / gone).unlink()
    make_process(tmp_path, 6)

    assert [process["pid"] for process in read_processes(tmp_path)] == [6]


def test_a_process_without_exe_and_command_line(tmp_path: Path) -> None:
    directory = make_process(tmp_path, 5)
    (directory / "exe").unlink()
    (directory / "cmdline").write_bytes(b"")

    (process,) = read_processes(tmp_path)

    assert (process["exe"], process["argv"]) == ("", [])


def test_an_empty_table() -> None:
    assert build_table({}) == []


def run_remote(proc: Path) -> bytes:
    command = REMOTE_COMMAND.replace("cd /proc", f"cd {proc}")
    return subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=30).stdout


def test_the_remote_command_gives_the_same_table(tmp_path: Path) -> None:
    make_process(tmp_path, 1, "init")
    make_process(tmp_path, 7, "two\nlines", ppid=1)
    make_process(tmp_path, 8, "a) S 1 (b:c", ppid=7)
    (tmp_path / "8" / "cmdline").write_bytes(b"sh\0-c\0echo a\n8/stat:9\0")

    assert parse_remote(run_remote(tmp_path)) == read_processes(tmp_path)


def test_the_remote_command_on_this_machine() -> None:
    output = subprocess.run(["sh", "-c", REMOTE_COMMAND], capture_output=True, check=True, timeout=30).stdout

    mine = next(process for process in parse_remote(output) if process["pid"] == os.getpid())

    assert mine["exe"] == os.path.realpath(sys.executable)
    assert mine["uid"] == os.getuid()


def test_output_that_is_not_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="3 sections"):
        parse_remote(b"sh: grep: not found\n")


def test_this_process_is_in_this_machines_table() -> None:
    mine = next(process for process in read_processes(Path("/proc")) if process["pid"] == os.getpid())

    assert mine["ppid"] == os.getppid()
    assert mine["state"] in {"R", "S"}


def test_mount_points_are_unescaped() -> None:
    line = "36 35 98:0 /m /mnt\\040two\\134x rw,noatime master:1 - ext3 /dev/root rw\n"

    assert parse_mounts(line + "1 0 8:1 / / rw - ext4 /dev/root rw\n") == {
        "36 35 98:0 /m": "/mnt two\\x",
        "1 0 8:1 /": "/",
    }


def test_links_of_net_dev() -> None:
    text = "Inter-|   Receive\n face |bytes\n    lo: 0 0\ndocker0: 1 2\n"

    assert parse_links(text) == ["docker0", "lo"]
